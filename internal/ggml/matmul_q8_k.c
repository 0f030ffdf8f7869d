// Products of K-quants and iq4_xs with rows of Q8_K (matmul.c).
#include "matmul.h"

#ifdef PG_PRODUCTS

// Rows that meet one block of weights at a time, as it is unpacked.
#define FEW 2

#define ISA_SET ISA_VNNI
#include "isa_begin.h"
#include "simd.h"
#include "unpack_k.h"
#include "pack_k.h"

// A block of a row.
struct input {
	int8_t q[QK_K];
	int32_t sums[QK_K / 32]; // two of 16 bits, of as many values as share a scale
	float d;
	int16_t used;  // values, to a whole number of 64; zeros come after them
	int16_t small; // whether the product with any values that share a scale fits 16 bits
} __attribute__((aligned(64)));

// Fills in used and small.
INLINE void measure(const struct traits t, struct input * x) {
	const __m512i ones = _mm512_set1_epi8(1);
	__m512i most = _mm512_setzero_si512(); // sum of sizes of values that share a scale
	x->used = 0;
	UNROLL
	for (int j = 0; j < 4; j++) {
		const __m512i size = _mm512_abs_epi8(_mm512_load_si512(x->q + 64 * j));
		__m512i sum = _mm512_dpbusd_epi32(_mm512_setzero_si512(), size, ones);
		if (_mm512_test_epi32_mask(sum, sum)) {
			x->used = (int16_t) (64 * (j + 1));
		}
		sum = _mm512_add_epi32(sum, _mm512_shuffle_epi32(sum, _MM_PERM_CDAB));
		sum = _mm512_add_epi32(sum, _mm512_shuffle_epi32(sum, _MM_PERM_BADC));
		if (t.per == 32) {
			sum = _mm512_add_epi32(sum, _mm512_shuffle_i64x2(sum, sum, _MM_PERM_CDAB));
		}
		most = _mm512_max_epi32(most, sum);
	}
	x->small = _mm512_cmpgt_epi32_mask(most, _mm512_set1_epi32(INT16_MAX / t.largest)) == 0;
}

INLINE void copy(const struct traits t, const struct block_q8_K * x, int64_t n, struct input * to) {
	(void) n;
	memcpy(to->q, x->qs, QK_K);
	const __m256i sums = _mm256_loadu_si256((const void *) x->sums);
	if (t.per == 16) {
		memcpy(to->sums, &sums, sizeof sums);
	} else {
		const __m128i both = _mm256_cvtepi32_epi16(_mm256_madd_epi16(sums, _mm256_set1_epi16(1)));
		memcpy(to->sums, &both, sizeof both);
	}
	to->d = x->d;
	measure(t, to);
}

// Results are sums over blocks, from the first to the last, of (d·total − dmin·low)·d', in single precision, of
// whole numbers total and low: however those are summed up, a row has the same bits in any product.

// --- few rows ---------------------------------------------------------------

// Products of STREAMS rows of weights with 4 blocks of a row, or fewer; block b and row r of weights are at 4·b + r.
struct quad {
	__m512i total[16]; // to be summed up
	__m128i low[16];   // to be summed up, too
};

// What multiplies those sums.
struct scales {
	float d[16], dmin[16];
};

INLINE void multiply_values(const struct traits t, const struct block * b, const struct input * x, struct quad * to,
							int at) {
	// which scale each pair of values has, of the first 64
	const __m512i first = _mm512_srli_epi16(_mm512_set_epi32(0x180018, 0x180018, 0x180018, 0x180018, 0x100010, 0x100010,
															 0x100010, 0x100010, //
															 0x080008, 0x080008, 0x080008, 0x080008, 0, 0, 0, 0),
											3);
	__m512i total = _mm512_setzero_si512();
	UNROLL
	for (int j = 0; j < 4; j++) {
		const __m512i which = _mm512_add_epi16(first, _mm512_set1_epi16((short) (4 * j)));
		const __m512i scale = _mm512_permutexvar_epi16(which, _mm512_castsi256_si512(b->scale));
		const __m512i v = _mm512_load_si512(x->q + 64 * j);
		if (t.type == GGML_TYPE_IQ4_XS) { // pairs may not fit 16 bits
			const __m512i fours = _mm512_dpbusd_epi32(_mm512_setzero_si512(), b->q[j], v);
			total = _mm512_add_epi32(total, _mm512_mullo_epi32(fours, _mm512_srai_epi32(scale, 16)));
		} else {
			total = _mm512_dpwssd_epi32(total, _mm512_maddubs_epi16(b->q[j], v), scale);
		}
	}
	to->total[at] = total;
	if (t.per == 16) {
		const __m256i low = _mm256_madd_epi16(b->low, _mm256_load_si256((const void *) x->sums));
		to->low[at] = _mm_add_epi32(_mm256_castsi256_si128(low), _mm256_extracti128_si256(low, 1));
	} else {
		to->low[at] = _mm_madd_epi16(_mm256_cvtepi32_epi16(b->low), _mm_load_si128((const void *) x->sums));
	}
}

