// Attention in tiles (attention.c) with scores and sums of values in BF16: products of pairs, added up in F32.
#include "attention.h"
#include "matmul.h"
#include "team.h"

#include <math.h>

#ifdef PG_PRODUCTS

#define ISA_SET ISA_BF16
#include "isa_begin.h"
#include "simd.h"

#define BLOCK 6  // queries that meet keys in registers; they divide QUERIES
#define WIDTH 4  // vectors of keys, or of values, that they meet at once
#define PAIRS 16 // of a vector

#include "softmax_bf16.h"

// The operands, packed once for all threads: of each head its queries [queries, pairs]; of each that keys have, in
// blocks, keys, transposed, [pairs, KEYS], and values [KEYS/2, wide] in pairs of one key's and the next one's.
struct operands {
	uint32_t *query, *key, *value;
	int64_t pairs, rows, blocks; // rows: queries of a head, with zeros after them
	int64_t bytes;
};

static struct operands operands_of(const struct attention * a, const struct ggml_tensor * packed) {
	struct operands o = {
		.pairs = (a->d + 1) / 2, .rows = round_up(a->queries, BLOCK), .blocks = (a->keys + KEYS - 1) / KEYS};
	const int64_t queries = round_up(a->heads * o.rows * o.pairs, LINE), keys = a->kv_heads * o.blocks * o.pairs * KEYS;
	o.bytes = (queries + keys + a->kv_heads * o.blocks * KEYS / 2 * a->wide) * (int64_t) sizeof(uint32_t);
	if (packed) {
		o.query =
			(uint32_t *) ((char *) packed->data + (CACHE_LINE - (uintptr_t) packed->data % CACHE_LINE) % CACHE_LINE);
		o.key = o.query + queries;
		o.value = o.key + keys;
	}
	return o;
}

// Scratch: a block's scores [BLOCK, KEYS], weights [BLOCK, KEYS], and a tile's sums [QUERIES, wide].
struct tile {
	float *score, *sum;
	uint16_t * weight;
};

static int64_t thread_bytes(const struct attention * a) {
	return (2 * QUERIES + BLOCK * KEYS + BLOCK * KEYS / 2 + QUERIES * a->wide) * (int64_t) sizeof(float);
}

static struct tile scratch_of(struct attention * a, char * space) {
	a->largest = (float *) space;
	a->total = a->largest + QUERIES;
	struct tile t = {.score = a->total + QUERIES};
	t.sum = t.score + BLOCK * KEYS;
	t.weight = (uint16_t *) (t.sum + QUERIES * a->wide);
	return t;
}

INLINE __m512 load_floats(const float * x, int64_t n) {
	return n >= LANES ? _mm512_loadu_ps(x) : _mm512_maskz_loadu_ps(n > 0 ? (__mmask16) ((1u << n) - 1) : 0, x);
}

// Returns n values at x, a bias of as many added unless it is NULL, then zeros.
INLINE __m512 load_sums(const float * x, const float * bias, int64_t n) {
	const __m512 v = load_floats(x, n);
	return bias ? _mm512_add_ps(v, load_floats(bias, n)) : v;
}

// Returns PAIRS pairs of the values from i on of n, then zeros.
INLINE __m512i load_pairs(const float * x, const float * bias, int64_t i, int64_t n, float scale) {
	const __m512 s = _mm512_set1_ps(scale), low = load_sums(x + i, bias ? bias + i : NULL, n - i);
	__m512 high = _mm512_setzero_ps();
	if (n - i > LANES) {
		high = load_sums(x + i + LANES, bias ? bias + i + LANES : NULL, n - i - LANES);
	}
	return (__m512i) _mm512_cvtne2ps_pbh(_mm512_mul_ps(high, s), _mm512_mul_ps(low, s));
}

// Returns the pairs of two vectors' values.
INLINE __m512i interleave(__m512 a, __m512 b) {
	const __m512i low = _mm512_cvtepu16_epi32((__m256i) _mm512_cvtneps_pbh(a));
	const __m512i high = _mm512_cvtepu16_epi32((__m256i) _mm512_cvtneps_pbh(b));
	return _mm512_or_si512(low, _mm512_slli_epi32(high, 16));
}

