// Part of attention_cells.c: its loops for each instruction set.
#include "softmax.h"

typedef float FN(vec) __attribute__((vector_size(ISA_FLOATS * sizeof(float)), aligned(4), may_alias));

#define SUMS (ISA_FLOATS == 16 ? 16 : 8) // vectors that are added up in registers; ROWS at least

// Loads numbers in half precision.
INLINE void FN(load_halves)(const uint16_t * p, FN(vec) * to) {
#if ISA_SET == ISA_AVX512
	*to = (FN(vec)) _mm512_cvtph_ps(_mm256_loadu_si256((const void *) p));
#elif ISA_SET == ISA_AVX2
	*to = (FN(vec)) _mm256_cvtph_ps(_mm_loadu_si128((const void *) p));
#else
	union {
		uint32_t u[ISA_FLOATS];
		float f[ISA_FLOATS];
		FN(vec) v;
	} x;
	for (int i = 0; i < ISA_FLOATS; i++) {
		x.u[i] = (uint32_t) (p[i] & 0x7fff) << 13;
		x.f[i] *= 0x1p112f; // subnormal numbers become normal ones
		x.u[i] |= (uint32_t) (p[i] & 0x8000) << 16 | ((p[i] & 0x7c00) == 0x7c00 ? 0x7f800000 : 0);
	}
	*to = x.v;
#endif
}

// Writes the sum of each vector.
INLINE void FN(sum_vectors)(const FN(vec) * v, float * sums) {
#if ISA_SET == ISA_AVX512
	__m512 four[4];
	for (int i = 0; i < 4; i++) {
		const __m512 a = (__m512) v[4 * i], b = (__m512) v[4 * i + 1], c = (__m512) v[4 * i + 2];
		const __m512 d = (__m512) v[4 * i + 3];
		const __m512 ab = _mm512_add_ps(_mm512_unpacklo_ps(a, b), _mm512_unpackhi_ps(a, b));
		const __m512 cd = _mm512_add_ps(_mm512_unpacklo_ps(c, d), _mm512_unpackhi_ps(c, d));
		four[i] = _mm512_add_ps(_mm512_shuffle_ps(ab, cd, 0x44), _mm512_shuffle_ps(ab, cd, 0xee));
	}
	for (int i = 0; i < 4; i += 2) {
		four[i] = _mm512_add_ps(_mm512_shuffle_f32x4(four[i], four[i + 1], 0x88),
								_mm512_shuffle_f32x4(four[i], four[i + 1], 0xdd));
	}
	_mm512_storeu_ps(sums, _mm512_add_ps(_mm512_shuffle_f32x4(four[0], four[2], 0x88),
										 _mm512_shuffle_f32x4(four[0], four[2], 0xdd)));
#else
	for (int i = 0; i < SUMS; i++) {
		float lane[ISA_FLOATS];
		memcpy(lane, v + i, sizeof lane);
		for (int half = ISA_FLOATS / 2; half > 0; half /= 2) {
			for (int j = 0; j < half; j++) {
				lane[j] += lane[j + half];
			}
		}
		sums[i] = lane[0];
	}
#endif
}

// Scores [rows, SUMS/rows] of as many cells, of which n exist.
INLINE void FN(score_cells)(const int rows, int64_t wide, const float * q, int64_t n, const uint16_t * k,
							int64_t stride, float * score) {
	const int cells = SUMS / rows;
	FN(vec) sum[SUMS];
	const uint16_t * cell[SUMS];
	for (int c = 0; c < cells; c++) {
		cell[c] = k + (c < n ? c : n - 1) * stride;
	}
	for (int u = 0; u < SUMS; u++) {
		sum[u] = (FN(vec)) {0};
	}
	for (int64_t i = 0; i < wide; i += ISA_FLOATS) {
		FN(vec) x[SUMS];
		for (int c = 0; c < cells; c++) {
			FN(load_halves)(cell[c] + i, x + c);
		}
		for (int r = 0; r < rows; r++) {
			const FN(vec) y = *(const FN(vec) *) (q + r * wide + i);
			for (int c = 0; c < cells; c++) {
				sum[r * cells + c] += x[c] * y;
			}
		}
	}
	float sums[SUMS];
	FN(sum_vectors)(sum, sums);
	for (int r = 0; r < rows; r++) {
		memcpy(score + r * (CHUNK + SLACK), sums + r * cells, cells * sizeof *sums);
	}
}