INLINE __m128 add_quad(__m128 sum, const struct quad * q, const struct scales * by, const struct input * x, int rows,
					   int blocks) {
	__m512i low[4];
	UNROLL
	for (int r = 0; r < STREAMS; r++) {
		low[r] = _mm512_inserti32x4(_mm512_castsi128_si512(q->low[r]), q->low[4 + r], 1);
		low[r] = _mm512_inserti32x4(_mm512_inserti32x4(low[r], q->low[8 + r], 2), q->low[12 + r], 3);
	}
	const __m512 lows = _mm512_mul_ps(_mm512_cvtepi32_ps(sum_quarters(low)), _mm512_loadu_ps(by->dmin));
	const __m512 all = _mm512_fmsub_ps(_mm512_cvtepi32_ps(sum16(q->total)), _mm512_loadu_ps(by->d), lows);
	float block[4][STREAMS];
	_mm512_storeu_ps(block, all);
	for (int b = 0; b < blocks; b++) {
		sum = _mm_fmadd_ps(_mm_loadu_ps(block[b]), _mm_set1_ps(x[b * rows].d), sum);
	}
	return sum;
}

// Multiplies n blocks, 4 at most, of STREAMS rows of weights, which are unpacked once, with rows.
INLINE void multiply_quad(const struct traits t, const int rows, const uint8_t * const * weights, int64_t at, int n,
						  const struct input * x, __m128 * sums) {
	struct quad q[FEW];
	struct scales by;
	if (n < 4) {
		memset(q, 0, sizeof q);
		memset(&by, 0, sizeof by);
	}
	for (int b = 0; b < n; b++) {
		UNROLL
		for (int i = 0; i < STREAMS; i++) {
			const uint8_t * p = weights[i] + at + b * t.bytes;
			prefetch_once(p, t.bytes);
			const struct block values = unpack(t.type, p);
			by.d[4 * b + i] = values.d;
			by.dmin[4 * b + i] = values.dmin;
			UNROLL
			for (int r = 0; r < rows; r++) {
				multiply_values(t, &values, x + b * rows + r, q + r, 4 * b + i);
			}
		}
	}
	UNROLL
	for (int r = 0; r < rows; r++) {
		sums[r] = add_quad(sums[r], q + r, &by, x + r, rows, n);
	}
}

// Multiplies weights i, i + step, …, streams of them, with rows, of which there are FEW at most.
INLINE void dots_of(const struct traits t, const int rows, const struct strip * s, int64_t i, int64_t step,
					int streams) {
	const uint8_t * weights[STREAMS];
	for (int r = 0; r < STREAMS; r++) { // the last one stands in for those that are missing
		weights[r] = s->a + (i + (r < streams ? r : streams - 1) * step) * s->stride;
	}
	const struct input * x = s->x;
	const int64_t blocks = s->k / QK_K;
	__m128 sums[FEW];
	UNROLL
	for (int r = 0; r < rows; r++) {
		sums[r] = _mm_setzero_ps();
	}
	for (int64_t k = 0; k < blocks; k += 4, x += 4 * rows) {
		multiply_quad(t, rows, weights, k * t.bytes, blocks - k < 4 ? (int) (blocks - k) : 4, x, sums);
	}
	for (int r = 0; r < rows; r++) {
		float y[STREAMS];
		_mm_storeu_ps(y, sums[r]);
		for (int j = 0; j < streams; j++) {
			s->y[r * s->ldy + i + j * step] = y[j];
		}
	}
}

