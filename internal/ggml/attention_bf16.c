// Attention in tiles (attention.c) with scores and sums of values in BF16: products of pairs, added up in F32.
#include "attention.h"
#include "matmul.h"

#include <math.h>

#ifdef PG_PRODUCTS

#define ISA_SET ISA_BF16
#include "isa_begin.h"
#include "simd.h"

#define BLOCK 6  // queries that meet keys in registers; they divide QUERIES
#define WIDTH 4  // vectors of keys, or of values, that they meet at once
#define PAIRS 16 // of a vector
#define LOG2E 1.44269504088896341f

// Scratch: a tile's queries [QUERIES, pairs], a block's scores [BLOCK, KEYS] and weights; keys, transposed, [pairs,
// KEYS], and values [KEYS/2, wide] in pairs of one key's and the next one's; sums [wide] of queries that are missing.
struct tile {
	uint32_t *query, *key, *value;
	float *score, *spare;
	uint16_t * weight;
};

static int64_t pairs_of(const struct attention * a) {
	return round_up((a->d + 1) / 2, PAIRS);
}

static int64_t scratch_bytes(const struct attention * a) {
	const int64_t pairs = pairs_of(a);
	return (QUERIES * pairs + KEYS * pairs + KEYS / 2 * a->wide + BLOCK * KEYS + BLOCK * KEYS / 2 + a->wide) * 4;
}

static struct tile scratch_of(const struct attention * a) {
	const int64_t pairs = pairs_of(a);
	struct tile t = {.query = (uint32_t *) a->scratch};
	t.key = t.query + QUERIES * pairs;
	t.value = t.key + KEYS * pairs;
	t.score = (float *) (t.value + KEYS / 2 * a->wide);
	t.weight = (uint16_t *) (t.score + BLOCK * KEYS);
	t.spare = (float *) (t.weight + BLOCK * KEYS);
	return t;
}

INLINE __m512 load_floats(const float * x, int64_t n) {
	return n >= LANES ? _mm512_loadu_ps(x) : _mm512_maskz_loadu_ps(n > 0 ? (__mmask16) ((1u << n) - 1) : 0, x);
}

// Returns PAIRS pairs of the n values at x, then zeros.
INLINE __m512i load_pairs(const float * x, int64_t n, float scale) {
	const __m512 s = _mm512_set1_ps(scale), low = load_floats(x, n);
	const __m512 high = n > LANES ? load_floats(x + LANES, n - LANES) : _mm512_setzero_ps();
	return (__m512i) _mm512_cvtne2ps_pbh(_mm512_mul_ps(high, s), _mm512_mul_ps(low, s));
}

// Returns the pairs of two vectors' values.
INLINE __m512i interleave(__m512 a, __m512 b) {
	const __m512i low = _mm512_cvtepu16_epi32((__m256i) _mm512_cvtneps_pbh(a));
	const __m512i high = _mm512_cvtepu16_epi32((__m256i) _mm512_cvtneps_pbh(b));
	return _mm512_or_si512(low, _mm512_slli_epi32(high, 16));
}

static void load_keys(const struct attention * a, int64_t head, int64_t from, int64_t n) {
	const struct tile t = scratch_of(a);
	const int64_t pairs = pairs_of(a);
	for (int64_t j = 0; j < n; j += LANES) {
		for (int64_t i = 0; i < pairs; i += PAIRS) {
			__m512i v[LANES];
			for (int64_t r = 0; r < LANES; r++) {
				v[r] = j + r < n ? load_pairs(row_of(a->k, from + j + r, head) + 2 * i, a->d - 2 * i, 1)
								 : _mm512_setzero_si512();
			}
			transpose16x16(v);
			for (int64_t r = 0; r < PAIRS; r++) {
				_mm512_store_si512(t.key + (i + r) * KEYS + j, v[r]);
			}
		}
	}
	for (int64_t j = 0; j < n; j += 2) {
		const float *even = row_of(a->v, from + j, head), *odd = j + 1 < n ? row_of(a->v, from + j + 1, head) : NULL;
		for (int64_t i = 0; i < a->wide; i += LANES) {
			const __m512 next = odd ? load_floats(odd + i, a->dv - i) : _mm512_setzero_ps();
			_mm512_store_si512(t.value + j / 2 * a->wide + i, interleave(load_floats(even + i, a->dv - i), next));
		}
	}
}