// Packs n keys of a head.
static void pack_keys(const struct attention * a, uint32_t * key, int64_t head, int64_t from, int64_t n) {
	const int64_t pairs = (a->d + 1) / 2;
	const float * bias = bias_of(a->k_bias, head, a->d);
	for (int64_t j = 0; j < n; j += LANES) {
		for (int64_t i = 0; i < pairs; i += PAIRS) {
			__m512i v[LANES];
			for (int64_t r = 0; r < LANES; r++) {
				v[r] = j + r < n ? load_pairs(row_of(a->k, from + j + r, head), bias, 2 * i, a->d, 1)
								 : _mm512_setzero_si512();
			}
			transpose16x16(v);
			for (int64_t r = 0; r < least(pairs - i, PAIRS); r++) {
				_mm512_store_si512(key + (i + r) * KEYS + j, v[r]);
			}
		}
	}
}

// Packs their values.
static void pack_values(const struct attention * a, uint32_t * value, int64_t head, int64_t from, int64_t n) {
	const float * bias = bias_of(a->v_bias, head, a->dv);
	for (int64_t j = 0; j < n; j += 2, value += a->wide) {
		const float *even = row_of(a->v, from + j, head), *odd = j + 1 < n ? row_of(a->v, from + j + 1, head) : NULL;
		for (int64_t i = 0; i < a->wide; i += LANES) {
			const float * b = bias ? bias + i : NULL;
			const __m512 next = odd ? load_sums(odd + i, b, a->dv - i) : _mm512_setzero_ps();
			_mm512_store_si512(value + i, interleave(load_sums(even + i, b, a->dv - i), next));
		}
	}
}

// Packs queries [from, to) of a head; those that are missing are zeros.
static void pack_queries(const struct attention * a, uint32_t * query, int64_t head, int64_t from, int64_t to) {
	const int64_t pairs = (a->d + 1) / 2;
	const float * bias = bias_of(a->q_bias, head, a->d);
	for (int64_t r = from; r < to; r++) {
		uint32_t * y = query + r * pairs;
		for (int64_t i = 0; i < pairs; i += PAIRS) {
			const __mmask16 some = (__mmask16) (pairs - i < PAIRS ? (1 << (pairs - i)) - 1 : -1);
			__m512i v = _mm512_setzero_si512();
			if (r < a->queries) {
				v = load_pairs(row_of(a->q, r, head), bias, 2 * i, a->d, a->scale);
			}
			_mm512_mask_storeu_epi32(y + i, some, v);
		}
	}
}

