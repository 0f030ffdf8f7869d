// Small pieces of vector code that products share; included where instructions are chosen (isa_begin.h).
#pragma once

// Memory to ask for during a piece of work.
struct ahead {
	const char * at;
	int64_t bytes;
};

// Fills in where n rows of weights begin; the last one stands in for those that are missing.
INLINE void find_weights(const struct strip * s, const int n, const uint8_t ** row) {
	for (int r = 0; r < n; r++) {
		row[r] = s->a + (r < s->columns ? r : s->columns - 1) * s->stride;
	}
}

// Returns which weights to ask for while bytes of each of n rows, from the byte at of width, are multiplied: those of
// the rows that come after these, in the order in which they lie.
INLINE struct ahead next_weights(const struct strip * s, const int n, int64_t width, int64_t at, int64_t bytes) {
	const int64_t place = n * at;
	return (struct ahead) {(const char *) s->then + place / width * s->stride + place % width, n * bytes};
}

// Asks for part k of parts of the weights that the n rows after these have from the byte at on.
INLINE void prefetch_rows(const struct strip * s, const int n, size_t at, int64_t bytes, int64_t k, int64_t parts) {
	for (int64_t r = n * k / parts; r < n * (k + 1) / parts; r++) {
		const char * row = (const char *) s->then + r * s->stride + at;
		for (int64_t j = 0; j < bytes; j += CACHE_LINE) {
			_mm_prefetch(row + j, _MM_HINT_T0);
		}
	}
}

// Asks for part i of n, where weights meet one vector.
INLINE void prefetch_part(struct ahead a, const int nv, int i, int n) {
	for (int64_t j = a.bytes * i / n; nv == 1 && j < a.bytes * (i + 1) / n; j += CACHE_LINE) {
		_mm_prefetch(a.at + j, _MM_HINT_T0);
	}
}

// Asks for results of rows [from, to) of a strip.
INLINE void prefetch_results(const struct strip * s, int64_t from, int64_t to) {
	for (int64_t r = from; r < to; r++) {
		const char * y = (const char *) (s->y + r * s->ldy);
		_mm_prefetch(y, _MM_HINT_T0);
		_mm_prefetch(y + CACHE_LINE, _MM_HINT_T0);
	}
}

// Returns which of the results that vector w of a row holds there are.
INLINE __mmask16 some_columns(const struct strip * s, int w) {
	const int64_t n = s->columns - w * LANES;
	return (__mmask16) (n >= LANES ? 0xffff : n > 0 ? (1 << n) - 1 : 0);
}

// Brings results of rows [from, to) of a strip, or zeros, to sums, where rows of nv vectors lie side by side, and asks
// for those after them. Memory that nothing was written to is left alone: reading none of it takes long, too.
INLINE void load_results(const struct strip * s, const int nv, int64_t from, int64_t to, float * sums) {
	if (!s->add) {
		memset(sums + from * NR(nv), 0, (to - from) * NR(nv) * sizeof(float));
		return;
	}
	prefetch_results(s, from + AHEAD, least(to + AHEAD, s->rows));
	for (int64_t r = from; r < to; r++) {
		for (int w = 0; w < nv; w++) {
			const __m512 v = _mm512_maskz_loadu_ps(some_columns(s, w), s->y + r * s->ldy + w * LANES);
			_mm512_store_ps(sums + (r * nv + w) * LANES, v);
		}
	}
}

// Brings sums back.
INLINE void store_results(const struct strip * s, const int nv, int64_t from, int64_t to, const float * sums) {
	prefetch_results(s, from + AHEAD, least(to + AHEAD, s->rows));
	for (int64_t r = from; r < to; r++) {
		for (int w = 0; w < nv; w++) {
			const __m512 v = _mm512_load_ps(sums + (r * nv + w) * LANES);
			_mm512_mask_storeu_ps(s->y + r * s->ldy + w * LANES, some_columns(s, w), v);
		}
	}
}

// A part of an update, where it meets a strip.
struct factors {
	const float *b, *t; // the first column of B, and what belongs to it of A·x
	int64_t ldb, ldt;   // floats from one column of B, and from one row of A·x, to the next
	int64_t ranks;
	__mmask16 columns[2]; // of the strip that it changes
};

