#include "simd.h"

// Products of BF16 with rows of BF16 (product.c).
#ifdef PG_PRODUCTS
#define PG_MORE ",avx512bf16"
#include "product.h"

// A block is a pair of values, and a vector has so many.
#define VECTOR 16
#define BYTES 4

struct traits {
	enum ggml_type type;
};

// sum + a·b, pairs side by side.
PG_INLINE PG_VNNI __m512 dot(__m512 sum, __m512i a, __m512i b) {
	return _mm512_dpbf16_ps(sum, (__m512bh) a, (__m512bh) b);
}

// Up to a vector of pairs, then zeros.
PG_INLINE PG_VNNI __m512i pairs(const uint8_t * p, int64_t count) {
	return count >= VECTOR ? _mm512_loadu_si512(p) : _mm512_maskz_loadu_epi32((__mmask16) ((1u << count) - 1), p);
}

// --- one row ----------------------------------------------------------------

PG_INLINE PG_VNNI void dots(const struct traits t, const int streams, int64_t blocks, const uint8_t * a, size_t apart, const uint8_t * x, float * y, int64_t step) {
	(void) t;
	__m512 sum[PG_STREAMS];
	PG_UNROLL for (int r = 0; r < streams; r++) {
		sum[r] = _mm512_setzero_ps();
	}
	for (int64_t i = 0; i < blocks; i += VECTOR) {
		const __m512i v = pairs(x + i * BYTES, blocks - i);
		PG_UNROLL for (int r = 0; r < streams; r++) {
			const uint8_t * p = a + r * apart + i * BYTES;
			_mm_prefetch((const char *) p + PG_AHEAD, _MM_HINT_NTA);
			sum[r] = dot(sum[r], pairs(p, blocks - i), v);
		}
	}
	PG_UNROLL for (int r = 0; r < streams; r++) {
		y[r * step] = _mm512_reduce_add_ps(sum[r]);
	}
}

// --- many rows --------------------------------------------------------------

#define BLOCKS 512 // of a chunk

// A pair of each of PG_LANES rows of weights.
struct panel {
	uint8_t q[BYTES * PG_LANES];
} __attribute__((aligned(64)));

// A chunk of a row. Its length is an odd number of cache lines, so that rows of a
// tile do not contend for the same few places of the cache.
struct input {
	int8_t q[BLOCKS][BYTES];
	char   odd[64];
} __attribute__((aligned(64)));

PG_INLINE PG_VNNI void pack(const struct traits t, const uint8_t * const * rows, int64_t blocks, struct panel * p) {
	(void) t;
	for (int64_t i = 0; i < blocks; i += VECTOR) {
		__m512i part[PG_LANES];
		for (int r = 0; r < PG_LANES; r++) {
			part[r] = pairs(rows[r] + i * BYTES, blocks - i);
		}
		pg_turn(part);
		memcpy(p + i, part, (blocks - i < VECTOR ? blocks - i : VECTOR) * sizeof *p);
	}
}

PG_INLINE PG_VNNI void copy(const struct traits t, const void * x, int64_t blocks, struct input * to) {
	(void) t;
	memcpy(to->q, x, blocks * BYTES);
}

PG_INLINE PG_VNNI void tile(const struct traits t, const int rows, const struct panel * p, const struct input * x, int64_t blocks, float * y,
                            int64_t n, bool add, uint32_t mask) {
	(void) t;
	__m512 sum[PG_TALL][PG_VECTORS];
	PG_EACH(rows) {
		sum[r][w] = pg_load(add, y + r * n, w, mask);
	}
	for (int64_t i = 0; i < blocks; i++) {
		PG_EACH(rows) {
			sum[r][w] = dot(sum[r][w], _mm512_load_si512(p[w * BLOCKS + i].q), pg_four(x[r].q[i]));
		}
	}
	PG_EACH(rows) {
		pg_store(y + r * n, w, mask, sum[r][w]);
	}
}

#define PG_TRAITS(name, ...) ((struct traits) {GGML_TYPE_##name})
PG_FUNCTIONS(PG_TRAITS, BF16)
const struct pg_kind pg_kinds_bf16[] = {
	{GGML_TYPE_BF16, GGML_TYPE_BF16, 2, BYTES, BLOCKS, BLOCKS * sizeof(struct panel), sizeof(struct input), PG_NAMES(BF16)},
	{0},
};

#endif