static void pack(struct ggml_tensor * dst, int ith, int nth, void * userdata) {
	const struct attention a = pg_attention_of(dst->src, userdata);
	const struct operands o = operands_of(&a, dst);
	if (pg_together(pack, dst, userdata, a.queries * a.d * a.heads)) {
		return;
	}
	const int64_t blocks = a.kv_heads * o.blocks;
	for (struct parts p = pg_parts(blocks + a.heads * a.tiles, ith, nth); pg_next(&p);) {
		for (int64_t i = p.from; i < p.to; i++) {
			if (i < blocks) {
				const int64_t head = i / o.blocks, from = i % o.blocks * KEYS, n = least(a.keys - from, KEYS);
				pack_keys(&a, o.key + i * o.pairs * KEYS, head, from, n);
				pack_values(&a, o.value + i * KEYS / 2 * a.wide, head, from, n);
			} else {
				const int64_t head = (i - blocks) / a.tiles, from = (i - blocks) % a.tiles * QUERIES;
				pack_queries(&a, o.query + head * o.rows * o.pairs, head, from, least(o.rows, from + QUERIES));
			}
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

INLINE void score_columns(const int nv, int64_t pairs, const uint32_t * query, const uint32_t * key, float * score) {
	__m512 sum[BLOCK * WIDTH];
	UNROLL
	for (int u = 0; u < BLOCK * WIDTH; u++) {
		sum[u] = _mm512_setzero_ps();
	}
	multiply(nv, pairs, query, pairs, key, KEYS, sum);
	UNROLL
	for (int r = 0; r < BLOCK; r++) {
		UNROLL
		for (int j = 0; j < nv; j++) {
			_mm512_store_ps(score + r * KEYS + j * LANES, sum[r * WIDTH + j]);
		}
	}
}

// Scores of a block of queries with n keys.
NOINLINE void scores(int64_t pairs, int64_t n, const uint32_t * query, const uint32_t * key, float * score) {
	for (int64_t left = (n + LANES - 1) / LANES; left > 0;
		 left -= WIDTH, key += WIDTH * LANES, score += WIDTH * LANES) {
		switch (left) {
		case 1:
			score_columns(1, pairs, query, key, score);
			break;
		case 2:
			score_columns(2, pairs, query, key, score);
			break;
		case 3:
			score_columns(3, pairs, query, key, score);
			break;
		default:
			score_columns(WIDTH, pairs, query, key, score);
		}
	}
}

// Turns the scores of a block of queries with n keys into weights (softmax).
NOINLINE __m512 weigh(const struct tile * t, float cap, int64_t n, const struct state * s) {
	if (cap > 0 || n % (2 * LANES) > 0) {
		complete_scores(cap, n, t->score);
	}
	return n == KEYS ? softmax(KEYS / LANES, t->score, t->weight, s)
					 : softmax(round_up(n, 2 * LANES) / LANES, t->score, t->weight, s);
}

// What becomes of a block's sums of values.
struct sums {
	float * sum;                       // where they are: [BLOCK, wide]
	float before[LANES], after[BLOCK]; // factors of what is there, and of all in the end
	float * out[BLOCK];                // where they go in the end, or NULL
	bool add, done;                    // to what is there; and there are no more keys
};

INLINE void sum_columns(const int nv, const struct attention * a, const uint16_t * weight, const uint32_t * value,
						int64_t n, int64_t column, const struct sums * s) {
	__m512 sum[BLOCK * WIDTH];
	UNROLL
	for (int r = 0; r < BLOCK; r++) {
		const __m512 before = _mm512_set1_ps(s->before[r]);
		UNROLL
		for (int j = 0; j < nv; j++) {
			const float * x = s->sum + r * a->wide + column + j * LANES;
			sum[r * WIDTH + j] = s->add ? _mm512_mul_ps(_mm512_load_ps(x), before) : _mm512_setzero_ps();
		}
	}
	multiply(nv, n, (const uint32_t *) weight, KEYS / 2, value + column, a->wide, sum);
	const int64_t left = a->dv - column - (nv - 1) * LANES; // in the last vector
	const __mmask16 last = (__mmask16) (left < LANES ? (1 << left) - 1 : -1);
	UNROLL
	for (int r = 0; r < BLOCK; r++) {
		const __m512 after = _mm512_set1_ps(s->after[r]);
		UNROLL
		for (int j = 0; j < nv; j++) {
			const __m512 v = sum[r * WIDTH + j];
			if (!s->done) {
				_mm512_store_ps(s->sum + r * a->wide + column + j * LANES, v);
			} else if (s->out[r]) {
				_mm512_mask_storeu_ps(s->out[r] + column + j * LANES, j < nv - 1 ? (__mmask16) -1 : last,
									  _mm512_mul_ps(v, after));
			}
		}
	}
}

// Adds up values, n pairs of them, by their weights.
NOINLINE void sum_values(const struct attention * a, const uint16_t * weight, const uint32_t * value, int64_t n,
						 const struct sums * s) {
	const int64_t vectors = a->wide / LANES, parts = (vectors + WIDTH - 1) / WIDTH;
	for (int64_t i = 0; i < parts; i++) {
		const int64_t from = vectors * i / parts, to = vectors * (i + 1) / parts;
		switch (to - from) {
		case 1:
			sum_columns(1, a, weight, value, n, from * LANES, s);
			break;
		case 2:
			sum_columns(2, a, weight, value, n, from * LANES, s);
			break;
		case 3:
			sum_columns(3, a, weight, value, n, from * LANES, s);
			break;
		default:
			sum_columns(WIDTH, a, weight, value, n, from * LANES, s);
		}
	}
}

// Lets the queries of a tile see a block of keys.
static void attend(const struct attention * a, const struct operands * o, const struct tile * t, int64_t tile,
				   int64_t block) {
	const int64_t head = tile / a->tiles, start = tile % a->tiles * QUERIES, rows = least(a->queries - start, QUERIES);
	const int64_t keys = head / (a->heads / a->kv_heads) * o->blocks + block, n = least(a->keys - block * KEYS, KEYS);
	const uint32_t * query = o->query + (head * o->rows + start) * o->pairs;
	struct sums s = {.sum = t->sum, .add = block > 0, .done = block == o->blocks - 1};
	for (int64_t i = 0; i < rows; i += BLOCK, query += BLOCK * o->pairs, s.sum += BLOCK * a->wide) {
		const struct state state = {a->largest + i, a->total + i};
		scores(o->pairs, n, query, o->key + keys * o->pairs * KEYS, t->score);
		_mm512_storeu_ps(s.before, weigh(t, a->cap, n, &state));
		for (int r = 0; s.done && r < BLOCK; r++) {
			s.out[r] = i + r < rows ? out_row(a, start + i + r, head) : NULL;
			s.after[r] = 1 / state.total[r];
		}
		sum_values(a, t->weight, o->value + keys * KEYS / 2 * a->wide, (n + 1) / 2, &s);
	}
}

// Sources: the operands, packed, and those that pack has.
static void attention(struct ggml_tensor * dst, int ith, int nth, void * userdata) {
	struct attention a = pg_attention_of(dst->src + 1, userdata);
	if (pg_together(attention, dst, userdata, a.queries * a.keys * a.heads)) {
		return;
	}
	char * space = pg_scratch(dst, a.dv * a.heads * a.queries, thread_bytes(&a), ith, &nth);
	if (!space) {
		return;
	}
	const struct tile t = scratch_of(&a, space);
	const struct operands o = operands_of(&a, dst->src[0]);
	a.out = dst->data;
	for (struct parts p = pg_parts(a.heads * a.tiles, ith, nth); pg_next(&p);) {
		for (int64_t i = p.from; i < p.to; i++) {
			for (int r = 0; r < QUERIES; r++) {
				a.largest[r] = -INFINITY;
				a.total[r] = 0;
			}
			for (int64_t block = 0; block < o.blocks; block++) {
				attend(&a, &o, &t, i, block);
			}
		}
	}
}

#include "isa_end.h"

struct ggml_tensor * pg_attention_bf16(struct ggml_context * ctx, struct ggml_tensor ** src, int n, void * userdata,
									   int threads) {
	if (isa_level() < ISA_BF16) {
		return NULL;
	}
	const struct attention a = pg_attention_of(src, userdata);
	const int64_t ne[4] = {a.dv, a.heads, a.queries, 1}, bytes = operands_of(&a, NULL).bytes + CACHE_LINE;
	struct ggml_tensor * args[] = {
		ggml_custom_4d(ctx, GGML_TYPE_I8, bytes, 1, 1, 1, src, n, pack, GGML_N_TASKS_MAX, userdata),
		src[0],
		src[1],
		src[2],
	};
	return pg_custom_with_scratch(ctx, ne, args, 4, attention, userdata, threads, thread_bytes(&a));
}

#else

struct ggml_tensor * pg_attention_bf16(struct ggml_context * ctx, struct ggml_tensor ** src, int n, void * userdata,
									   int threads) {
	(void) ctx;
	(void) src;
	(void) n;
	(void) userdata;
	(void) threads;
	return NULL;
}

#endif