// Fills in the parts of the update, if there is one, that meet a strip, and asks for their columns. Returns how many
// there are.
NOINLINE int find_factors(const struct strip * s, struct factors * f) {
	int n = 0;
	int64_t begin = -s->column, rank = 0; // of the part, from the strip's first column
	for (int64_t i = 0; s->update && i < s->update->parts; i++) {
		const struct ggml_tensor *b = s->update->b[i], *t = s->update->t;
		const int64_t from = begin > 0 ? begin : 0, to = least(begin + b->ne[0], s->columns);
		if (from < to) {
			const uint32_t columns = (uint32_t) ((((uint64_t) 1 << to) - 1) & ~(((uint64_t) 1 << from) - 1));
			f[n].ldb = (int64_t) (b->nb[1] / sizeof(float));
			f[n].ldt = (int64_t) (t->nb[1] / sizeof(float));
			f[n].b = (const float *) b->data - begin;
			f[n].t = (const float *) t->data + s->row * f[n].ldt + rank;
			f[n].ranks = b->ne[1];
			f[n].columns[0] = (__mmask16) columns;
			f[n].columns[1] = (__mmask16) (columns >> LANES);
			for (int64_t k = 0; k < f[n].ranks; k++) {
				_mm_prefetch((const char *) (f[n].b + k * f[n].ldb + from), _MM_HINT_T0);
				_mm_prefetch((const char *) (f[n].b + k * f[n].ldb + to - 1), _MM_HINT_T0);
			}
			n++;
		}
		begin += b->ne[0];
		rank += b->ne[1];
	}
	return n;
}

// Brings sums of rows [from, to) of a strip back, at most rows of them, with the parts of an update added. The last row
// stands in for those that are missing.
INLINE void store_updated(const struct strip * s, const struct factors * f, int parts, const int nv, const int rows,
						  int64_t from, int64_t to, const float * sums) {
	int64_t row[MR(1)];
	__m512 sum[TILE];
	prefetch_results(s, from + AHEAD, least(to + AHEAD, s->rows));
	for (int r = 0; r < rows; r++) {
		row[r] = least(from + r, to - 1);
	}
	UNROLL
	for (int u = 0; u < rows * nv; u++) {
		sum[u] = _mm512_load_ps(sums + (row[u / nv] * nv + u % nv) * LANES);
	}
	for (; parts > 0; parts--, f++) {
		const float *t[MR(1)], *b = f->b;
		for (int r = 0; r < rows; r++) {
			t[r] = f->t + row[r] * f->ldt;
		}
		for (int64_t k = 0; k < f->ranks; k++, b += f->ldb) {
			__m512 v[2];
			UNROLL
			for (int w = 0; w < nv; w++) {
				v[w] = _mm512_maskz_loadu_ps(f->columns[w], b + w * LANES);
			}
			UNROLL
			for (int u = 0; u < rows * nv; u++) {
				sum[u] = _mm512_mask3_fmadd_ps(v[u % nv], _mm512_set1_ps(t[u / nv][k]), sum[u], f->columns[u % nv]);
			}
		}
	}
	UNROLL
	for (int u = 0; u < rows * nv; u++) {
		_mm512_mask_storeu_ps(s->y + row[u / nv] * s->ldy + u % nv * LANES, some_columns(s, u % nv), sum[u]);
	}
}

// Asks for memory that is used once.
INLINE void prefetch_once(const uint8_t * p, int bytes) {
	for (int j = 0; j < bytes; j += CACHE_LINE) {
		_mm_prefetch((const char *) p + PREFETCH + j, _MM_HINT_NTA);
	}
}

// Returns four bytes, over and over.
INLINE __m512i load4(const int8_t * p) {
	int32_t four;
	memcpy(&four, p, sizeof four);
	return _mm512_set1_epi32(four);
}

// Returns sum + q · the four bytes at p, for each four unsigned bytes of q: one instruction, of which GCC would make two
// and need a register in between.
INLINE __m512i dot4(__m512i sum, __m512i q, const int8_t * p) {
	__asm__("vpdpbusd %2%{1to16%}, %1, %0" : "+v"(sum) : "v"(q), "m"(*(const int8_t (*)[4]) p));
	return sum;
}

