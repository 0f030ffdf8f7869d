#ifndef ISA
#include "custom.h"
#include "kernels.h"
#include "team.h"

#include <math.h>
#include <string.h>

// Attention without a mask, the scores in tiles that stay in the cache (https://arxiv.org/abs/2205.14135). ggml's
// own transposes the keys for each tile of queries and each head; here that is done once for all queries of a
// thread that meet them, whatever their heads.
#define QUERIES 64 // of a tile
#define KEYS 128
#define LINE 16 // floats of a cache line, and lanes of sums
#define ROWS 8  // products are of a multiple of ROWS rows

#define KERNEL "attention.c"
#include "foreach_isa.h"

// One thread's work. Tiles of queries are numbered head after head.
struct attention {
	const struct ggml_tensor *q, *k, *v;
	float * out; // [dv, heads, queries]
	float scale, cap;
	int64_t d, dv, wide; // wide: dv, rounded up to LINE
	int64_t queries, heads, keys;
	int64_t tiles, group; // tiles of a head, and of the heads that share keys

	// scratch: a tile's queries [QUERIES, d], scores [QUERIES, KEYS] and sums [QUERIES, wide]; keys, transposed, [d, KEYS]
	// and values [KEYS, wide]; the largest score and the sum of weights of each query of a group
	float *query, *score, *sum, *key, *value, *largest, *total;
};

static int64_t round_up(int64_t n, int64_t unit) {
	return (n + unit - 1) / unit * unit;
}

static struct attention plan(const struct ggml_tensor * q, const struct ggml_tensor * k, const struct ggml_tensor * v) {
	struct attention a = {.q = q, .k = k, .v = v, .d = q->ne[0], .dv = v->ne[0], .wide = round_up(v->ne[0], LINE)};
	a.queries = q->ne[1];
	a.heads = q->ne[2];
	a.keys = k->ne[1];
	a.tiles = (a.queries + QUERIES - 1) / QUERIES;
	a.group = a.heads / k->ne[2] * a.tiles;
	return a;
}

// Returns the bytes that a thread needs.
static int64_t scratch_bytes(const struct attention * a) {
	const int64_t floats = QUERIES * (a->d + KEYS + a->wide) + KEYS * (a->d + a->wide) + 2 * a->group * QUERIES;
	return floats * (int64_t) sizeof(float);
}

static void place_scratch(struct attention * a, float * space) {
	a->query = space;
	a->score = a->query + QUERIES * a->d;
	a->sum = a->score + QUERIES * KEYS;
	a->key = a->sum + QUERIES * a->wide;
	a->value = a->key + KEYS * a->d;
	a->largest = a->value + KEYS * a->wide;
	a->total = a->largest + a->group * QUERIES;
}

static const float * row_of(const struct ggml_tensor * t, int64_t i, int64_t head) {
	return (const float *) ((const char *) t->data + i * t->nb[1] + head * t->nb[2]);
}

static float * out_row(const struct attention * a, int64_t i, int64_t head) {
	return a->out + (i * a->heads + head) * a->dv;
}

// Brings n keys and their values into scratch.
static void load_keys(const struct attention * a, int64_t head, int64_t from, int64_t n) {
	memset(a->key, 0, KEYS * a->d * sizeof(float));
	memset(a->value, 0, KEYS * a->wide * sizeof(float));
	for (int64_t j = 0; j < n; j++) {
		const float * x = row_of(a->k, from + j, head);
		for (int64_t i = 0; i < a->d; i++) {
			a->key[i * KEYS + j] = x[i];
		}
		memcpy(a->value + j * a->wide, row_of(a->v, from + j, head), a->dv * sizeof(float));
	}
}

// Lets a tile of queries, the one numbered at within its group, see n keys.
static void attend(const struct attention * a, int64_t tile, int64_t at, int64_t from, int64_t n) {
	const int64_t head = tile / a->tiles, start = tile % a->tiles * QUERIES, d = a->d, wide = a->wide;
	const int64_t rows = a->queries - start < QUERIES ? a->queries - start : QUERIES, padded = round_up(rows, ROWS);
	float *largest = a->largest + at * QUERIES, *total = a->total + at * QUERIES;
	for (int64_t r = 0; r < rows; r++) {
		DISPATCH(scale)(d, a->query + r * d, row_of(a->q, start + r, head), a->scale);
	}
	memset(a->query + rows * d, 0, (padded - rows) * d * sizeof(float));
	DISPATCH(matmul)(padded, d, KEYS, a->query, a->key, a->score, false);
	for (int64_t r = 0; r < rows; r++) {
		float correction, *weight = a->score + r * KEYS, *sum = a->sum + r * wide;
		DISPATCH(softmax)(n, weight, a->cap, largest + r, total + r, &correction);
		memset(weight + n, 0, (KEYS - n) * sizeof(float));
		if (from > 0) {
			DISPATCH(scale)(a->dv, sum, out_row(a, start + r, head), correction);
			memset(sum + a->dv, 0, (wide - a->dv) * sizeof(float));
		}
	}
	memset(a->sum + rows * wide, 0, (padded - rows) * wide * sizeof(float));
	DISPATCH(matmul)(padded, KEYS, wide, a->score, a->value, a->sum, from > 0);
	const bool done = from + KEYS >= a->keys;
	for (int64_t r = 0; r < rows; r++) {
		DISPATCH(scale)(a->dv, out_row(a, start + r, head), a->sum + r * wide, done ? 1 / total[r] : 1);
	}
}

