#ifndef ISA
#include "attention.h"
#include "kernels.h"
#include "team.h"

#include <math.h>
#include <string.h>

// Attention without a mask, the scores in tiles that stay in the cache (https://arxiv.org/abs/2205.14135). ggml's
// own transposes the keys for each tile of queries and each head; here that is done once for all queries of a
// thread that meet them, whatever their heads.
#define ROWS 8 // products are of a multiple of ROWS rows

#define KERNEL "attention.c"
#include "foreach_isa.h"

// Scratch: a tile's queries [QUERIES, d], scores [QUERIES, KEYS] and sums [QUERIES, wide]; keys, transposed, [d, KEYS]
// and values [KEYS, wide].
struct tile {
	float *query, *score, *sum, *key, *value;
};

static int64_t scratch_bytes(const struct attention * a) {
	return (QUERIES * (a->d + KEYS + a->wide) + KEYS * (a->d + a->wide)) * (int64_t) sizeof(float);
}

static struct tile scratch_of(const struct attention * a) {
	struct tile t = {.query = (float *) a->scratch};
	t.score = t.query + QUERIES * a->d;
	t.sum = t.score + QUERIES * KEYS;
	t.key = t.sum + QUERIES * a->wide;
	t.value = t.key + KEYS * a->d;
	return t;
}

static void load_keys(const struct attention * a, int64_t head, int64_t from, int64_t n) {
	const struct tile t = scratch_of(a);
	memset(t.key, 0, KEYS * a->d * sizeof(float));
	memset(t.value, 0, KEYS * a->wide * sizeof(float));
	const float *k_bias = bias_of(a->k_bias, head, a->d), *v_bias = bias_of(a->v_bias, head, a->dv);
	for (int64_t j = 0; j < n; j++) {
		const float *x = row_of(a->k, from + j, head), *y = row_of(a->v, from + j, head);
		float * value = t.value + j * a->wide;
		for (int64_t i = 0; i < a->d; i++) {
			t.key[i * KEYS + j] = k_bias ? x[i] + k_bias[i] : x[i];
		}
		for (int64_t i = 0; i < a->dv; i++) {
			value[i] = v_bias ? y[i] + v_bias[i] : y[i];
		}
	}
}

static void attend(const struct attention * a, int64_t tile, int64_t at, int64_t from, int64_t n) {
	const int64_t head = tile / a->tiles, start = tile % a->tiles * QUERIES, d = a->d, wide = a->wide;
	const int64_t rows = a->queries - start < QUERIES ? a->queries - start : QUERIES, padded = round_up(rows, ROWS);
	float *largest = a->largest + at * QUERIES, *total = a->total + at * QUERIES;
	const struct tile t = scratch_of(a);
	const float * bias = bias_of(a->q_bias, head, d);
	for (int64_t r = 0; r < rows; r++) {
		const float * x = row_of(a->q, start + r, head);
		if (bias) {
			DISPATCH(scale_sum)(d, t.query + r * d, x, bias, a->scale);
		} else {
			DISPATCH(scale)(d, t.query + r * d, x, a->scale);
		}
	}
	memset(t.query + rows * d, 0, (padded - rows) * d * sizeof(float));
	DISPATCH(matmul)(padded, d, KEYS, t.query, t.key, t.score, false);
	for (int64_t r = 0; r < rows; r++) {
		float correction, *weight = t.score + r * KEYS, *sum = t.sum + r * wide;
		DISPATCH(softmax)(n, weight, a->cap, largest + r, total + r, &correction);
		memset(weight + n, 0, (KEYS - n) * sizeof(float));
		if (from > 0) {
			DISPATCH(scale)(a->dv, sum, out_row(a, start + r, head), correction);
			memset(sum + a->dv, 0, (wide - a->dv) * sizeof(float));
		}
	}
	memset(t.sum + rows * wide, 0, (padded - rows) * wide * sizeof(float));
	DISPATCH(matmul)(padded, KEYS, wide, t.score, t.value, t.sum, from > 0);
	const bool done = from + KEYS >= a->keys;
	for (int64_t r = 0; r < rows; r++) {
		DISPATCH(scale)(a->dv, out_row(a, start + r, head), t.sum + r * wide, done ? 1 / total[r] : 1);
	}
}

// --- tiles ------------------------------------------------------------------

struct attention pg_attention_of(struct ggml_tensor * const * src, void * userdata) {
	const struct ggml_tensor *q = src[0], *k = src[1], *v = src[2];
	struct attention a = {.q = q, .k = k, .v = v, .d = q->ne[0], .dv = v->ne[0], .wide = round_up(v->ne[0], LINE)};
	a.scale = params_of(userdata).a;
	a.cap = params_of(userdata).b;
	a.queries = q->ne[1];
	a.heads = q->ne[2];
	a.keys = k->ne[1];
	a.kv_heads = k->ne[2];
	a.tiles = (a.queries + QUERIES - 1) / QUERIES;
	a.group = a.heads / a.kv_heads * a.tiles;
	if (src[3]) {
		a.q_bias = src[3]->data;
		a.k_bias = src[4]->data;
		a.v_bias = src[5]->data;
	}
	return a;
}

// Returns the bytes of largest, and of total.
static int64_t state_bytes(const struct attention * a) {
	return a->group * QUERIES * (int64_t) sizeof(float);
}