// Returns a number in half precision.
INLINE float load_half(const uint8_t * p) {
	uint16_t h;
	memcpy(&h, p, sizeof h);
	return _mm_cvtss_f32(_mm_cvtph_ps(_mm_cvtsi32_si128(h)));
}

// Returns ggml's kvalues_iq4nl, 128 added.
INLINE __m128i codebook(void) {
	return _mm_setr_epi8(1, 24, 45, 63, 79, 93, 106, 118, (char) 129, (char) 141, (char) 153, (char) 166, (char) 181,
						 (char) 197, (char) 217, (char) 241);
}

#if ISA_SET == ISA_BF16
// Returns sum + a·b, pairs side by side.
INLINE __m512 dot(__m512 sum, __m512i a, __m512i b) {
	return _mm512_dpbf16_ps(sum, (__m512bh) a, (__m512bh) b);
}
#endif

// Transposes 16 × 16 numbers of 32 bits.
INLINE void transpose16x16(__m512i * v) {
	__m512i t[16];
	UNROLL
	for (int i = 0; i < 16; i += 4) { // within each four rows and four columns
		const __m512i a = _mm512_unpacklo_epi32(v[i], v[i + 1]), b = _mm512_unpackhi_epi32(v[i], v[i + 1]);
		const __m512i c = _mm512_unpacklo_epi32(v[i + 2], v[i + 3]), d = _mm512_unpackhi_epi32(v[i + 2], v[i + 3]);
		t[i] = _mm512_unpacklo_epi64(a, c);
		t[i + 1] = _mm512_unpackhi_epi64(a, c);
		t[i + 2] = _mm512_unpacklo_epi64(b, d);
		t[i + 3] = _mm512_unpackhi_epi64(b, d);
	}
	UNROLL
	for (int i = 0; i < 4; i++) { // and these fours
		const __m512i a = _mm512_shuffle_i32x4(t[i], t[4 + i], 0x88), b = _mm512_shuffle_i32x4(t[i], t[4 + i], 0xdd);
		const __m512i c = _mm512_shuffle_i32x4(t[8 + i], t[12 + i], 0x88);
		const __m512i d = _mm512_shuffle_i32x4(t[8 + i], t[12 + i], 0xdd);
		v[i] = _mm512_shuffle_i32x4(a, c, 0x88);
		v[4 + i] = _mm512_shuffle_i32x4(b, d, 0x88);
		v[8 + i] = _mm512_shuffle_i32x4(a, c, 0xdd);
		v[12 + i] = _mm512_shuffle_i32x4(b, d, 0xdd);
	}
}

// Transposes 4 × 4 numbers of 32 bits within each quarter.
INLINE void transpose4x4(__m512i * v) {
	const __m512i a = _mm512_unpacklo_epi32(v[0], v[1]), b = _mm512_unpackhi_epi32(v[0], v[1]);
	const __m512i c = _mm512_unpacklo_epi32(v[2], v[3]), d = _mm512_unpackhi_epi32(v[2], v[3]);
	v[0] = _mm512_unpacklo_epi64(a, c);
	v[1] = _mm512_unpackhi_epi64(a, c);
	v[2] = _mm512_unpacklo_epi64(b, d);
	v[3] = _mm512_unpackhi_epi64(b, d);
}

// Loads 32 bytes of each of LANES rows, transposed: the first four bytes of all, then the next four. Two rows are
// loaded into one vector, so that halves need not be exchanged; eight vectors and as many results stay in registers.
INLINE void load_columns(const uint8_t * const * rows, size_t at, __m512i * v) {
	__m512i t[8];
	UNROLL
	for (int i = 0; i < 8; i++) {
		const uint8_t * const * r = rows + i / 4 * 8 + i % 4;
		const __m512i first = _mm512_castsi256_si512(_mm256_loadu_si256((const void *) (r[0] + at)));
		t[i] = _mm512_mask_broadcast_i64x4(first, 0xf0, _mm256_loadu_si256((const void *) (r[4] + at)));
	}
	transpose4x4(t);
	transpose4x4(t + 4);
	UNROLL
	for (int i = 0; i < 4; i++) {
		v[i] = _mm512_shuffle_i32x4(t[i], t[4 + i], 0x88);
		v[4 + i] = _mm512_shuffle_i32x4(t[i], t[4 + i], 0xdd);
	}
}