// Asks for n rows of halves that are read soon.
INLINE void FN(prefetch_rows)(int64_t n, int64_t wide, const uint16_t * at, int64_t stride) {
	for (int64_t j = 0; j < n; j++, at += stride) {
		for (int64_t i = 0; i < wide; i += CACHE_LINE / (int64_t) sizeof *at) {
			__builtin_prefetch(at + i, 0, 2);
		}
	}
}

// Scores [rows, CHUNK + SLACK] of n cells, rows being 1, 2, 4 or 8. The cells' values, apart halves from one to the
// next, are asked for.
static void FN(scores)(int rows, int64_t wide, const float * q, int64_t n, const uint16_t * k, int64_t stride,
					   float * score, const uint16_t * values, int64_t apart) {
	const int cells = SUMS / rows;
	for (int64_t j = 0; j < n; j += cells, k += cells * stride, score += cells) {
		FN(prefetch_rows)(n - j < cells ? n - j : cells, wide, values + j * apart, apart);
		switch (rows) {
		case 1:
			FN(score_cells)(1, wide, q, n - j, k, stride, score);
			break;
		case 2:
			FN(score_cells)(2, wide, q, n - j, k, stride, score);
			break;
		case 4:
			FN(score_cells)(4, wide, q, n - j, k, stride, score);
			break;
		default:
			FN(score_cells)(ROWS, wide, q, n - j, k, stride, score);
		}
	}
}

// Columns [rows, vectors] of sums of values.
INLINE void FN(sum_columns)(const int rows, const int vectors, int64_t wide, const float * weight, int64_t n,
							const uint16_t * v, int64_t stride, float * y, bool add) {
	FN(vec) sum[SUMS];
	for (int r = 0; r < rows; r++) {
		for (int j = 0; j < vectors; j++) {
			sum[r * vectors + j] = add ? *(FN(vec) *) (y + r * wide + j * ISA_FLOATS) : (FN(vec)) {0};
		}
	}
	for (int64_t i = 0; i < n; i++, v += stride) {
		FN(vec) x[SUMS];
		for (int j = 0; j < vectors; j++) {
			FN(load_halves)(v + j * ISA_FLOATS, x + j);
		}
		for (int r = 0; r < rows; r++) {
			for (int j = 0; j < vectors; j++) {
				sum[r * vectors + j] += weight[r * (CHUNK + SLACK) + i] * x[j];
			}
		}
	}
	for (int r = 0; r < rows; r++) {
		for (int j = 0; j < vectors; j++) {
			*(FN(vec) *) (y + r * wide + j * ISA_FLOATS) = sum[r * vectors + j];
		}
	}
}

INLINE void FN(sum_rows)(const int rows, int64_t wide, const float * weight, int64_t n, const uint16_t * v,
						 int64_t stride, float * y, bool add) {
	const int vectors = SUMS / rows;
	int64_t j = 0;
	for (; j + vectors * ISA_FLOATS <= wide; j += vectors * ISA_FLOATS) {
		FN(sum_columns)(rows, vectors, wide, weight, n, v + j, stride, y + j, add);
	}
	for (; j < wide; j += ISA_FLOATS) {
		FN(sum_columns)(rows, 1, wide, weight, n, v + j, stride, y + j, add);
	}
}

// y [rows, wide] = or += weights [rows, CHUNK + SLACK] of n cells · values, rows being 1, 2, 4 or 8.
static void FN(sum_values)(int rows, int64_t wide, const float * weight, int64_t n, const uint16_t * v, int64_t stride,
						   float * y, bool add) {
	switch (rows) {
	case 1:
		FN(sum_rows)(1, wide, weight, n, v, stride, y, add);
		break;
	case 2:
		FN(sum_rows)(2, wide, weight, n, v, stride, y, add);
		break;
	case 4:
		FN(sum_rows)(4, wide, weight, n, v, stride, y, add);
		break;
	default:
		FN(sum_rows)(ROWS, wide, weight, n, v, stride, y, add);
	}
}

static void FN(merge)(int64_t n, float * restrict y, const float * restrict x, float before, float now) {
	for (int64_t i = 0; i < n; i++) {
		y[i] = y[i] * before + x[i] * now;
	}
}

#undef SUMS