// sum [BLOCK, nv] += x [BLOCK, n] · y [n, nv], of pairs; ldx and ldy are numbers from one row to the next.
INLINE void multiply(const int nv, int64_t n, const uint32_t * x, int64_t ldx, const uint32_t * y, int64_t ldy,
					 __m512 * sum) {
	for (int64_t i = 0; i < n; i++) {
		__m512i v[WIDTH];
		UNROLL
		for (int j = 0; j < nv; j++) {
			v[j] = _mm512_load_si512(y + i * ldy + j * LANES);
		}
		UNROLL
		for (int r = 0; r < BLOCK; r++) {
			const __m512i q = _mm512_set1_epi32((int) x[r * ldx + i]);
			UNROLL
			for (int j = 0; j < nv; j++) {
				sum[r * WIDTH + j] = dot(sum[r * WIDTH + j], q, v[j]);
			}
		}
	}
}

INLINE void score_columns(const int nv, const struct tile * t, int64_t pairs, int64_t stride, const uint32_t * query,
						  int64_t column) {
	__m512 sum[BLOCK * WIDTH];
	UNROLL
	for (int u = 0; u < BLOCK * WIDTH; u++) {
		sum[u] = _mm512_setzero_ps();
	}
	multiply(nv, pairs, query, stride, t->key + column, KEYS, sum);
	UNROLL
	for (int r = 0; r < BLOCK; r++) {
		UNROLL
		for (int j = 0; j < nv; j++) {
			_mm512_store_ps(t->score + r * KEYS + column + j * LANES, sum[r * WIDTH + j]);
		}
	}
}

// Scores of a block of queries with n keys.
NOINLINE void scores(const struct tile * t, int64_t pairs, int64_t stride, const uint32_t * query, int64_t n) {
	const int64_t vectors = (n + LANES - 1) / LANES;
	for (int64_t j = 0; j < vectors; j += WIDTH) {
		switch (vectors - j) {
		case 1:
			score_columns(1, t, pairs, stride, query, j * LANES);
			break;
		case 2:
			score_columns(2, t, pairs, stride, query, j * LANES);
			break;
		case 3:
			score_columns(3, t, pairs, stride, query, j * LANES);
			break;
		default:
			score_columns(WIDTH, t, pairs, stride, query, j * LANES);
		}
	}
}

// Returns e^x for x <= 0, NaN for NaN: relative error 2e-6.
INLINE __m512 exponential(__m512 x) {
	const __m512 y = _mm512_mul_ps(x, _mm512_set1_ps(LOG2E));
	const __m512 r = _mm512_reduce_ps(y, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC); // y − ⌊y⌋
	__m512 p = _mm512_set1_ps(1.353417e-2f);
	p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(5.201146e-2f));
	p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(2.4144275e-1f));
	p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(6.9300384e-1f));
	p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.0000026f));
	return _mm512_scalef_ps(p, y); // 2^⌊y⌋ times
}

// Returns 2^y for y <= 0, NaN for NaN: relative error 8e-5, less than a twentieth of what rounding to BF16 adds.
INLINE __m512 power(__m512 y) {
	const __m512 r = _mm512_reduce_ps(y, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC);
	__m512 p = _mm512_set1_ps(7.802452e-2f);
	p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(2.2606717e-1f));
	p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(6.9583353e-1f));
	p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(9.9992522e-1f));
	return _mm512_scalef_ps(p, y);
}

// Returns cap·tanh(x/cap) = cap·(1 − e)/(1 + e), e = e^−|2x/cap|, with the sign of x.
INLINE __m512 soften(__m512 x, float cap) {
	const __m512i sign = _mm512_and_si512(_mm512_castps_si512(x), _mm512_set1_epi32(INT32_MIN));
	const __m512 one = _mm512_set1_ps(1), u = _mm512_mul_ps(_mm512_abs_ps(x), _mm512_set1_ps(-2 / cap));
	const __m512 e = exponential(u);
	const __m512 y = _mm512_div_ps(_mm512_mul_ps(_mm512_set1_ps(cap), _mm512_sub_ps(one, e)), _mm512_add_ps(one, e));
	return _mm512_castsi512_ps(_mm512_or_si512(_mm512_castps_si512(y), sign));
}

INLINE __m512 add_or_max(const bool max, __m512 a, __m512 b) {
	return max ? _mm512_max_ps(a, b) : _mm512_add_ps(a, b);
}