// Lets the queries of tiles [begin, end) see all keys.
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
	struct attention a = plan(dst->src[0], dst->src[1], dst->src[2]);
	if (pg_together(attention, dst, userdata, a.queries * a.keys * a.heads)) {
		return;
	}
	float * space = pg_scratch(dst, a.dv * a.heads * a.queries, scratch_bytes(&a), ith, &nth);
	if (!space) {
		return;
	}
	place_scratch(&a, space);
	a.out = dst->data;
	a.scale = params_of(userdata).a;
	a.cap = params_of(userdata).b;
	// Tiles are dealt out, some at once, for those of one group meet the same keys.
	const int64_t all = a.heads * a.tiles, lots = all < 4 * nth ? all : 4 * nth;
	for (struct parts p = pg_parts(lots, ith, nth); pg_next(&p);) {
		attend_all(&a, all * p.from / lots, all * p.to / lots);
	}
}

struct ggml_tensor * pg_attention(struct ggml_context * ctx, struct ggml_tensor * q, struct ggml_tensor * k,
								  struct ggml_tensor * v, float scale, float cap, int threads) {
	struct ggml_tensor * args[] = {q, k, v};
	const struct attention a = plan(q, k, v);
	const int64_t ne[4] = {a.dv, a.heads, a.queries, 1};
	return pg_custom_with_scratch(ctx, ne, args, 3, attention, params_to_userdata((struct params) {scale, cap}),
								  threads, scratch_bytes(&a));
}

// --- for each instruction set -----------------------------------------------

#else
#include "exp.h"

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

// Returns the largest of n numbers and most.
INLINE float FN(largest)(int64_t n, const float * x, float most) {
	float lane[LINE];
	for (int j = 0; j < LINE; j++) {
		lane[j] = most;
	}
	int64_t i = 0;
	for (; i + LINE <= n; i += LINE) {
		for (int j = 0; j < LINE; j++) {
			lane[j] = x[i + j] > lane[j] ? x[i + j] : lane[j];
		}
	}
	for (; i < n; i++) {
		most = x[i] > most ? x[i] : most;
	}
	for (int half = LINE / 2; half > 0; half /= 2) {
		for (int j = 0; j < half; j++) {
			lane[j] = lane[j + half] > lane[j] ? lane[j + half] : lane[j];
		}
	}
	return lane[0] > most ? lane[0] : most;
}

// Returns the sum of n numbers.
INLINE float FN(sum)(int64_t n, const float * x) {
	float lane[LINE] = {0}, all = 0;
	int64_t i = 0;
	for (; i + LINE <= n; i += LINE) {
		for (int j = 0; j < LINE; j++) {
			lane[j] += x[i + j];
		}
	}
	for (; i < n; i++) {
		all += x[i];
	}
	for (int half = LINE / 2; half > 0; half /= 2) {
		for (int j = 0; j < half; j++) {
			lane[j] += lane[j + half];
		}
	}
	return all + lane[0];
}

// Turns n scores into weights, given the largest so far; correction is what earlier weights are to be multiplied
// by, and sum is that of all weights.
static void FN(softmax)(int64_t n, float * x, float cap, float * largest, float * sum, float * correction) {
	if (cap > 0) {
		for (int64_t i = 0; i < n; i++) {
			x[i] = cap - 2 * cap / (FN(exp)(FN(clamp88)(x[i] * (2 / cap))) + 1); // cap·tanh(x/cap)
		}
	}
	const float most = FN(largest)(n, x, *largest);
	for (int64_t i = 0; i < n; i++) {
		const float u = x[i] - most;
		x[i] = FN(exp)(u < -88.0f ? -88.0f : u);
	}
	const float all = FN(sum)(n, x);
	*correction = expf(*largest - most);
	*sum = *sum * *correction + all;
	*largest = most;
}

static void FN(scale)(int64_t n, float * restrict y, const float * restrict x, float s) {
	for (int64_t i = 0; i < n; i++) {
		y[i] = x[i] * s;
	}
}

#undef MR
#endif
