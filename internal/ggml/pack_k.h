// How weights of K-quants and iq4_xs are brought into the form that several rows meet: a block of each of LANES rows of
// weights side by side, so that each of them has a place in every vector. For x86 only.
#pragma once

// What is constant for a type.
struct traits {
	enum ggml_type type;
	int values, bytes; // of a block
	int per;           // values that share a scale
	int largest;       // of a value
};

// What a block of each of LANES rows of weights has apart from its values.
struct heads {
	int32_t scale[QK_K / 16][LANES]; // where 32 values share one, in even places
	int32_t pair[QK_K / 32][LANES];  // the same scales, two of 16 bits
	int32_t low[QK_K / 32][LANES];   // two of 16 bits
	float d[LANES], dmin[LANES];
} __attribute__((aligned(64)));

// A block of each of LANES rows of weights, unpacked and transposed: four values of each row, then the next four.
struct panel {
	uint8_t q[QK_K / 4][4 * LANES];
	struct heads h;
} __attribute__((aligned(64)));

INLINE void store_q(struct panel * p, int at, __m512i q) {
	_mm512_store_si512(p->q[at], q);
}

// 32 bytes: those of 32 values in the low bits, of the next 32 in the high ones.
INLINE void pack_q4_K(const uint8_t * const * rows, size_t at, struct panel * p) {
	for (int z = 0; z < 4; z++) {
		__m512i v[8];
		load_columns(rows, at + 16 + 32 * z, v);
		UNROLL
		for (int c = 0; c < 8; c++) {
			store_q(p, 16 * z + c, bits(v[c], 0, 15, 0));
			store_q(p, 16 * z + 8 + c, bits(v[c], 4, 15, 0));
		}
	}
}

INLINE void pack_q5_K(const uint8_t * const * rows, size_t at, struct panel * p) {
	__m512i high[8];
	load_columns(rows, at + 16, high);
	for (int z = 0; z < 4; z++) {
		__m512i v[8];
		load_columns(rows, at + 48 + 32 * z, v);
		UNROLL
		for (int c = 0; c < 8; c++) {
			store_q(p, 16 * z + c, _mm512_or_si512(bits(v[c], 0, 15, 0), bits(high[c], 0, 1, 4)));
			store_q(p, 16 * z + 8 + c, _mm512_or_si512(bits(v[c], 4, 15, 0), bits(high[c], 1, 1, 4)));
			high[c] = _mm512_srli_epi16(high[c], 2);
		}
	}
}

INLINE void pack_q6_K(const uint8_t * const * rows, size_t at, struct panel * p) {
	for (int z = 0; z < 2; z++) {
		__m512i high[8];
		load_columns(rows, at + 128 + 32 * z, high);
		UNROLL
		for (int s = 0; s < 2; s++) { // 32 values, and 64 after them
			__m512i v[8];
			load_columns(rows, at + 64 * z + 32 * s, v);
			UNROLL
			for (int c = 0; c < 8; c++) {
				const int to = 32 * z + 8 * s + c;
				store_q(p, to, _mm512_or_si512(bits(v[c], 0, 15, 0), bits(high[c], 2 * s, 3, 4)));
				store_q(p, to + 16, _mm512_or_si512(bits(v[c], 4, 15, 0), bits(high[c], 2 * s + 4, 3, 4)));
			}
		}
	}
}

INLINE void pack_q2_K(const uint8_t * const * rows, size_t at, struct panel * p) {
	for (int z = 0; z < 2; z++) {
		__m512i v[8];
		load_columns(rows, at + 16 + 32 * z, v);
		UNROLL
		for (int c = 0; c < 8; c++) {
			UNROLL
			for (int s = 0; s < 4; s++) {
				store_q(p, 32 * z + 8 * s + c, bits(v[c], 2 * s, 3, 0));
			}
		}
	}
}

INLINE void pack_q3_K(const uint8_t * const * rows, size_t at, struct panel * p) {
	__m512i high[8];
	load_columns(rows, at, high);
	for (int z = 0; z < 2; z++) {
		__m512i v[8];
		load_columns(rows, at + 32 + 32 * z, v);
		UNROLL
		for (int c = 0; c < 8; c++) {
			UNROLL
			for (int s = 0; s < 4; s++) {
				store_q(p, 32 * z + 8 * s + c, _mm512_or_si512(bits(v[c], 2 * s, 3, 0), bits(high[c], s, 1, 2)));
			}
			high[c] = _mm512_srli_epi16(high[c], 4);
		}
	}
}

INLINE void pack_iq4_xs(const uint8_t * const * rows, size_t at, struct panel * p) {
	const __m512i codes = _mm512_broadcast_i32x4(codebook());
	for (int z = 0; z < 4; z++) {
		__m512i v[8];
		load_columns(rows, at + 8 + 32 * z, v);
		UNROLL
		for (int c = 0; c < 8; c++) {
			const int to = 16 * z + 8 * (c / 4) + c % 4;
			store_q(p, to, _mm512_shuffle_epi8(codes, bits(v[c], 0, 15, 0)));
			store_q(p, to + 4, _mm512_shuffle_epi8(codes, bits(v[c], 4, 15, 0)));
		}
	}
}

// Returns the first two bytes of four, or the second two, as 16 bits each.
INLINE __m512i widen(__m512i v, int second) {
	v = _mm512_srli_epi32(v, second ? 16 : 0);
	const __m512i high = _mm512_and_si512(_mm512_slli_epi32(v, 8), _mm512_set1_epi32(0xff0000));
	return _mm512_or_si512(_mm512_and_si512(v, _mm512_set1_epi32(0xff)), high);
}