INLINE void dots(const struct traits t, const struct strip * s, int64_t i, int64_t step, int streams) {
	if (s->rows == 1) {
		dots_of(t, 1, s, i, step, streams);
	} else {
		dots_of(t, FEW, s, i, step, streams);
	}
}

// Returns sum + x · block, of which total is the product of the values with x.
INLINE __m512 add_block(const int per, const struct heads * h, const struct input * x, __m512i total, __m512 sum) {
	__m512i low = _mm512_setzero_si512();
	UNROLL
	for (int s = 0; s < QK_K / per / 2; s++) {
		low = _mm512_dpwssd_epi32(low, _mm512_load_si512(h->low[s]), _mm512_set1_epi32(x->sums[s]));
	}
	const __m512 lows = _mm512_mul_ps(_mm512_cvtepi32_ps(low), _mm512_load_ps(h->dmin));
	const __m512 all = _mm512_fmsub_ps(_mm512_cvtepi32_ps(total), _mm512_load_ps(h->d), lows);
	return _mm512_fmadd_ps(all, _mm512_set1_ps(x->d), sum);
}

#include "sup_k.h"

// --- many rows --------------------------------------------------------------

// part = x · p over the values of scale s, for each row and vector.
INLINE void multiply_group(const int per, const int nv, const int rows, int s, const struct panel * p,
						   const struct input * x, __m512i * part) {
	UNROLL
	for (int u = 0; u < rows * nv; u++) {
		part[u] = _mm512_setzero_si512();
	}
	UNROLL
	for (int k = 0; k < per / 4; k++) {
		__m512i q[2];
		UNROLL
		for (int w = 0; w < nv; w++) {
			q[w] = _mm512_load_si512(p[w].q[s * per / 4 + k]);
		}
		UNROLL
		for (int u = 0; u < rows * nv; u++) {
			part[u] = _mm512_dpbusd_epi32(part[u], q[u % nv], load4(x[u / nv].q + s * per + 4 * k));
		}
	}
}

// total [rows, nv] += x · p over the values of groups that share a scale.
INLINE void multiply_groups(const int per, const int nv, const int rows, int groups, const struct panel * p,
							const struct input * x, __m512i * total, struct ahead next) {
	for (int s = 0; s < groups; s++) {
		__m512i part[TILE];
		prefetch_part(next, nv, s, groups);
		multiply_group(per, nv, rows, s, p, x, part);
		UNROLL
		for (int u = 0; u < rows * nv; u++) {
			const __m512i scale = _mm512_load_si512(p[u % nv].h.scale[s * per / 16]);
			total[u] = _mm512_add_epi32(total[u], _mm512_mullo_epi32(part[u], scale));
		}
	}
}

// As multiply_groups, where products fit 16 bits: those of two groups meet their scales in one instruction.
INLINE void multiply_pairs(const int per, const int nv, const int rows, int pairs, const struct panel * p,
						   const struct input * x, __m512i * total, struct ahead next) {
	for (int s = 0; s < pairs; s++) {
		__m512i first[TILE], second[TILE];
		prefetch_part(next, nv, s, pairs);
		multiply_group(per, nv, rows, 2 * s, p, x, first);
		multiply_group(per, nv, rows, 2 * s + 1, p, x, second);
		UNROLL
		for (int u = 0; u < rows * nv; u++) {
			const __m512i both = _mm512_mask_mov_epi16(_mm512_slli_epi32(second[u], 16), 0x55555555, first[u]);
			total[u] = _mm512_dpwssd_epi32(total[u], both, _mm512_load_si512(p[u % nv].h.pair[s]));
		}
	}
}

