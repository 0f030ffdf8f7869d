#include "kernels.h"
#include "simd.h"

#include <math.h>
#include <stdint.h>
#include <string.h>

// Attention without a mask, the scores in tiles that stay in the cache
// (https://arxiv.org/abs/2205.14135). ggml's own turns the keys around for each
// tile of queries and each head; here that is done once for all queries of a
// thread that meet them, whatever their heads.
#define QUERIES 64 // of a tile
#define KEYS 128
#define LINE 16 // floats of a cache line

// Widths of vectors and rows of a block of the product, which divide LINE and QUERIES.
#define W_avx512 16
#define R_avx512 8
#define W_avx2 8
#define R_avx2 4
#define W_plain 8
#define R_plain 4

// c [rows, n] = or += a [rows, k] · b [k, n], all dense; n a multiple of LINE,
// rows of 8. softmax turns n scores into weights, given the largest so far, and
// returns what earlier weights are to be multiplied by; sum is that of weights.
#define PG_FORM(form, attributes)                                                                                               \
	typedef float vec##form __attribute__((vector_size(W##form * sizeof(float)), aligned(4), may_alias));                       \
	attributes static inline __attribute__((always_inline)) void block##form(int64_t k, int64_t n, const float * a,             \
	                                                                         const float * b, float * c, bool add, int wide) { \
		vec##form sum[R##form][2];                                                                                              \
		for (int r = 0; r < R##form; r++) {                                                                                     \
			for (int j = 0; j < wide; j++) {                                                                                    \
				sum[r][j] = add ? *(vec##form *) (c + r * n + j * W##form) : (vec##form) {0};                                   \
			}                                                                                                                   \
		}                                                                                                                       \
		for (int64_t i = 0; i < k; i++) {                                                                                       \
			for (int j = 0; j < wide; j++) {                                                                                    \
				const vec##form v = *(const vec##form *) (b + i * n + j * W##form);                                             \
				for (int r = 0; r < R##form; r++) {                                                                             \
					sum[r][j] += a[r * k + i] * v;                                                                              \
				}                                                                                                               \
			}                                                                                                                   \
		}                                                                                                                       \
		for (int r = 0; r < R##form; r++) {                                                                                     \
			for (int j = 0; j < wide; j++) {                                                                                    \
				*(vec##form *) (c + r * n + j * W##form) = sum[r][j];                                                           \
			}                                                                                                                   \
		}                                                                                                                       \
	}                                                                                                                           \
	attributes static void product##form(int64_t rows, int64_t k, int64_t n, const float * a, const float * b, float * c, bool add) { \
		for (int64_t r = 0; r < rows; r += R##form) {                                                                           \
			int64_t j = 0;                                                                                                      \
			for (; j + 2 * W##form <= n; j += 2 * W##form) {                                                                    \
				block##form(k, n, a + r * k, b + j, c + r * n + j, add, 2);                                                     \
			}                                                                                                                   \
			for (; j < n; j += W##form) {                                                                                       \
				block##form(k, n, a + r * k, b + j, c + r * n + j, add, 1);                                                     \
			}                                                                                                                   \
		}                                                                                                                       \
	}                                                                                                                           \
	attributes static void softmax##form(int64_t n, float * x, float cap, float * largest, float * sum, float * correction) {   \
		if (cap > 0) {                                                                                                          \
			for (int64_t i = 0; i < n; i++) {                                                                                   \
				float u = x[i] * (2 / cap), e;                                                                                  \
				u = u > 88.0f ? 88.0f : u;                                                                                      \
				u = u < -88.0f ? -88.0f : u;                                                                                    \
				PG_EXP(e, u);                                                                                                   \
				x[i] = cap - 2 * cap / (e + 1); /* cap·tanh(x/cap) */                                                           \
			}                                                                                                                   \
		}                                                                                                                       \
		float lane[LINE];                                                                                                       \
		for (int j = 0; j < LINE; j++) {                                                                                        \
			lane[j] = *largest;                                                                                                 \
		}                                                                                                                       \
		int64_t i = 0;                                                                                                          \
		for (; i + LINE <= n; i += LINE) {                                                                                      \
			for (int j = 0; j < LINE; j++) {                                                                                    \
				lane[j] = x[i + j] > lane[j] ? x[i + j] : lane[j];                                                              \
			}                                                                                                                   \
		}                                                                                                                       \
		float most = *largest;                                                                                                  \
		for (; i < n; i++) {                                                                                                    \
			most = x[i] > most ? x[i] : most;                                                                                   \
		}                                                                                                                       \
		for (int half = LINE / 2; half > 0; half /= 2) {                                                                        \
			for (int j = 0; j < half; j++) {                                                                                    \
				lane[j] = lane[j + half] > lane[j] ? lane[j + half] : lane[j];                                                  \
			}                                                                                                                   \
		}                                                                                                                       \
		most = lane[0] > most ? lane[0] : most;                                                                                 \
		for (int j = 0; j < LINE; j++) {                                                                                        \
			lane[j] = 0;                                                                                                        \
		}                                                                                                                       \
		for (i = 0; i < n; i++) {                                                                                               \
			float u = x[i] - most;                                                                                              \
			u = u < -88.0f ? -88.0f : u;                                                                                        \
			PG_EXP(x[i], u);                                                                                                    \
		}                                                                                                                       \
		float all = 0;                                                                                                          \
		for (i = 0; i + LINE <= n; i += LINE) {                                                                                 \
			for (int j = 0; j < LINE; j++) {                                                                                    \
				lane[j] += x[i + j];                                                                                            \
			}                                                                                                                   \
		}                                                                                                                       \
		for (; i < n; i++) {                                                                                                    \
			all += x[i];                                                                                                        \
		}                                                                                                                       \
		for (int half = LINE / 2; half > 0; half /= 2) {                                                                        \
			for (int j = 0; j < half; j++) {                                                                                    \
				lane[j] += lane[j + half];                                                                                      \
			}                                                                                                                   \
		}                                                                                                                       \
		all += lane[0];                                                                                                         \
		*correction = expf(*largest - most);                                                                                    \
		*sum = *sum * *correction + all;                                                                                        \
		*largest = most;                                                                                                        \
	}                                                                                                                           \
	attributes static void scaled##form(int64_t n, float * restrict y, const float * restrict x, float s) {                     \
		for (int64_t i = 0; i < n; i++) {                                                                                       \
			y[i] = x[i] * s;                                                                                                    \
		}                                                                                                                       \
	}
