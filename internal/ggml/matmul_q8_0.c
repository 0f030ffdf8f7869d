// Products of the types of blocks of 32 values and one scale with rows of Q8_0 (matmul.c).
#include "matmul.h"

#ifdef PG_PRODUCTS

#define ISA_SET ISA_VNNI
#include "isa_begin.h"
#include "simd.h"

struct traits {
	enum ggml_type type;
	int values, bytes; // of a block
	int zero;          // which of the values, when they are taken as unsigned, is 0
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

#define BLOCKS (STEP / QK_0)

// STEP values of a row, and what the products of each block begin with: zero times its sum, taken off. Blocks
// that are missing are zero.
struct input {
	int8_t q[BLOCKS][QK_0];
	int32_t start[BLOCKS];
	float d[BLOCKS];
} __attribute__((aligned(64)));

INLINE void copy(const struct traits t, const uint8_t * x, int64_t n, struct input * to) {
	if (n < STEP) {
		memset(to, 0, sizeof *to);
	}
	for (int64_t i = 0; i < n / QK_0; i++, x += ROW_BYTES) {
		const __m256i q = _mm256_loadu_si256((const void *) (x + 2));
		memcpy(to->q[i], &q, sizeof q);
		const __m256i sums = _mm256_dpbusd_epi32(_mm256_setzero_si256(), _mm256_set1_epi8((char) t.zero), q);
		to->start[i] = -_mm512_reduce_add_epi32(_mm512_zextsi256_si512(sums));
		to->d[i] = load_half(x);
	}
}

// Results are sums over blocks, from the first to the last, of total·(d·d'), in single precision, of whole numbers
// total: however those are summed up, a row has the same bits in any product.

// --- one row ----------------------------------------------------------------

// Returns the products of two blocks or, if there is no second, one, to be summed up in the halves.
INLINE __m512i multiply_pair(const struct traits t, const uint8_t * p, const int8_t * x, bool second) {
	__m512i q = _mm512_zextsi256_si512(values(t, p));
	if (second) {
		q = _mm512_inserti64x4(q, values(t, p + t.bytes), 1);
	}
	return _mm512_dpbusd_epi32(_mm512_setzero_si512(), q, _mm512_loadu_si512(x));
}

// Returns sum + the products of STREAMS rows of weights with 4 blocks, of which n are there.
INLINE __m128 add_quad(const struct traits t, const uint8_t * const * row, size_t at, const struct input * x, int from,
					   int n, __m128 sum) {
	__m512i v[2 * STREAMS];
	float d[4][STREAMS], block[4][STREAMS];
	const uint8_t * each[4 * STREAMS]; // the last block stands in for those that are missing
	UNROLL
	for (int r = 0; r < STREAMS; r++) {
		const uint8_t * p = row[r] + at;
		prefetch_once(p, 4 * t.bytes);
		v[r] = multiply_pair(t, p, x->q[from], n > 1);
		v[STREAMS + r] = _mm512_setzero_si512();
		if (n > 2) {
			v[STREAMS + r] = multiply_pair(t, p + 2 * t.bytes, x->q[from + 2], n > 3);
		}
		UNROLL
		for (int b = 0; b < 4; b++) {
			each[STREAMS * b + r] = p + (b < n ? b : n - 1) * t.bytes;
		}
	}
	const __m512i first = sum_quarters(v), second = sum_quarters(v + STREAMS);
	const __m512i total =
		_mm512_add_epi32(_mm512_shuffle_i32x4(first, second, 0x88), _mm512_shuffle_i32x4(first, second, 0xdd));
	const __m512i which = _mm512_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3);
	const __m512i start =
		_mm512_permutexvar_epi32(which, _mm512_castsi128_si512(_mm_loadu_si128((const void *) (x->start + from))));
	const __m512 xd = _mm512_permutexvar_ps(which, _mm512_castps128_ps512(_mm_loadu_ps(x->d + from)));
	_mm512_storeu_ps(block, _mm512_cvtepi32_ps(_mm512_add_epi32(total, start)));
	_mm512_storeu_ps(d, _mm512_mul_ps(low_halves(load_dwords(each, 0)), xd));
	UNROLL
	for (int b = 0; b < 4; b++) {
		if (b < n) {
			sum = _mm_fmadd_ps(_mm_loadu_ps(block[b]), _mm_loadu_ps(d[b]), sum);
		}
	}
	return sum;
}

// Multiplies weights i, i + step, …, streams of them, with a row.
INLINE void dots(const struct traits t, const struct strip * s, int64_t i, int64_t step, int streams) {
	const uint8_t * row[STREAMS];
	for (int r = 0; r < STREAMS; r++) { // the last one stands in for those that are missing
		row[r] = s->a + (i + (r < streams ? r : streams - 1) * step) * s->stride;
	}
	const struct input * x = s->x;
	const int64_t blocks = s->k / QK_0;
	__m128 sum = _mm_setzero_ps();
	int64_t k = 0;
	for (; k + 4 <= blocks; k += 4) {
		sum = add_quad(t, row, k * t.bytes, x + k / BLOCKS, (int) (k % BLOCKS), 4, sum);
	}
	if (k < blocks) {
		sum = add_quad(t, row, k * t.bytes, x + k / BLOCKS, (int) (k % BLOCKS), (int) (blocks - k), sum);
	}
	float y[STREAMS];
	_mm_storeu_ps(y, sum);
	for (int r = 0; r < streams; r++) {
		s->y[i + r * step] = y[r];
	}
}

