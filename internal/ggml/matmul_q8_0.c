// Products of the types of blocks of 32 values and one scale with rows of Q8_0 (matmul.c).
#include "matmul.h"

#ifdef PG_PRODUCTS

#define ISA_SET ISA_VNNI
#include "isa_begin.h"
#include "simd.h"

struct traits {
	enum ggml_type type;
	int bytes; // of a block
	int zero;  // which of the values, when they are taken as unsigned, is 0
};

#define ROW_BYTES 34 // of a block of Q8_0

// The 32 values of a block, which begins with its scale.
INLINE __m256i values(const struct traits t, const uint8_t * p) {
	if (t.type == GGML_TYPE_Q8_0) {
		return _mm256_xor_si256(_mm256_loadu_si256((const void *) (p + 2)), _mm256_set1_epi8((char) 0x80));
	}
	// 4 bits of each value, of the first 16 and the others in the same bytes, at the end of the block
	const __m128i both = _mm_loadu_si128((const void *) (p + t.bytes - 16));
	const __m256i four = _mm256_and_si256(
		_mm256_inserti128_si256(_mm256_castsi128_si256(both), _mm_srli_epi16(both, 4), 1), _mm256_set1_epi8(15));
	if (t.type == GGML_TYPE_IQ4_NL) {
		return _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(codebook()), four);
	}
	if (t.type == GGML_TYPE_Q5_0) { // a bit more of each, before them
		uint32_t high;
		memcpy(&high, p + 2, sizeof high);
		return _mm256_or_si256(four, _mm256_maskz_set1_epi8(high, 16));
	}
	return four;
}

// --- one row ----------------------------------------------------------------

// Two blocks or, if there is no second, one.
INLINE __m512 pair(const struct traits t, const uint8_t * p, const uint8_t * x, const bool second, __m512 sum) {
	__m512i q = _mm512_zextsi256_si512(values(t, p)),
			v = _mm512_zextsi256_si512(_mm256_loadu_si256((const void *) (x + 2)));
	__m512 d = _mm512_zextps256_ps512(_mm256_set1_ps(load_half(p) * load_half(x)));
	if (second) {
		q = _mm512_inserti64x4(q, values(t, p + t.bytes), 1);
		v = _mm512_inserti64x4(v, _mm256_loadu_si256((const void *) (x + ROW_BYTES + 2)), 1);
		d = _mm512_insertf32x8(d, _mm256_set1_ps(load_half(p + t.bytes) * load_half(x + ROW_BYTES)), 1);
	}
	const __m512i zero = _mm512_dpbusd_epi32(_mm512_setzero_si512(), _mm512_set1_epi8((char) t.zero), v);
	const __m512i dot = _mm512_sub_epi32(_mm512_dpbusd_epi32(_mm512_setzero_si512(), q, v), zero);
	return _mm512_fmadd_ps(_mm512_cvtepi32_ps(dot), d, sum);
}

INLINE void dots(const struct traits t, const int streams, int64_t blocks, const uint8_t * a, size_t apart,
				 const uint8_t * x, float * y, int64_t step) {
	__m512 sum[STREAMS];
	UNROLL
	for (int r = 0; r < streams; r++) {
		sum[r] = _mm512_setzero_ps();
	}
	int64_t i = 0;
	for (; i + 2 <= blocks; i += 2) {
		UNROLL
		for (int r = 0; r < streams; r++) {
			const uint8_t * p = a + r * apart + i * t.bytes;
			for (int j = 0; j < 2 * t.bytes; j += 64) {
				_mm_prefetch((const char *) p + PREFETCH + j, _MM_HINT_NTA);
			}
			sum[r] = pair(t, p, x + i * ROW_BYTES, true, sum[r]);
		}
	}
	UNROLL
	for (int r = 0; r < streams; r++) {
		if (i < blocks) {
			sum[r] = pair(t, a + r * apart + i * t.bytes, x + i * ROW_BYTES, false, sum[r]);
		}
		y[r * step] = _mm512_reduce_add_ps(sum[r]);
	}
}

// --- many rows --------------------------------------------------------------

#define BLOCKS (KC / QK_0)

// A block of each of LANES rows of weights, turned: four values of each row,
// then the next four.
struct panel {
	uint8_t q[QK_0 / 4][4 * LANES];
	float d[LANES];
} __attribute__((aligned(64)));

// A chunk of a row, and what its products begin with: zero times the sum of a
// block, taken off. Its length is an odd number of cache lines, so that rows of a
// tile do not contend for the same few places of the cache.
struct input {
	int8_t q[BLOCKS][QK_0];
	int32_t start[BLOCKS];
	float d[BLOCKS];
	char odd[64];
} __attribute__((aligned(64)));