// The heads of q4_K and q5_K (unpack_head), 16 at once.
INLINE void pack_heads_4(const uint8_t * const * rows, size_t at, struct heads * h) {
	__m512i v[4], scale[2], low[2];
	load_heads(rows, at, v);
	_mm512_store_ps(h->d, low_halves(v[0]));
	_mm512_store_ps(h->dmin, high_halves(v[0]));
	scale[0] = bits(v[1], 0, 63, 0);
	scale[1] = _mm512_or_si512(bits(v[3], 0, 15, 0), bits(v[1], 6, 3, 4));
	low[0] = bits(v[2], 0, 63, 0);
	low[1] = _mm512_or_si512(bits(v[3], 4, 15, 0), bits(v[2], 6, 3, 4));
	UNROLL
	for (int s = 0; s < 8; s++) {
		const __m512i byte = _mm512_and_si512(_mm512_srli_epi32(scale[s / 4], s % 4 * 8), _mm512_set1_epi32(255));
		_mm512_store_si512(h->scale[2 * s], byte);
	}
	UNROLL
	for (int s = 0; s < 4; s++) {
		_mm512_store_si512(h->pair[s], widen(scale[s / 2], s % 2));
		_mm512_store_si512(h->low[s], widen(low[s / 2], s % 2));
	}
}

// The head of q2_K: 16 scales in the low and lows in the high halves of bytes.
INLINE void pack_heads_2(const uint8_t * const * rows, size_t at, struct heads * h) {
	__m512i v[4];
	load_heads(rows, at, v);
	UNROLL
	for (int s = 0; s < 16; s++) {
		const __m512i byte = _mm512_srli_epi32(v[s / 4], s % 4 * 8);
		_mm512_store_si512(h->scale[s], _mm512_and_si512(byte, _mm512_set1_epi32(15)));
	}
	UNROLL
	for (int s = 0; s < 8; s++) {
		_mm512_store_si512(h->pair[s], widen(bits(v[s / 2], 0, 15, 0), s % 2));
		_mm512_store_si512(h->low[s], widen(bits(v[s / 2], 4, 15, 0), s % 2));
	}
	const __m512i d = load_dwords(rows, at + 80);
	_mm512_store_ps(h->d, low_halves(d));
	_mm512_store_ps(h->dmin, high_halves(d));
}

// 16 scales of 8 bits each.
INLINE void pack_heads_6(const uint8_t * const * rows, size_t at, struct heads * h) {
	__m512i v[4];
	load_heads(rows, at + 192, v);
	UNROLL
	for (int s = 0; s < 16; s++) {
		const __m512i top = _mm512_slli_epi32(v[s / 4], 24 - s % 4 * 8);
		_mm512_store_si512(h->scale[s], _mm512_srai_epi32(top, 24));
	}
	UNROLL
	for (int s = 0; s < 8; s++) { // 32 times two of them
		const __m512i word = _mm512_srli_epi32(v[s / 2], s % 2 * 16), second = _mm512_slli_epi32(word, 16);
		const __m512i first = _mm512_and_si512(_mm512_slli_epi32(word, 8), _mm512_set1_epi32(0xff00));
		const __m512i pair = _mm512_or_si512(first, _mm512_and_si512(second, _mm512_set1_epi32((int) 0xff000000)));
		_mm512_store_si512(h->pair[s], _mm512_srai_epi16(pair, 8));
		_mm512_store_si512(h->low[s], _mm512_srai_epi16(pair, 3));
	}
	const __m512 d = high_halves(load_dwords(rows, at + 206));
	_mm512_store_ps(h->d, d);
	_mm512_store_ps(h->dmin, d);
}

// Any type, block by block.
INLINE void pack_heads(const struct traits t, const uint8_t * const * rows, size_t at, struct heads * h) {
	__m512i scale[LANES], pair[LANES], low[LANES];
	for (int r = 0; r < LANES; r++) {
		const struct block b = unpack(t.type, rows[r] + at);
		scale[r] = _mm512_cvtepi16_epi32(b.scale);
		pair[r] =
			t.per == 16 ? _mm512_zextsi256_si512(b.scale) : _mm512_zextsi128_si512(_mm256_cvtepi32_epi16(b.scale));
		// where two neighbors are alike, those of even places
		low[r] = t.per == 16 ? _mm512_zextsi256_si512(b.low) : _mm512_zextsi128_si512(_mm256_cvtepi32_epi16(b.low));
		h->d[r] = b.d;
		h->dmin[r] = b.dmin;
	}
	transpose16x16(scale);
	memcpy(h->scale, scale, sizeof h->scale);
	transpose16x16(pair);
	memcpy(h->pair, pair, sizeof h->pair);
	transpose16x16(low);
	memcpy(h->low, low, sizeof h->low);
}

INLINE void pack(const struct traits t, const uint8_t * const * rows, size_t at, int64_t n, struct panel * p) {
	(void) n;
	switch (t.type) {
	case GGML_TYPE_Q2_K:
		pack_q2_K(rows, at, p);
		pack_heads_2(rows, at, &p->h);
		break;
	case GGML_TYPE_Q3_K:
		pack_q3_K(rows, at, p);
		pack_heads(t, rows, at, &p->h);
		break;
	case GGML_TYPE_Q4_K:
		pack_q4_K(rows, at, p);
		pack_heads_4(rows, at, &p->h);
		break;
	case GGML_TYPE_Q5_K:
		pack_q5_K(rows, at, p);
		pack_heads_4(rows, at, &p->h);
		break;
	case GGML_TYPE_IQ4_XS:
		pack_iq4_xs(rows, at, p);
		pack_heads(t, rows, at, &p->h);
		break;
	default:
		pack_q6_K(rows, at, p);
		pack_heads_6(rows, at, &p->h);
	}
}