static int64_t thread_bytes(const struct attention * a) {
	return 2 * state_bytes(a) + scratch_bytes(a);
}

// Lets the queries of tiles [begin, end) see all keys. Those of one group meet the same keys.
static void attend_all(struct attention * a, int64_t begin, int64_t end) {
	for (int64_t g = begin / a->group; g * a->group < end; g++) {
		const int64_t first = g * a->group > begin ? g * a->group : begin;
		const int64_t last = (g + 1) * a->group < end ? (g + 1) * a->group : end;
		for (int64_t i = 0; i < (last - first) * QUERIES; i++) {
			a->largest[i] = -INFINITY;
			a->total[i] = 0;
		}
		for (int64_t from = 0; from < a->keys; from += KEYS) {
			const int64_t n = a->keys - from < KEYS ? a->keys - from : KEYS;
			load_keys(a, g, from, n);
			for (int64_t tile = first; tile < last; tile++) {
				attend(a, tile, tile - first, from, n);
			}
		}
	}
}

static void attention(struct ggml_tensor * dst, int ith, int nth, void * userdata) {
	struct attention a = pg_attention_of(dst->src, userdata);
	if (pg_together(attention, dst, userdata, a.queries * a.keys * a.heads)) {
		return;
	}
	char * space = pg_scratch(dst, a.dv * a.heads * a.queries, thread_bytes(&a), ith, &nth);
	if (!space) {
		return;
	}
	a.largest = (float *) space;
	a.total = (float *) (space + state_bytes(&a));
	a.scratch = space + 2 * state_bytes(&a);
	a.out = dst->data;
	// Tiles are dealt out, some at once.
	const int64_t all = a.heads * a.tiles, lots = all < 4 * nth ? all : 4 * nth;
	for (struct parts p = pg_parts(lots, ith, nth); pg_next(&p);) {
		attend_all(&a, all * p.from / lots, all * p.to / lots);
	}
}

struct ggml_tensor * pg_attention(struct ggml_context * ctx, struct ggml_tensor * q, struct ggml_tensor * k,
								  struct ggml_tensor * v, struct ggml_tensor * const * bias, float scale, float cap,
								  bool exact, int threads) {
	struct ggml_tensor * args[GGML_MAX_SRC] = {q, k, v};
	int n = 3;
	for (int i = 0; bias && i < 3; i++) {
		args[n++] = bias[i];
	}
	void * userdata = params_to_userdata((struct params) {scale, cap});
	if (!exact) {
		struct ggml_tensor * y = pg_attention_bf16(ctx, args, n, userdata, threads);
		if (y) {
			return y;
		}
	}
	const struct attention a = pg_attention_of(args, userdata);
	const int64_t ne[4] = {a.dv, a.heads, a.queries, 1};
	return pg_custom_with_scratch(ctx, ne, args, n, attention, userdata, threads, thread_bytes(&a));
}

// --- for each instruction set -----------------------------------------------

#else
#include "softmax.h"

typedef float FN(vec) __attribute__((vector_size(ISA_FLOATS * sizeof(float)), aligned(4), may_alias));

#define MR (ISA_FLOATS == 16 ? 8 : 4) // rows of a block of a product, which divide ROWS

// Computes MR rows of vectors columns, as FN(matmul) does.
INLINE void FN(block)(int64_t k, int64_t n, const float * a, const float * b, float * c, bool add, int vectors) {
	FN(vec) sum[MR][2];
	for (int r = 0; r < MR; r++) {
		for (int j = 0; j < vectors; j++) {
			sum[r][j] = add ? *(FN(vec) *) (c + r * n + j * ISA_FLOATS) : (FN(vec)) {0};
		}
	}
	for (int64_t i = 0; i < k; i++) {
		for (int j = 0; j < vectors; j++) {
			const FN(vec) v = *(const FN(vec) *) (b + i * n + j * ISA_FLOATS);
			for (int r = 0; r < MR; r++) {
				sum[r][j] += a[r * k + i] * v;
			}
		}
	}
	for (int r = 0; r < MR; r++) {
		for (int j = 0; j < vectors; j++) {
			*(FN(vec) *) (c + r * n + j * ISA_FLOATS) = sum[r][j];
		}
	}
}

// c [rows, n] = or += a [rows, k] · b [k, n], all dense; n a multiple of LINE, rows of ROWS.
static void FN(matmul)(int64_t rows, int64_t k, int64_t n, const float * a, const float * b, float * c, bool add) {
	for (int64_t r = 0; r < rows; r += MR) {
		int64_t j = 0;
		for (; j + 2 * ISA_FLOATS <= n; j += 2 * ISA_FLOATS) {
			FN(block)(k, n, a + r * k, b + j, c + r * n + j, add, 2);
		}
		for (; j < n; j += ISA_FLOATS) {
			FN(block)(k, n, a + r * k, b + j, c + r * n + j, add, 1);
		}
	}
}

#undef MR

// y = (x + b)·s
static void FN(scale_sum)(int64_t n, float * restrict y, const float * restrict x, const float * restrict b, float s) {
	for (int64_t i = 0; i < n; i++) {
		y[i] = (x[i] + b[i]) * s;
	}
}

#endif