INLINE void pack(const struct traits t, const uint8_t * const * rows, int64_t blocks, struct panel * p) {
	for (int64_t i = 0; i < blocks; i += 2) { // in pairs, as there are 16 numbers of 32 bits to turn
		const bool second = i + 1 < blocks;
		__m512i part[LANES];
		for (int r = 0; r < LANES; r++) {
			const uint8_t * row = rows[r] + i * t.bytes;
			part[r] = _mm512_zextsi256_si512(values(t, row));
			p[i].d[r] = load_half(row);
			if (second) {
				part[r] = _mm512_inserti64x4(part[r], values(t, row + t.bytes), 1);
				p[i + 1].d[r] = load_half(row + t.bytes);
			}
		}
		transpose16x16(part);
		memcpy(p[i].q, part, sizeof p->q);
		if (second) {
			memcpy(p[i + 1].q, part + QK_0 / 4, sizeof p->q);
		}
	}
}

INLINE void copy(const struct traits t, const uint8_t * x, int64_t blocks, struct input * to) {
	for (int64_t i = 0; i < blocks; i++, x += ROW_BYTES) {
		const __m256i q = _mm256_loadu_si256((const void *) (x + 2));
		memcpy(to->q[i], &q, sizeof q);
		const __m256i sums = _mm256_dpbusd_epi32(_mm256_setzero_si256(), _mm256_set1_epi8((char) t.zero), q);
		to->start[i] = -_mm512_reduce_add_epi32(_mm512_zextsi256_si512(sums));
		to->d[i] = load_half(x);
	}
}

INLINE void tile(const struct traits t, const int rows, const struct panel * p, const struct input * x, int64_t blocks,
				 float * y, int64_t ldy, bool add, uint32_t mask) {
	(void) t;
	__m512 sum[MR][NV];
	UNROLL
	for (int u = 0; u < rows * NV; u++) {
		const int r = u / NV, w = u % NV;
		sum[r][w] = load_result(add, y + r * ldy, w, mask);
	}
	for (int64_t i = 0; i < blocks; i++, p++) {
		__m512i part[MR][NV], q[NV];
		UNROLL
		for (int u = 0; u < rows * NV; u++) {
			const int r = u / NV, w = u % NV;
			part[r][w] = _mm512_set1_epi32(x[r].start[i]);
		}
		UNROLL
		for (int k = 0; k < QK_0 / 4; k++) {
			UNROLL
			for (int w = 0; w < NV; w++) {
				q[w] = _mm512_load_si512(p[w * BLOCKS].q[k]);
			}
			UNROLL
			for (int u = 0; u < rows * NV; u++) {
				const int r = u / NV, w = u % NV;
				part[r][w] = _mm512_dpbusd_epi32(part[r][w], q[w], load4(x[r].q[i] + 4 * k));
			}
		}
		UNROLL
		for (int u = 0; u < rows * NV; u++) {
			const int r = u / NV, w = u % NV;
			const __m512 d = _mm512_mul_ps(_mm512_load_ps(p[w * BLOCKS].d), _mm512_set1_ps(x[r].d[i]));
			sum[r][w] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(part[r][w]), d, sum[r][w]);
		}
	}
	UNROLL
	for (int u = 0; u < rows * NV; u++) {
		const int r = u / NV, w = u % NV;
		store_result(y + r * ldy, w, mask, sum[r][w]);
	}
}

// --- types ------------------------------------------------------------------

// of each, the bytes of a block and which of the values is 0
#define TYPE Q8_0
#define TRAITS GGML_TYPE_Q8_0, 34, 128
#include "matmul_type.h"

#define TYPE Q5_0
#define TRAITS GGML_TYPE_Q5_0, 22, 16
#include "matmul_type.h"

#define TYPE Q4_0
#define TRAITS GGML_TYPE_Q4_0, 18, 8
#include "matmul_type.h"

#define TYPE IQ4_NL
#define TRAITS GGML_TYPE_IQ4_NL, 18, 128
#include "matmul_type.h"

#include "isa_end.h"

#define ENTRY(name, bytes)                                                                                      \
	{GGML_TYPE_##name,     GGML_TYPE_Q8_0, QK_0,        bytes,       BLOCKS,     BLOCKS * sizeof(struct panel), \
	 sizeof(struct input), gemv_##name,    pack_##name, copy_##name, tile_##name}

const struct matmul_type pg_types_q8_0[] = {
	ENTRY(Q8_0, 34), ENTRY(Q5_0, 22), ENTRY(Q4_0, 18), ENTRY(IQ4_NL, 18), {0},
};

#endif
