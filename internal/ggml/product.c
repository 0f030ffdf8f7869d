#include "kernels.h"
#include "simd.h"

// Products with quantised weights and those of BF16, in ggml's own layout: with
// one row as fast as the memory delivers them, with many rows in tiles. Products
// and sums within a quantised block are whole numbers, so results differ from
// ggml's only in how blocks are summed up and rounded.
#ifdef PG_PRODUCTS
#include "product.h"

#define GROUP 288 // rows for which weights are unpacked once, and which stay in the cache

static const struct pg_kind * find(enum ggml_type type) {
	const struct pg_kind * lists[] = {pg_kinds_K, pg_kinds_0, pg_kinds_bf16};
	for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) {
		for (const struct pg_kind * kind = lists[i]; kind->values > 0; kind++) {
			if (kind->type == type) {
				return kind;
			}
		}
	}
	return NULL;
}

int pg_multiplies(enum ggml_type type, int64_t k) {
	const struct pg_kind * kind = find(type);
	return kind && k % kind->values == 0 && (int64_t) ggml_row_size(type, kind->values) == kind->bytes && pg_rows_type(type) == (int) kind->rows &&
	       __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
	       __builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
	       __builtin_cpu_supports("f16c") && (type != GGML_TYPE_BF16 || __builtin_cpu_supports("avx512bf16"));
}

// Threads share the rows of weights.
static void one(struct ggml_tensor * dst, int ith, int nth, void * userdata) {
	(void) userdata;
	const struct ggml_tensor * a = dst->src[0], * b = dst->src[1];
	const struct pg_kind * kind = find(a->type);
	const int64_t begin = a->ne[1] * ith / nth, end = a->ne[1] * (ith + 1) / nth;
	kind->one(end - begin, a->ne[0] / kind->values, (const uint8_t *) a->data + begin * a->nb[1], a->nb[1], b->data, (float *) dst->data + begin);
}

// Bytes that a thread needs for so many rows.
static int64_t scratch(const struct pg_kind * kind, int64_t rows) {
	return 64 + PG_VECTORS * kind->panel + (rows < GROUP ? rows : GROUP) * kind->input;
}

// And here in panels, as wide as a tile.
static void many(struct ggml_tensor * dst, int ith, int nth, void * userdata) {
	(void) userdata;
	const struct ggml_tensor * a = dst->src[0], * b = dst->src[1];
	const struct pg_kind * kind = find(a->type);
	const int64_t n = a->ne[1], rows = ggml_nrows(b), wide = PG_VECTORS * PG_LANES, panels = (n + wide - 1) / wide;
	const int64_t threads = (dst->ne[0] - n * rows) * (int64_t) sizeof(float) / scratch(kind, rows);
	nth = nth > threads ? (int) threads : nth;
	if (ith >= nth) {
		return;
	}
	char * panel = (char *) dst->data + n * rows * sizeof(float) + ith * scratch(kind, rows);
	panel += (64 - (uintptr_t) panel % 64) % 64;
	char * input = panel + PG_VECTORS * kind->panel;

	const int64_t begin = panels * ith / nth, end = panels * (ith + 1) / nth, groups = (rows + GROUP - 1) / GROUP;
	if (begin == end) {
		return;
	}
	const int64_t blocks = a->ne[0] / kind->values, chunks = (blocks + kind->deep - 1) / kind->deep;
	for (int64_t g = 0; g < groups; g++) {
		const int64_t from = rows * g / groups, tall = rows * (g + 1) / groups - from;
		for (int64_t c = 0; c < chunks; c++) {
			const int64_t first = blocks * c / chunks, deep = blocks * (c + 1) / chunks - first;
			for (int64_t r = 0; r < tall; r++) {
				kind->copy((const char *) b->data + (from + r) * b->nb[1] + ggml_row_size(b->type, first * kind->values), deep, input + r * kind->input);
			}
			for (int64_t p = begin; p < end; p++) {
				const int64_t columns = n - p * wide < wide ? n - p * wide : wide;
				for (int64_t w = 0; w < PG_VECTORS; w++) {
					const uint8_t * row[PG_LANES];
					for (int64_t l = 0; l < PG_LANES; l++) { // the last one stands in for those that there are not
						const int64_t j = w * PG_LANES + l < columns ? w * PG_LANES + l : columns - 1;
						row[l] = (const uint8_t *) a->data + (p * wide + j) * a->nb[1] + first * kind->bytes;
					}
					kind->pack(row, deep, panel + w * kind->panel);
				}
				const uint32_t mask = columns == wide ? UINT32_MAX : (UINT32_C(1) << columns) - 1;
				const char * next = (const char *) a->data + (p + 1 < end ? p + 1 : begin) * wide * a->nb[1];
				next += (p + 1 < end ? first : first + deep) * kind->bytes;
				for (int64_t r = 0; r < tall; r += PG_TALL, next += a->nb[1]) {
					for (int64_t i = 0; i < deep * kind->bytes; i += 64) { // what is unpacked next, a row for each tile
						_mm_prefetch(next + i, _MM_HINT_T1);
					}
					float * y = (float *) dst->data + (from + r) * n + p * wide;
					kind->tile(tall - r < PG_TALL ? tall - r : PG_TALL, panel, input + r * kind->input, deep, y, n, c > 0, mask);
				}
			}
		}
	}
}

struct ggml_tensor * pg_product(struct ggml_context * ctx, struct ggml_tensor * a, struct ggml_tensor * b, int threads) {
	struct ggml_tensor * args[] = {a, b};
	const int64_t n = a->ne[1], rows = ggml_nrows(b);
	if (rows == 1) {
		return ggml_custom_4d(ctx, GGML_TYPE_F32, n, 1, 1, 1, args, 2, one, GGML_N_TASKS_MAX, NULL);
	}
	// What the threads need lies behind the result.
	const int64_t more = (threads * scratch(find(a->type), rows) + sizeof(float) - 1) / sizeof(float);
	struct ggml_tensor * both = ggml_custom_4d(ctx, GGML_TYPE_F32, n * rows + more, 1, 1, 1, args, 2, many, GGML_N_TASKS_MAX, NULL);
	return ggml_view_4d(ctx, both, n, b->ne[1], b->ne[2], b->ne[3], n * sizeof(float), n * b->ne[1] * sizeof(float),
	                    n * b->ne[1] * b->ne[2] * sizeof(float), 0);
}

#else

int pg_multiplies(enum ggml_type type, int64_t k) {
	(void) type;
	(void) k;
	return 0;
}

struct ggml_tensor * pg_product(struct ggml_context * ctx, struct ggml_tensor * a, struct ggml_tensor * b, int threads) {
	(void) threads;
	return ggml_mul_mat(ctx, a, b);
}

#endif
