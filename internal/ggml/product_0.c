#include "simd.h"

// Products of the types of blocks of 32 values and one scale with rows of Q8_0
// (product.c).
#ifdef PG_PRODUCTS
#include "product.h"

struct traits {
	enum ggml_type type;
	int            bytes; // of a block
	int            zero;  // which of the values, when they are taken as unsigned, is 0
};

#define ROW_BYTES 34 // of a block of Q8_0

// The 32 values of a block, which begins with its scale.
PG_INLINE PG_VNNI __m256i values(const struct traits t, const uint8_t * p) {
	if (t.type == GGML_TYPE_Q8_0) {
		return _mm256_xor_si256(_mm256_loadu_si256((const void *) (p + 2)), _mm256_set1_epi8((char) 0x80));
	}
	// 4 bits of each value, of the first 16 and the others in the same bytes, at the end of the block
	const __m128i both = _mm_loadu_si128((const void *) (p + t.bytes - 16));
	const __m256i four = _mm256_and_si256(_mm256_inserti128_si256(_mm256_castsi128_si256(both), _mm_srli_epi16(both, 4), 1), _mm256_set1_epi8(15));
	if (t.type == GGML_TYPE_IQ4_NL) {
		return _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(pg_curve()), four);
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
PG_INLINE PG_VNNI __m512 pair(const struct traits t, const uint8_t * p, const uint8_t * x, const bool second, __m512 sum) {
	__m512i q = _mm512_zextsi256_si512(values(t, p)), v = _mm512_zextsi256_si512(_mm256_loadu_si256((const void *) (x + 2)));
	__m512 d = _mm512_zextps256_ps512(_mm256_set1_ps(pg_half(p) * pg_half(x)));
	if (second) {
		q = _mm512_inserti64x4(q, values(t, p + t.bytes), 1);
		v = _mm512_inserti64x4(v, _mm256_loadu_si256((const void *) (x + ROW_BYTES + 2)), 1);
		d = _mm512_insertf32x8(d, _mm256_set1_ps(pg_half(p + t.bytes) * pg_half(x + ROW_BYTES)), 1);
	}
	const __m512i zero = _mm512_dpbusd_epi32(_mm512_setzero_si512(), _mm512_set1_epi8((char) t.zero), v);
	const __m512i dot = _mm512_sub_epi32(_mm512_dpbusd_epi32(_mm512_setzero_si512(), q, v), zero);
	return _mm512_fmadd_ps(_mm512_cvtepi32_ps(dot), d, sum);
}

PG_INLINE PG_VNNI void dots(const struct traits t, const int streams, int64_t blocks, const uint8_t * a, size_t apart, const uint8_t * x, float * y,
                            int64_t step) {
	__m512 sum[PG_STREAMS];
	PG_UNROLL for (int r = 0; r < streams; r++) {
		sum[r] = _mm512_setzero_ps();
	}
	int64_t i = 0;
	for (; i + 2 <= blocks; i += 2) {
		PG_UNROLL for (int r = 0; r < streams; r++) {
			const uint8_t * p = a + r * apart + i * t.bytes;
			for (int j = 0; j < 2 * t.bytes; j += 64) {
				_mm_prefetch((const char *) p + PG_AHEAD + j, _MM_HINT_NTA);
			}
			sum[r] = pair(t, p, x + i * ROW_BYTES, true, sum[r]);
		}
	}
	PG_UNROLL for (int r = 0; r < streams; r++) {
		if (i < blocks) {
			sum[r] = pair(t, a + r * apart + i * t.bytes, x + i * ROW_BYTES, false, sum[r]);
		}
		y[r * step] = _mm512_reduce_add_ps(sum[r]);
	}
}

// --- many rows --------------------------------------------------------------

#define VALUES 32 // of a block
#define BLOCKS (PG_DEEP / VALUES)

// A block of each of PG_LANES rows of weights, turned: four values of each row,
// then the next four.
struct panel {
	uint8_t q[VALUES / 4][4 * PG_LANES];
	float   d[PG_LANES];
} __attribute__((aligned(64)));

// A chunk of a row, and what its products begin with: zero times the sum of a
// block, taken off. Its length is an odd number of cache lines, so that rows of a
// tile do not contend for the same few places of the cache.
struct input {
	int8_t  q[BLOCKS][VALUES];
	int32_t start[BLOCKS];
	float   d[BLOCKS];
	char    odd[64];
} __attribute__((aligned(64)));

PG_INLINE PG_VNNI void pack(const struct traits t, const uint8_t * const * rows, int64_t blocks, struct panel * p) {
	for (int64_t i = 0; i < blocks; i += 2) { // in pairs, as there are 16 numbers of 32 bits to turn
		const bool second = i + 1 < blocks;
		__m512i part[PG_LANES];
		for (int r = 0; r < PG_LANES; r++) {
			const uint8_t * row = rows[r] + i * t.bytes;
			part[r] = _mm512_zextsi256_si512(values(t, row));
			p[i].d[r] = pg_half(row);
			if (second) {
				part[r] = _mm512_inserti64x4(part[r], values(t, row + t.bytes), 1);
				p[i + 1].d[r] = pg_half(row + t.bytes);
			}
		}
		pg_turn(part);
		memcpy(p[i].q, part, sizeof p->q);
		if (second) {
			memcpy(p[i + 1].q, part + VALUES / 4, sizeof p->q);
		}
	}
}

PG_INLINE PG_VNNI void copy(const struct traits t, const uint8_t * x, int64_t blocks, struct input * to) {
	for (int64_t i = 0; i < blocks; i++, x += ROW_BYTES) {
		const __m256i q = _mm256_loadu_si256((const void *) (x + 2));
		memcpy(to->q[i], &q, sizeof q);
		const __m256i sums = _mm256_dpbusd_epi32(_mm256_setzero_si256(), _mm256_set1_epi8((char) t.zero), q);
		to->start[i] = -_mm512_reduce_add_epi32(_mm512_zextsi256_si512(sums));
		to->d[i] = pg_half(x);
	}
}

PG_INLINE PG_VNNI void tile(const struct traits t, const int rows, const struct panel * p, const struct input * x, int64_t blocks, float * y,
                            int64_t n, bool add, uint32_t mask) {
	(void) t;
	__m512 sum[PG_TALL][PG_VECTORS];
	PG_EACH(rows) {
		sum[r][w] = pg_load(add, y + r * n, w, mask);
	}
	for (int64_t i = 0; i < blocks; i++, p++) {
		__m512i part[PG_TALL][PG_VECTORS], q[PG_VECTORS];
		PG_EACH(rows) {
			part[r][w] = _mm512_set1_epi32(x[r].start[i]);
		}
		PG_UNROLL for (int k = 0; k < VALUES / 4; k++) {
			PG_UNROLL for (int w = 0; w < PG_VECTORS; w++) {
				q[w] = _mm512_load_si512(p[w * BLOCKS].q[k]);
			}
			PG_EACH(rows) {
				part[r][w] = _mm512_dpbusd_epi32(part[r][w], q[w], pg_four(x[r].q[i] + 4 * k));
			}
		}
		PG_EACH(rows) {
			const __m512 d = _mm512_mul_ps(_mm512_load_ps(p[w * BLOCKS].d), _mm512_set1_ps(x[r].d[i]));
			sum[r][w] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(part[r][w]), d, sum[r][w]);
		}
	}
	PG_EACH(rows) {
		pg_store(y + r * n, w, mask, sum[r][w]);
	}
}

// --- types ------------------------------------------------------------------

// of a type, the bytes of a block and which of the values is 0
#define PG_TYPES(type)    \
	type(Q8_0, 34, 128)   \
	type(Q5_0, 22, 16)    \
	type(Q4_0, 18, 8)     \
	type(IQ4_NL, 18, 128)

#define PG_TRAITS(name, bytes, zero) ((struct traits) {GGML_TYPE_##name, bytes, zero})
#define PG_TYPE(...) PG_FUNCTIONS(PG_TRAITS, __VA_ARGS__)
#define PG_KIND(name, bytes, zero) {GGML_TYPE_##name, GGML_TYPE_Q8_0, VALUES, bytes, BLOCKS, BLOCKS * sizeof(struct panel), sizeof(struct input), PG_NAMES(name)},
PG_TYPES(PG_TYPE)
const struct pg_kind pg_kinds_0[] = {PG_TYPES(PG_KIND){0}};

#endif