// Returns the sum, or the largest, of each of BLOCK vectors, side by side.
INLINE __m512 across(const bool max, const __m512 * v) {
	__m512 pair[BLOCK / 2];
	UNROLL
	for (int r = 0; r < BLOCK / 2; r++) {
		const __m512 a = v[2 * r], b = v[2 * r + 1];
		pair[r] = add_or_max(max, _mm512_unpacklo_ps(a, b), _mm512_unpackhi_ps(a, b));
	}
	const __m512d a = _mm512_castps_pd(pair[0]), b = _mm512_castps_pd(pair[1]), c = _mm512_castps_pd(pair[2]);
	const __m512 four = add_or_max(max, _mm512_castpd_ps(_mm512_unpacklo_pd(a, b)), _mm512_castpd_ps(_mm512_unpackhi_pd(a, b)));
	const __m512 two = add_or_max(max, _mm512_castpd_ps(_mm512_unpacklo_pd(c, c)), _mm512_castpd_ps(_mm512_unpackhi_pd(c, c)));
	__m512 all = add_or_max(max, _mm512_shuffle_f32x4(four, two, 0x88), _mm512_shuffle_f32x4(four, two, 0xdd));
	all = add_or_max(max, all, _mm512_shuffle_f32x4(all, all, 0xb1));
	return _mm512_shuffle_f32x4(all, all, 0x08);
}

// Makes scores of a block of queries with n keys those that softmax takes, up to a whole number of pairs of vectors.
INLINE void complete_scores(float cap, int64_t n, float * score) {
	const __m512 none = _mm512_set1_ps(-INFINITY);
	const int64_t whole = n / LANES * LANES, all = round_up(n, 2 * LANES);
	for (int r = 0; r < BLOCK; r++, score += KEYS) {
		for (int64_t j = 0; cap > 0 && j < n; j += LANES) {
			_mm512_store_ps(score + j, soften(_mm512_load_ps(score + j), cap));
		}
		if (whole < n) {
			_mm512_mask_store_ps(score + whole, (__mmask16) (0xffff << (n - whole)), none);
		}
		if (n <= all - LANES) {
			_mm512_store_ps(score + all - LANES, none);
		}
	}
}

// The largest scores of a block of queries so far and the sums of weights, in memory.
struct state {
	float *largest, *total;
	int rows;
};

// Turns the scores of a block of queries into weights, given the state, and returns what earlier weights are to be
// multiplied by.
INLINE __m512 softmax(int64_t vectors, const float * score, uint16_t * weight, const struct state * s) {
	const __mmask16 rows = (__mmask16) ((1 << s->rows) - 1);
	__m512 v[BLOCK];
	UNROLL
	for (int r = 0; r < BLOCK; r++) {
		v[r] = _mm512_load_ps(score + r * KEYS);
		for (int64_t j = 1; j < vectors; j++) {
			v[r] = _mm512_max_ps(v[r], _mm512_load_ps(score + r * KEYS + j * LANES));
		}
	}
	const __m512 log2e = _mm512_set1_ps(LOG2E), before = _mm512_maskz_loadu_ps(rows, s->largest);
	const __m512 now = _mm512_max_ps(across(true, v), before);
	const __m512 correction = power(_mm512_mul_ps(_mm512_sub_ps(before, now), log2e));
	float shift[LANES] __attribute__((aligned(64)));
	_mm512_store_ps(shift, _mm512_mul_ps(now, log2e));
	UNROLL
	for (int r = 0; r < BLOCK; r++) {
		const __m512 most = _mm512_set1_ps(shift[r]);
		__m512 sum[2] = {_mm512_setzero_ps(), _mm512_setzero_ps()};
		for (int64_t j = 0; j < vectors; j += 2) {
			__m512 w[2];
			UNROLL
			for (int i = 0; i < 2; i++) {
				const __m512 x = _mm512_load_ps(score + r * KEYS + (j + i) * LANES);
				w[i] = power(_mm512_fmsub_ps(x, log2e, most));
				sum[i] = _mm512_add_ps(sum[i], w[i]);
			}
			_mm512_store_si512(weight + r * KEYS + j * LANES, (__m512i) _mm512_cvtne2ps_pbh(w[1], w[0]));
		}
		v[r] = _mm512_add_ps(sum[0], sum[1]);
	}
	const __m512 total = _mm512_maskz_loadu_ps(rows, s->total);
	_mm512_mask_storeu_ps(s->largest, rows, now);
	_mm512_mask_storeu_ps(s->total, rows, _mm512_fmadd_ps(total, correction, across(false, v)));
	return correction;
}

NOINLINE __m512 weigh(const struct tile * t, float cap, int64_t n, const struct state * s) {
	if (cap > 0 || n % (2 * LANES) > 0) {
		complete_scores(cap, n, t->score);
	}
	return n == KEYS ? softmax(KEYS / LANES, t->score, t->weight, s)
					 : softmax(round_up(n, 2 * LANES) / LANES, t->score, t->weight, s);
}

// What becomes of a block's sums of values.
struct sums {
	float * out[BLOCK];                // where they are
	float before[LANES], after[LANES]; // factors of what is there, and of all
	bool add, done;                    // to what is there; and there are no more keys
};