// --- many rows --------------------------------------------------------------

// STEP values of each of LANES rows of weights, transposed: four values of each row, then the next four.
struct panel {
	uint8_t q[BLOCKS][QK_0 / 4][4 * LANES];
	float d[BLOCKS][LANES];
} __attribute__((aligned(64)));

// The 32 values of a block of each of LANES rows of weights, transposed.
INLINE void load_values(const struct traits t, const uint8_t * const * rows, size_t at, __m512i * q) {
	if (t.type == GGML_TYPE_Q8_0) {
		load_columns(rows, at + 2, q);
		UNROLL
		for (int c = 0; c < 8; c++) {
			q[c] = _mm512_xor_si512(q[c], _mm512_set1_epi8((char) 0x80));
		}
		return;
	}
	__m512i v[4], high = _mm512_setzero_si512();
	load_heads(rows, at + t.bytes - 16, v);
	if (t.type == GGML_TYPE_Q5_0) {
		high = load_dwords(rows, at + 2);
	}
	UNROLL
	for (int c = 0; c < 8; c++) {
		q[c] = bits(v[c % 4], c / 4 * 4, 15, 0);
		if (t.type == GGML_TYPE_IQ4_NL) {
			q[c] = _mm512_shuffle_epi8(_mm512_broadcast_i32x4(codebook()), q[c]);
		} else if (t.type == GGML_TYPE_Q5_0) { // the product has bit b of the four in byte b
			const __m512i four = _mm512_and_si512(_mm512_srli_epi32(high, 4 * c), _mm512_set1_epi32(15));
			const __m512i each = _mm512_mullo_epi32(four, _mm512_set1_epi32(0x204081));
			q[c] = _mm512_or_si512(q[c], bits(each, 0, 1, 4));
		}
	}
}

INLINE void pack(const struct traits t, const uint8_t * const * rows, size_t at, int64_t n, struct panel * p) {
	for (int64_t i = 0; i < n / QK_0; i++, at += t.bytes) {
		__m512i q[8];
		load_values(t, rows, at, q);
		memcpy(p->q[i], q, sizeof q);
		_mm512_store_ps(p->d[i], low_halves(load_dwords(rows, at)));
	}
}

// sums [rows, NR(nv)] += x · p for at most MR(nv) rows.
INLINE void multiply_rows(const int nv, const int rows, int64_t n, const struct panel * p, const struct input * x,
						  float * sums, struct ahead next) {
	__m512 sum[TILE];
	UNROLL
	for (int u = 0; u < rows * nv; u++) {
		sum[u] = _mm512_load_ps(sums + u * LANES);
	}
	const int blocks = (int) n / QK_0;
	for (int i = 0; i < blocks; i++) {
		prefetch_part(next, nv, i, blocks);
		__m512i part[TILE], q[2];
		UNROLL
		for (int u = 0; u < rows * nv; u++) {
			part[u] = _mm512_set1_epi32(x[u / nv].start[i]);
		}
		UNROLL
		for (int k = 0; k < QK_0 / 4; k++) {
			UNROLL
			for (int w = 0; w < nv; w++) {
				q[w] = _mm512_load_si512(p[w].q[i][k]);
			}
			UNROLL
			for (int u = 0; u < rows * nv; u++) {
				part[u] = _mm512_dpbusd_epi32(part[u], q[u % nv], load4(x[u / nv].q[i] + 4 * k));
			}
		}
		UNROLL
		for (int u = 0; u < rows * nv; u++) {
			const __m512 d = _mm512_mul_ps(_mm512_load_ps(p[u % nv].d[i]), _mm512_set1_ps(x[u / nv].d[i]));
			sum[u] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(part[u]), d, sum[u]);
		}
	}
	UNROLL
	for (int u = 0; u < rows * nv; u++) {
		_mm512_store_ps(sums + u * LANES, sum[u]);
	}
}

#define MULTIPLY multiply
#define MULTIPLY_ROWS(rows) multiply_rows(NV, rows, n, p, x, sums, next)
#include "matmul_rows.h"

// --- types ------------------------------------------------------------------

#define X_TYPE GGML_TYPE_Q8_0
#define VALUES QK_0 // of a block
#define FEW 1

// of each, the bytes of a block and which of the values is 0
#define TYPE Q8_0
#define BYTES 34
#define MORE 128
#include "matmul_type.h"

#define TYPE Q5_0
#define BYTES 22
#define MORE 16
#include "matmul_type.h"

#define TYPE Q4_0
#define BYTES 18
#define MORE 8
#include "matmul_type.h"

#define TYPE IQ4_NL
#define BYTES 18
#define MORE 128
#include "matmul_type.h"

#include "isa_end.h"

const struct matmul_type * const pg_types_q8_0[] = {&type_Q8_0, &type_Q5_0, &type_Q4_0, &type_IQ4_NL, NULL};

#endif
