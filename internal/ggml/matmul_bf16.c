// Products of BF16 with rows of BF16 (matmul.c).
#include "matmul.h"

#ifdef PG_PRODUCTS

#define ISA_SET ISA_BF16
#include "isa_begin.h"
#include "simd.h"

// A block is a pair of values, and a vector has so many.
#define VECTOR 16
#define BYTES 4

struct traits {
	enum ggml_type type;
};

// sum + a·b, pairs side by side.
INLINE __m512 dot(__m512 sum, __m512i a, __m512i b) {
	return _mm512_dpbf16_ps(sum, (__m512bh) a, (__m512bh) b);
}

// Up to a vector of pairs, then zeros.
INLINE __m512i pairs(const uint8_t * p, int64_t count) {
	return count >= VECTOR ? _mm512_loadu_si512(p) : _mm512_maskz_loadu_epi32((__mmask16) ((1u << count) - 1), p);
}

// --- one row ----------------------------------------------------------------

INLINE void dots(const struct traits t, const int streams, int64_t blocks, const uint8_t * a, size_t apart,
				 const uint8_t * x, float * y, int64_t step) {
	(void) t;
	__m512 sum[STREAMS];
	UNROLL
	for (int r = 0; r < streams; r++) {
		sum[r] = _mm512_setzero_ps();
	}
	for (int64_t i = 0; i < blocks; i += VECTOR) {
		const __m512i v = pairs(x + i * BYTES, blocks - i);
		UNROLL
		for (int r = 0; r < streams; r++) {
			const uint8_t * p = a + r * apart + i * BYTES;
			_mm_prefetch((const char *) p + PREFETCH, _MM_HINT_NTA);
			sum[r] = dot(sum[r], pairs(p, blocks - i), v);
		}
	}
	UNROLL
	for (int r = 0; r < streams; r++) {
		y[r * step] = _mm512_reduce_add_ps(sum[r]);
	}
}

// --- many rows --------------------------------------------------------------

#define BLOCKS 512 // of a chunk

// A pair of each of LANES rows of weights.
struct panel {
	uint8_t q[BYTES * LANES];
} __attribute__((aligned(64)));

// A chunk of a row. Its length is an odd number of cache lines, so that rows of a
// tile do not contend for the same few places of the cache.
struct input {
	int8_t q[BLOCKS][BYTES];
	char odd[64];
} __attribute__((aligned(64)));

INLINE void pack(const struct traits t, const uint8_t * const * rows, int64_t blocks, struct panel * p) {
	(void) t;
	for (int64_t i = 0; i < blocks; i += VECTOR) {
		__m512i part[LANES];
		for (int r = 0; r < LANES; r++) {
			part[r] = pairs(rows[r] + i * BYTES, blocks - i);
		}
		transpose16x16(part);
		memcpy(p + i, part, (blocks - i < VECTOR ? blocks - i : VECTOR) * sizeof *p);
	}
}

INLINE void copy(const struct traits t, const void * x, int64_t blocks, struct input * to) {
	(void) t;
	memcpy(to->q, x, blocks * BYTES);
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
	for (int64_t i = 0; i < blocks; i++) {
		UNROLL
		for (int u = 0; u < rows * NV; u++) {
			const int r = u / NV, w = u % NV;
			sum[r][w] = dot(sum[r][w], _mm512_load_si512(p[w * BLOCKS + i].q), load4(x[r].q[i]));
		}
	}
	UNROLL
	for (int u = 0; u < rows * NV; u++) {
		const int r = u / NV, w = u % NV;
		store_result(y + r * ldy, w, mask, sum[r][w]);
	}
}

#define TYPE BF16
#define TRAITS GGML_TYPE_BF16
#include "matmul_type.h"

#include "isa_end.h"

const struct matmul_type pg_types_bf16[] = {
	{GGML_TYPE_BF16, GGML_TYPE_BF16, 2, BYTES, BLOCKS, BLOCKS * sizeof(struct panel), sizeof(struct input), gemv_BF16,
	 pack_BF16, copy_BF16, tile_BF16},
	{0},
};

#endif