PG_FORMS(PG_FORM)

static int64_t round_up(int64_t n, int64_t unit) {
	return (n + unit - 1) / unit * unit;
}

// Floats that each thread needs.
static int64_t scratch(const struct ggml_tensor * q, const struct ggml_tensor * k, const struct ggml_tensor * v) {
	const int64_t d = q->ne[0], wide = round_up(v->ne[0], LINE), group = q->ne[2] / k->ne[2];
	const int64_t tiles = (q->ne[1] + QUERIES - 1) / QUERIES;
	return LINE + QUERIES * (d + KEYS + wide) + KEYS * (round_up(d, LINE) + wide) + 2 * tiles * group * QUERIES;
}

static const float * row(const struct ggml_tensor * t, int64_t i, int64_t head) {
	return (const float *) ((const char *) t->data + i * t->nb[1] + head * t->nb[2]);
}

static void attention(struct ggml_tensor * dst, int ith, int nth, void * userdata) {
	float scale, cap;
	const uint64_t bits = (uint64_t) (uintptr_t) userdata;
	memcpy(&scale, &bits, sizeof scale);
	memcpy(&cap, (const char *) &bits + sizeof scale, sizeof cap);
	const struct ggml_tensor * q = dst->src[0], * k = dst->src[1], * v = dst->src[2];
	const int64_t d = q->ne[0], queries = q->ne[1], heads = q->ne[2], keys = k->ne[1], dv = v->ne[0], wide = round_up(dv, LINE);
	const int64_t values = dv * heads * queries, threads = (dst->ne[0] - values) / scratch(q, k, v);
	nth = nth > threads ? threads : nth;
	if (ith >= nth) {
		return;
	}
	float * space = (float *) dst->data + values + ith * scratch(q, k, v);
	space += (LINE - (uintptr_t) space / sizeof(float) % LINE) % LINE;
	float * query = space, * score = query + QUERIES * d, * sum = score + QUERIES * KEYS;
	float * key = sum + QUERIES * wide, * value = key + KEYS * d, * largest = value + KEYS * wide;

	// Tiles of queries, head after head, are dealt out; those of one group of heads meet the same keys.
	const int64_t tiles = (queries + QUERIES - 1) / QUERIES, group = heads / k->ne[2] * tiles, all = heads * tiles;
	const int64_t begin = all * ith / nth, end = all * (ith + 1) / nth;
	float * total = largest + group * QUERIES;
	for (int64_t g = begin / group; g * group < end; g++) {
		const int64_t first = g * group > begin ? g * group : begin, last = (g + 1) * group < end ? (g + 1) * group : end;
		for (int64_t i = 0; i < (last - first) * QUERIES; i++) {
			largest[i] = -INFINITY;
			total[i] = 0;
		}
		for (int64_t from = 0; from < keys; from += KEYS) {
			const int64_t n = keys - from < KEYS ? keys - from : KEYS;
			memset(key, 0, KEYS * d * sizeof(float));
			memset(value, 0, KEYS * wide * sizeof(float));
			for (int64_t j = 0; j < n; j++) {
				const float * x = row(k, from + j, g);
				for (int64_t i = 0; i < d; i++) {
					key[i * KEYS + j] = x[i];
				}
				memcpy(value + j * wide, row(v, from + j, g), dv * sizeof(float));
			}
			for (int64_t tile = first; tile < last; tile++) {
				const int64_t head = tile / tiles, start = tile % tiles * QUERIES;
				const int64_t rows = queries - start < QUERIES ? queries - start : QUERIES, padded = round_up(rows, 8);
				for (int64_t r = 0; r < rows; r++) {
					PG_RUN(scaled, d, query + r * d, row(q, start + r, head), scale);
				}
				memset(query + rows * d, 0, (padded - rows) * d * sizeof(float));
				PG_RUN(product, padded, d, KEYS, query, key, score, false);
				for (int64_t r = 0; r < rows; r++) {
					const int64_t at = (tile - first) * QUERIES + r;
					float correction, * weight = score + r * KEYS;
					PG_RUN(softmax, n, weight, cap, largest + at, total + at, &correction);
					memset(weight + n, 0, (KEYS - n) * sizeof(float));
					if (from > 0) {
						PG_RUN(scaled, dv, sum + r * wide, (float *) dst->data + ((start + r) * heads + head) * dv, correction);
						memset(sum + r * wide + dv, 0, (wide - dv) * sizeof(float));
					}
				}
				memset(sum + rows * wide, 0, (padded - rows) * wide * sizeof(float));
				PG_RUN(product, padded, KEYS, wide, score, value, sum, from > 0);
				const bool done = from + KEYS >= keys;
				for (int64_t r = 0; r < rows; r++) {
					const float by = done ? 1 / total[(tile - first) * QUERIES + r] : 1;
					PG_RUN(scaled, dv, (float *) dst->data + ((start + r) * heads + head) * dv, sum + r * wide, by);
				}
			}
		}
	}
}

struct ggml_tensor * pg_attention(struct ggml_context * ctx, struct ggml_tensor * q, struct ggml_tensor * k, struct ggml_tensor * v, float scale,
                                  float cap, int threads) {
	uint64_t bits = 0;
	memcpy(&bits, &scale, sizeof scale);
	memcpy((char *) &bits + sizeof scale, &cap, sizeof cap);
	struct ggml_tensor * args[] = {q, k, v};
	const int64_t dv = v->ne[0], heads = q->ne[2], queries = q->ne[1];
	// What the threads need lies behind the result.
	struct ggml_tensor * both = ggml_custom_4d(ctx, GGML_TYPE_F32, dv * heads * queries + threads * scratch(q, k, v), 1, 1, 1, args, 3, attention,
	                                           GGML_N_TASKS_MAX, (void *) (uintptr_t) bits);
	return ggml_view_3d(ctx, both, dv, heads, queries, dv * sizeof(float), dv * heads * sizeof(float), 0);
}