// Loads 16 bytes of each of LANES rows, transposed.
INLINE void load_heads(const uint8_t * const * rows, size_t at, __m512i * v) {
	UNROLL
	for (int j = 0; j < 4; j++) {
		v[j] = _mm512_castsi128_si512(_mm_loadu_si128((const void *) (rows[j] + at)));
		v[j] = _mm512_inserti32x4(v[j], _mm_loadu_si128((const void *) (rows[4 + j] + at)), 1);
		v[j] = _mm512_inserti32x4(v[j], _mm_loadu_si128((const void *) (rows[8 + j] + at)), 2);
		v[j] = _mm512_inserti32x4(v[j], _mm_loadu_si128((const void *) (rows[12 + j] + at)), 3);
	}
	transpose4x4(v);
}

// Loads four bytes of each of LANES rows.
INLINE __m512i load_dwords(const uint8_t * const * rows, size_t at) {
	__m128i four[4];
	UNROLL
	for (int j = 0; j < 4; j++) {
		const uint8_t * const * r = rows + 4 * j;
		const __m128i a = _mm_unpacklo_epi32(_mm_loadu_si32(r[0] + at), _mm_loadu_si32(r[1] + at));
		const __m128i b = _mm_unpacklo_epi32(_mm_loadu_si32(r[2] + at), _mm_loadu_si32(r[3] + at));
		four[j] = _mm_unpacklo_epi64(a, b);
	}
	const __m512i low = _mm512_inserti32x4(_mm512_castsi128_si512(four[0]), four[1], 1);
	return _mm512_inserti32x4(_mm512_inserti32x4(low, four[2], 2), four[3], 3);
}

// Returns the numbers in half precision in the low 16 bits, and in the high ones.
INLINE __m512 low_halves(__m512i v) {
	return _mm512_cvtph_ps(_mm512_cvtepi32_epi16(v));
}

INLINE __m512 high_halves(__m512i v) {
	return low_halves(_mm512_srli_epi32(v, 16));
}

// Returns the sums of four vectors within each quarter: those of v[0] to v[3] side by side.
INLINE __m512i sum_quarters(const __m512i * v) {
	const __m512i a = _mm512_add_epi32(_mm512_unpacklo_epi32(v[0], v[1]), _mm512_unpackhi_epi32(v[0], v[1]));
	const __m512i b = _mm512_add_epi32(_mm512_unpacklo_epi32(v[2], v[3]), _mm512_unpackhi_epi32(v[2], v[3]));
	return _mm512_add_epi32(_mm512_unpacklo_epi64(a, b), _mm512_unpackhi_epi64(a, b));
}

// Returns the sums of 16 vectors.
INLINE __m512i sum16(const __m512i * v) {
	const __m512i a = sum_quarters(v), b = sum_quarters(v + 4), c = sum_quarters(v + 8), d = sum_quarters(v + 12);
	const __m512i ab = _mm512_add_epi32(_mm512_shuffle_i32x4(a, b, 0x88), _mm512_shuffle_i32x4(a, b, 0xdd));
	const __m512i cd = _mm512_add_epi32(_mm512_shuffle_i32x4(c, d, 0x88), _mm512_shuffle_i32x4(c, d, 0xdd));
	return _mm512_add_epi32(_mm512_shuffle_i32x4(ab, cd, 0x88), _mm512_shuffle_i32x4(ab, cd, 0xdd));
}

// Returns a field of each byte: the bits of mask from bit from up, moved to bit to.
INLINE __m512i bits(__m512i v, int from, int mask, int to) {
	v = from > to ? _mm512_srli_epi16(v, (unsigned) (from - to)) : _mm512_slli_epi16(v, (unsigned) (to - from));
	return _mm512_and_si512(v, _mm512_set1_epi8((char) (mask << to)));
}