INLINE void sum_columns(const int nv, const struct attention * a, const struct tile * t, int64_t n, int64_t column,
						const struct sums * s) {
	const int64_t left = a->dv - column - (nv - 1) * LANES; // in the last vector
	const __mmask16 last = (__mmask16) (left < LANES ? (1 << left) - 1 : -1);
	__m512 sum[BLOCK * WIDTH];
	UNROLL
	for (int r = 0; r < BLOCK; r++) {
		const __m512 before = _mm512_set1_ps(s->before[r]);
		UNROLL
		for (int j = 0; j < nv; j++) {
			const float * x = s->out[r] + column + j * LANES;
			sum[r * WIDTH + j] = _mm512_setzero_ps();
			if (s->add) {
				sum[r * WIDTH + j] = _mm512_mul_ps(j == nv - 1 ? _mm512_maskz_loadu_ps(last, x) : _mm512_loadu_ps(x), before);
			}
		}
	}
	multiply(nv, n, (const uint32_t *) t->weight, KEYS / 2, t->value + column, a->wide, sum);
	UNROLL
	for (int r = 0; r < BLOCK; r++) {
		const __m512 after = _mm512_set1_ps(s->after[r]);
		UNROLL
		for (int j = 0; j < nv; j++) {
			float * y = s->out[r] + column + j * LANES;
			const __m512 v = s->done ? _mm512_mul_ps(sum[r * WIDTH + j], after) : sum[r * WIDTH + j];
			_mm512_mask_storeu_ps(y, j == nv - 1 ? last : (__mmask16) -1, v);
		}
	}
}

// Adds up the values of n keys by their weights.
NOINLINE void sum_values(const struct attention * a, const struct tile * t, int64_t n, const struct sums * s) {
	const int64_t vectors = a->wide / LANES, parts = (vectors + WIDTH - 1) / WIDTH;
	for (int64_t i = 0; i < parts; i++) {
		const int64_t from = vectors * i / parts, to = vectors * (i + 1) / parts;
		switch (to - from) {
		case 1:
			sum_columns(1, a, t, (n + 1) / 2, from * LANES, s);
			break;
		case 2:
			sum_columns(2, a, t, (n + 1) / 2, from * LANES, s);
			break;
		case 3:
			sum_columns(3, a, t, (n + 1) / 2, from * LANES, s);
			break;
		default:
			sum_columns(WIDTH, a, t, (n + 1) / 2, from * LANES, s);
		}
	}
}

static void load_queries(const struct attention * a, const struct tile * t, int64_t start, int64_t rows, int64_t head) {
	const int64_t pairs = pairs_of(a);
	for (int64_t r = 0; r < rows; r++) {
		const float * x = row_of(a->q, start + r, head);
		for (int64_t i = 0; i < pairs; i += PAIRS) {
			_mm512_store_si512(t->query + r * pairs + i, load_pairs(x + 2 * i, a->d - 2 * i, a->scale));
		}
	}
	const int64_t padded = round_up(rows, BLOCK);
	memset(t->query + rows * pairs, 0, (padded - rows) * pairs * sizeof *t->query);
}

static void attend(const struct attention * a, int64_t tile, int64_t at, int64_t from, int64_t n) {
	const int64_t head = tile / a->tiles, start = tile % a->tiles * QUERIES, pairs = pairs_of(a);
	const int64_t rows = a->queries - start < QUERIES ? a->queries - start : QUERIES;
	const struct tile t = scratch_of(a);
	load_queries(a, &t, start, rows, head);
	for (int64_t i = 0; i < rows; i += BLOCK) {
		struct state state = {a->largest + at * QUERIES + i, a->total + at * QUERIES + i, (int) least(rows - i, BLOCK)};
		struct sums s = {.add = from > 0, .done = from + KEYS >= a->keys};
		scores(&t, (a->d + 1) / 2, pairs, t.query + i * pairs, n);
		_mm512_storeu_ps(s.before, weigh(&t, a->cap, n, &state));
		for (int r = 0; r < BLOCK; r++) {
			s.out[r] = r < state.rows ? out_row(a, start + i + r, head) : t.spare;
			s.after[r] = s.done && r < state.rows ? 1 / state.total[r] : 1;
		}
		sum_values(a, &t, n, &s);
	}
}

#include "isa_end.h"

const struct attention_kernel * pg_attention_bf16(void) {
	static const struct attention_kernel kernel = {scratch_bytes, load_keys, attend};
	return isa_level() >= ISA_BF16 ? &kernel : NULL;
}

#else

const struct attention_kernel * pg_attention_bf16(void) {
	return NULL;
}

#endif