// sums [rows, NR(nv)] += x · p, of which total is the product of the values with x: add_block for all of them.
INLINE void add_blocks(const int per, const int nv, const int rows, const struct panel * p, const struct input * x,
					   const __m512i * total, float * sums) {
	__m512i low[TILE];
	UNROLL
	for (int u = 0; u < rows * nv; u++) {
		low[u] = _mm512_setzero_si512();
	}
	UNROLL
	for (int s = 0; s < QK_K / per / 2; s++) {
		__m512i lows[2];
		UNROLL
		for (int w = 0; w < nv; w++) {
			lows[w] = _mm512_load_si512(p[w].h.low[s]);
		}
		UNROLL
		for (int u = 0; u < rows * nv; u++) {
			low[u] = _mm512_dpwssd_epi32(low[u], lows[u % nv], _mm512_set1_epi32(x[u / nv].sums[s]));
		}
	}
	__m512 d[2], dmin[2];
	UNROLL
	for (int w = 0; w < nv; w++) {
		d[w] = _mm512_load_ps(p[w].h.d);
		dmin[w] = _mm512_load_ps(p[w].h.dmin);
	}
	UNROLL
	for (int u = 0; u < rows * nv; u++) {
		const __m512 lows = _mm512_mul_ps(_mm512_cvtepi32_ps(low[u]), dmin[u % nv]);
		const __m512 all = _mm512_fmsub_ps(_mm512_cvtepi32_ps(total[u]), d[u % nv], lows);
		float * sum = sums + u * LANES;
		_mm512_store_ps(sum, _mm512_fmadd_ps(all, _mm512_set1_ps(x[u / nv].d), _mm512_load_ps(sum)));
	}
}

// sums [rows, NR(nv)] += x · p for at most MR(nv) rows.
INLINE void multiply_rows(const int per, const int nv, const int rows, const struct panel * p, const struct input * x,
						  float * sums, struct ahead next) {
	__m512i total[TILE];
	UNROLL
	for (int u = 0; u < rows * nv; u++) {
		total[u] = _mm512_setzero_si512();
	}
	int used = 0, small = 1;
	UNROLL
	for (int r = 0; r < rows; r++) {
		used = x[r].used > used ? x[r].used : used;
		small &= x[r].small;
	}
	if (small) {
		multiply_pairs(per, nv, rows, used / (2 * per), p, x, total, next);
	} else {
		multiply_groups(per, nv, rows, used / per, p, x, total, next);
	}
	add_blocks(per, nv, rows, p, x, total, sums);
}

// For types whose scales are of 16 and of 32 values.
#define MULTIPLY multiply_16
#define MULTIPLY_ROWS(rows) multiply_rows(16, NV, rows, p, x, sums, next)
#include "matmul_rows.h"

#define MULTIPLY multiply_32
#define MULTIPLY_ROWS(rows) multiply_rows(32, NV, rows, p, x, sums, next)
#include "matmul_rows.h"

INLINE void multiply(const struct traits t, const int nv, int rows, int64_t n, const struct panel * p,
					 const struct input * x, float * sums, struct ahead next) {
	if (t.per == 16) {
		multiply_16(t, nv, rows, n, p, x, sums, next);
	} else {
		multiply_32(t, nv, rows, n, p, x, sums, next);
	}
}

// --- types ------------------------------------------------------------------

#define X_TYPE GGML_TYPE_Q8_K
#define VALUES QK_K // of a block
// of each, the bytes of a block, the values that share a scale and the largest value, and how many rows need no panel
#define TYPE Q2_K
#define BYTES 84
#define MORE 16, 3
#include "matmul_type.h"

#define TYPE Q3_K
#define BYTES 110
#define MORE 16, 7
#include "matmul_type.h"

#define TYPE Q4_K
#define BYTES 144
#define MORE 32, 15
#define SUP 10
#include "matmul_type.h"

#define TYPE Q5_K
#define BYTES 176
#define MORE 32, 31
#include "matmul_type.h"

#define TYPE Q6_K
#define BYTES 210
#define MORE 16, 63
#define SUP 6
#include "matmul_type.h"

#define TYPE IQ4_XS
#define BYTES 136
#define MORE 32, 241
#include "matmul_type.h"

#include "isa_end.h"

const struct matmul_type * const pg_types_q8_K[] = {
	&type_Q2_K, &type_Q3_K, &type_Q4_K, &type_Q5_K, &type_Q6_K, &type_IQ4_XS, NULL,
};

#endif
