// How blocks of K-quants and iq4_xs are laid out in a file, unpacked with AVX-512
// into one form for all (ggml's ggml-common.h names the fields; ggml-quants.c says what
// they mean). For x86 only.
#pragma once

// A block of 256 values: value i is d·scale[i/16]·q[i] − dmin·low[i/16].
struct block {
	__m512i q[4];       // unsigned bytes, below 64 but for iq4_xs
	__m256i scale, low; // 16 bits each; pairs are alike where 32 values share a scale
	float d, dmin;
};

// 32 bytes twice, shifted to the right by a number of bits; bits come over from the byte above.
INLINE __m512i dup(const uint8_t * p, short first, short second) {
	const __m512i shift = _mm512_inserti64x4(_mm512_set1_epi16(first), _mm256_set1_epi16(second), 1);
	return _mm512_srlv_epi16(_mm512_broadcast_i64x4(_mm256_loadu_si256((const void *) p)), shift);
}

// The 16 bytes with which q4_K and q5_K begin: d, dmin, and 8 scales and 8 lows
// of 6 bits. Bytes 4 to 7 hold the first four scales, 8 to 11 the first four
// lows, and in their highest two bits those of the others, whose lowest four
// bits are the halves of bytes 12 to 15.
INLINE void unpack_head(struct block * b, const uint8_t * p) {
	const __m128i v = _mm_loadu_si128((const void *) p);
	const __m128i six = _mm_shuffle_epi8(v, _mm_setr_epi8(4, 5, 6, 7, 12, 13, 14, 15, 8, 9, 10, 11, 12, 13, 14, 15));
	const __m128i two = _mm_shuffle_epi8(v, _mm_setr_epi8(-1, -1, -1, -1, 4, 5, 6, 7, -1, -1, -1, -1, 8, 9, 10, 11));
	const __m128i mask = _mm_setr_epi32(0x3f3f3f3f, 0x0f0f0f0f, 0x3f3f3f3f, 0x0f0f0f0f);
	const __m128i all = _mm_or_si128(_mm_and_si128(_mm_srlv_epi32(six, _mm_setr_epi32(0, 0, 0, 4)), mask),
									 _mm_and_si128(_mm_srli_epi32(two, 2), _mm_set1_epi8(0x30)));
	b->scale = _mm256_cvtepi8_epi16(_mm_unpacklo_epi8(all, all));
	b->low = _mm256_cvtepi8_epi16(_mm_unpackhi_epi8(all, all));
	const __m128 d = _mm_cvtph_ps(v);
	b->d = _mm_cvtss_f32(d);
	b->dmin = _mm_cvtss_f32(_mm_movehdup_ps(d));
}

// d, dmin; 8 scales and lows; 4 bits of each value, of 32 values and the next 32 in the same bytes.
INLINE struct block unpack_q4_K(const uint8_t * p) {
	struct block b;
	unpack_head(&b, p);
	for (int j = 0; j < 4; j++) {
		b.q[j] = _mm512_and_si512(dup(p + 16 + 32 * j, 0, 4), _mm512_set1_epi8(15));
	}
	return b;
}

// As q4_K, with a fifth bit of each value before the four: bit i of byte j is that of value 32·i + j.
INLINE struct block unpack_q5_K(const uint8_t * p) {
	struct block b;
	unpack_head(&b, p);
	for (int j = 0; j < 4; j++) {
		const __m512i low = _mm512_and_si512(dup(p + 48 + 32 * j, 0, 4), _mm512_set1_epi8(15));
		const __m512i high = _mm512_and_si512(dup(p + 16, (short) (2 * j), (short) (2 * j + 1)), _mm512_set1_epi8(1));
		b.q[j] = _mm512_or_si512(low, _mm512_slli_epi16(high, 4));
	}
	return b;
}

// 4 bits of each value, of 64 values and the next 64 in the same bytes; 2 more,
// of four times 32 values in the same bytes; 16 scales; d. 32 is taken off.
INLINE struct block unpack_q6_K(const uint8_t * p) {
	struct block b;
	for (int j = 0; j < 2; j++) {
		const __m512i four = _mm512_loadu_si512(p + 64 * j), mask = _mm512_set1_epi8(15), two = _mm512_set1_epi8(3);
		const __m512i first = _mm512_and_si512(dup(p + 128 + 32 * j, 0, 2), two);
		const __m512i second = _mm512_and_si512(dup(p + 128 + 32 * j, 4, 6), two);
		b.q[2 * j] = _mm512_or_si512(_mm512_and_si512(four, mask), _mm512_slli_epi16(first, 4));
		b.q[2 * j + 1] =
			_mm512_or_si512(_mm512_and_si512(_mm512_srli_epi16(four, 4), mask), _mm512_slli_epi16(second, 4));
	}
	b.scale = _mm256_cvtepi8_epi16(_mm_loadu_si128((const void *) (p + 192)));
	b.low = _mm256_slli_epi16(b.scale, 5);
	b.d = b.dmin = load_half(p + 208);
	return b;
}

