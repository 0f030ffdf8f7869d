// Products of BF16 with rows of BF16 (matmul.c).
#include "matmul.h"

#ifdef PG_PRODUCTS

#define ISA_SET ISA_BF16
#include "isa_begin.h"
#include "simd.h"

#define PAIR 4    // bytes of two values, which are multiplied at once
#define VECTOR 32 // values of a vector

// What is constant for a type.
struct traits {
	enum ggml_type type;
	int values, bytes; // of a block
};

// STEP values of a row; those that are missing are zero.
struct input {
	int8_t q[STEP / 2][PAIR];
} __attribute__((aligned(64)));

INLINE void copy(const struct traits t, const void * x, int64_t n, struct input * to) {
	if (n < STEP) {
		memset(to, 0, sizeof *to);
	}
	memcpy(to, x, n / t.values * t.bytes);
}

// Returns up to a vector of values, then zeros.
INLINE __m512i load_values(const uint8_t * p, int64_t n) {
	return n >= VECTOR ? _mm512_loadu_si512(p) : _mm512_maskz_loadu_epi32((__mmask16) ((1u << n / 2) - 1), p);
}

// --- few rows ---------------------------------------------------------------

// y [rows] = x · weights i, i + step, …, streams of them, for rows rows from the one numbered from.
INLINE void dots_rows(const struct strip * s, int64_t i, int64_t step, const int streams, int64_t from,
					  const int rows) {
	__m512 sum[4 * STREAMS];
	const uint8_t * a = s->a + i * s->stride;
	const struct input * x = (const struct input *) s->x + from;
	UNROLL
	for (int u = 0; u < streams * rows; u++) {
		sum[u] = _mm512_setzero_ps();
	}
	for (int64_t k = 0; k < s->k; k += VECTOR) {
		const struct input * at = x + k / STEP * s->rows;
		__m512i q[STREAMS];
		UNROLL
		for (int j = 0; j < streams; j++) {
			const uint8_t * p = a + j * step * s->stride + k * 2;
			if (from == 0) {
				prefetch_once(p, CACHE_LINE);
			}
			q[j] = load_values(p, s->k - k);
		}
		UNROLL
		for (int u = 0; u < streams * rows; u++) {
			sum[u] = dot(sum[u], q[u % streams], _mm512_load_si512(at[u / streams].q[k % STEP / 2]));
		}
	}
	UNROLL
	for (int u = 0; u < streams * rows; u++) {
		s->y[(from + u / streams) * s->ldy + i + u % streams * step] = _mm512_reduce_add_ps(sum[u]);
	}
}

// Multiplies weights i, i + step, …, streams of them, with each row, up to four rows at once: more would be read from
// afar more often than the weights are.
INLINE void dots(const struct traits t, const struct strip * s, int64_t i, int64_t step, int streams) {
	(void) t;
	if (streams < STREAMS) {
		for (int64_t u = 0; u < streams * s->rows; u++) {
			dots_rows(s, i + u % streams * step, 0, 1, u / streams, 1);
		}
		return;
	}
	const int64_t parts = (s->rows + 3) / 4;
	for (int64_t k = 0; k < parts; k++) {
		const int64_t from = s->rows * k / parts;
		switch (s->rows * (k + 1) / parts - from) {
		case 1:
			dots_rows(s, i, step, STREAMS, from, 1);
			break;
		case 2:
			dots_rows(s, i, step, STREAMS, from, 2);
			break;
		case 3:
			dots_rows(s, i, step, STREAMS, from, 3);
			break;
		default:
			dots_rows(s, i, step, STREAMS, from, 4);
		}
	}
}

// --- many rows --------------------------------------------------------------

// Pairs of values of each of LANES rows of weights.
struct panel {
	uint8_t q[STEP / 2][PAIR * LANES];
} __attribute__((aligned(64)));

INLINE void pack(const struct traits t, const uint8_t * const * rows, size_t at, int64_t n, struct panel * p) {
	(void) t;
	for (int64_t i = 0; i < n; i += VECTOR) {
		__m512i part[LANES];
		for (int r = 0; r < LANES; r++) {
			part[r] = load_values(rows[r] + at + i * 2, n - i);
		}
		transpose16x16(part);
		memcpy(p->q[i / 2], part, sizeof part);
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
	for (int i = 0; i < n / 2; i++) {
		if (i % 16 == 0) {
			prefetch_part(next, nv, i / 16, STEP / 2 / 16);
		}
		__m512i q[2];
		UNROLL
		for (int w = 0; w < nv; w++) {
			q[w] = _mm512_load_si512(p[w].q[i]);
		}
		UNROLL
		for (int u = 0; u < rows * nv; u++) {
			sum[u] = dot(sum[u], q[u % nv], load4(x[u / nv].q[i]));
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

#define X_TYPE GGML_TYPE_BF16
#define VALUES 2 // of a block
#define FEW 16

#define TYPE BF16
#define BYTES PAIR
#include "matmul_type.h"

#include "isa_end.h"

const struct matmul_type * const pg_types_bf16[] = {&type_BF16, NULL};

#endif