// 16 scales and lows of 4 bits; 2 bits of each value, of four times 32 values in the same bytes; d, dmin.
INLINE struct block unpack_q2_K(const uint8_t * p) {
	struct block b;
	for (int j = 0; j < 4; j++) {
		const short shift = (short) (j % 2 * 4);
		b.q[j] = _mm512_and_si512(dup(p + 16 + j / 2 * 32, shift, (short) (shift + 2)), _mm512_set1_epi8(3));
	}
	const __m256i both = _mm256_cvtepu8_epi16(_mm_loadu_si128((const void *) p));
	b.scale = _mm256_and_si256(both, _mm256_set1_epi16(15));
	b.low = _mm256_srli_epi16(both, 4);
	b.d = load_half(p + 80);
	b.dmin = load_half(p + 82);
	return b;
}

// The third bits of all values, laid out as q5_K's fifth; the other two as in
// q2_K; 4 bits of 8 scales and the next 8 in the same bytes, and 2 more of four
// times 4; d. 32 is taken off the scales, 4 off the values.
INLINE struct block unpack_q3_K(const uint8_t * p) {
	struct block b;
	for (int j = 0; j < 4; j++) {
		const short shift = (short) (j % 2 * 4);
		const __m512i low = _mm512_and_si512(dup(p + 32 + j / 2 * 32, shift, (short) (shift + 2)), _mm512_set1_epi8(3));
		const __m512i high = _mm512_and_si512(dup(p, (short) (2 * j), (short) (2 * j + 1)), _mm512_set1_epi8(1));
		b.q[j] = _mm512_or_si512(low, _mm512_slli_epi16(high, 2));
	}
	uint64_t four;
	uint32_t two;
	memcpy(&four, p + 96, sizeof four);
	memcpy(&two, p + 104, sizeof two);
	const __m128i low = _mm_and_si128(_mm_set_epi64x((long long) (four >> 4), (long long) four), _mm_set1_epi8(15));
	const __m128i high =
		_mm_and_si128(_mm_srlv_epi32(_mm_set1_epi32((int) two), _mm_setr_epi32(0, 2, 4, 6)), _mm_set1_epi8(3));
	const __m128i scale = _mm_sub_epi8(_mm_or_si128(low, _mm_slli_epi16(high, 4)), _mm_set1_epi8(32));
	b.scale = _mm256_cvtepi8_epi16(scale);
	b.low = _mm256_slli_epi16(b.scale, 2);
	b.d = b.dmin = load_half(p + 108);
	return b;
}

// d; 2 more bits of 8 scales, and 4 of each; 4 bits of each value, of 16 values and
// the next 16 in the same bytes, which are places on a curve. 32 is taken off the
// scales, 128 off the values.
INLINE struct block unpack_iq4_xs(const uint8_t * p) {
	struct block b;
	const __m512i both = _mm512_setr_epi64(0, 1, 0, 1, 2, 3, 2, 3),
				  shift = _mm512_broadcast_i64x4(_mm256_setr_epi64x(0, 0, 0x0004000400040004, 0x0004000400040004));
	for (int j = 0; j < 4; j++) {
		const __m512i v =
			_mm512_permutexvar_epi64(both, _mm512_castsi256_si512(_mm256_loadu_si256((const void *) (p + 8 + 32 * j))));
		b.q[j] = _mm512_shuffle_epi8(_mm512_broadcast_i32x4(codebook()),
									 _mm512_and_si512(_mm512_srlv_epi16(v, shift), _mm512_set1_epi8(15)));
	}
	uint16_t two;
	uint32_t four;
	memcpy(&two, p + 2, sizeof two);
	memcpy(&four, p + 4, sizeof four);
	const __m256i place = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
	const __m256i low = _mm256_and_si256(_mm256_srlv_epi32(_mm256_set1_epi32((int) four), _mm256_slli_epi32(place, 2)),
										 _mm256_set1_epi32(15));
	const __m256i high =
		_mm256_and_si256(_mm256_srlv_epi32(_mm256_set1_epi32(two), _mm256_slli_epi32(place, 1)), _mm256_set1_epi32(3));
	const __m256i scale = _mm256_sub_epi32(_mm256_or_si256(low, _mm256_slli_epi32(high, 4)), _mm256_set1_epi32(32));
	b.scale = _mm256_or_si256(_mm256_and_si256(scale, _mm256_set1_epi32(0xffff)), _mm256_slli_epi32(scale, 16));
	b.low = _mm256_slli_epi16(b.scale, 7);
	b.d = b.dmin = load_half(p);
	return b;
}

// The block of a type, which is a constant.
INLINE struct block unpack(const enum ggml_type type, const uint8_t * p) {
	switch (type) {
	case GGML_TYPE_Q2_K:
		return unpack_q2_K(p);
	case GGML_TYPE_Q3_K:
		return unpack_q3_K(p);
	case GGML_TYPE_Q4_K:
		return unpack_q4_K(p);
	case GGML_TYPE_Q5_K:
		return unpack_q5_K(p);
	case GGML_TYPE_IQ4_XS:
		return unpack_iq4_xs(p);
	default:
		return unpack_q6_K(p);
	}
}
