#include "matmul.h"
#include "custom.h"
#include "kernels.h"

// Products with quantized weights and those of BF16, in ggml's own layout: with one row as fast as the memory
// delivers them, with many rows in tiles. Products and sums within a quantized block are whole numbers, so results
// differ from ggml's only in how blocks are summed up and rounded.
#ifdef PG_PRODUCTS

static const struct matmul_type * find(enum ggml_type type) {
	const struct matmul_type * lists[] = {pg_types_q8_K, pg_types_q8_0, pg_types_bf16};
	for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) {
		for (const struct matmul_type * t = lists[i]; t->values > 0; t++) {
			if (t->type == type) {
				return t;
			}
		}
	}
	return NULL;
}

int pg_multiplies(enum ggml_type type, int64_t k) {
	const struct matmul_type * t = find(type);
	return t && k % t->values == 0 && (int64_t) ggml_row_size(type, t->values) == t->bytes &&
		   pg_rows_type(type) == (int) t->x_type && __builtin_cpu_supports("avx512bw") &&
		   __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
		   __builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
		   __builtin_cpu_supports("f16c") && (type != GGML_TYPE_BF16 || __builtin_cpu_supports("avx512bf16"));
}

// Threads share the rows of weights.
static void gemv(struct ggml_tensor * dst, int ith, int nth, void * userdata) {
	(void) userdata;
	const struct ggml_tensor *a = dst->src[0], *b = dst->src[1];
	const struct matmul_type * t = find(a->type);
	const int64_t begin = a->ne[1] * ith / nth, end = a->ne[1] * (ith + 1) / nth;
	t->gemv(end - begin, a->ne[0] / t->values, (const uint8_t *) a->data + begin * a->nb[1], a->nb[1], b->data,
			(float *) dst->data + begin);
}

// A part of a product: a chunk of the blocks of some rows.
struct chunk {
	const struct matmul_type * t;
	const struct ggml_tensor *a, *b;
	float * y;
	int64_t n;             // rows of weights, and so values of a row of y
	int64_t row, rows;     // the first and how many, MC at most
	int64_t first, blocks; // the first and how many, KC at most
	char *panel, *input;   // scratch
};

// Returns the bytes that a thread needs for a number of rows.
static int64_t scratch_bytes(const struct matmul_type * t, int64_t rows) {
	return NV * t->panel + (rows < MC ? rows : MC) * t->input;
}

static const uint8_t * weights(const struct chunk * c, int64_t row) {
	return (const uint8_t *) c->a->data + row * c->a->nb[1] + c->first * c->t->bytes;
}

// Brings the rows into the form for tiles.
static void copy_rows(const struct chunk * c) {
	const size_t offset = ggml_row_size(c->b->type, c->first * c->t->values);
	for (int64_t r = 0; r < c->rows; r++) {
		const char * x = (const char *) c->b->data + (c->row + r) * c->b->nb[1] + offset;
		c->t->copy(x, c->blocks, c->input + r * c->t->input);
	}
}

// Unpacks the weights of columns of y, NR at most; the last row stands in for those that are missing.
static void pack_panel(const struct chunk * c, int64_t column, int64_t columns) {
	for (int64_t w = 0; w < NV; w++) {
		const uint8_t * row[LANES];
		for (int64_t l = 0; l < LANES; l++) {
			const int64_t j = w * LANES + l < columns ? w * LANES + l : columns - 1;
			row[l] = weights(c, column + j);
		}
		c->t->pack(row, c->blocks, c->panel + w * c->t->panel);
	}
}

// Multiplies the rows with the panel, and asks for what is unpacked next, a row of weights for each tile.
static void multiply_panel(const struct chunk * c, int64_t column, int64_t columns, const uint8_t * next) {
	const uint32_t mask = columns == NR ? UINT32_MAX : (UINT32_C(1) << columns) - 1;
	for (int64_t r = 0; r < c->rows; r += MR, next += c->a->nb[1]) {
		for (int64_t i = 0; i < c->blocks * c->t->bytes; i += CACHE_LINE) {
			_mm_prefetch((const char *) next + i, _MM_HINT_T1);
		}
		c->t->tile(c->rows - r < MR ? c->rows - r : MR, c->panel, c->input + r * c->t->input, c->blocks,
				   c->y + (c->row + r) * c->n + column, c->n, c->first > 0, mask);
	}
}

// Threads share the panels.
static void gemm(struct ggml_tensor * dst, int ith, int nth, void * userdata) {
	(void) userdata;
	const struct ggml_tensor *a = dst->src[0], *b = dst->src[1];
	const struct matmul_type * t = find(a->type);
	struct chunk c = {.t = t, .a = a, .b = b, .y = dst->data, .n = a->ne[1]};
	const int64_t rows = ggml_nrows(b), panels = (c.n + NR - 1) / NR, groups = (rows + MC - 1) / MC;
	const int64_t blocks = a->ne[0] / t->values, chunks = (blocks + t->kc - 1) / t->kc;
	c.panel = pg_scratch(dst, c.n * rows, scratch_bytes(t, rows), ith, &nth);
	const int64_t begin = panels * ith / nth, end = panels * (ith + 1) / nth;
	if (!c.panel || begin == end) {
		return;
	}
	c.input = c.panel + NV * t->panel;
	for (int64_t i = 0; i < groups * chunks; i++) {
		c.row = rows * (i / chunks) / groups;
		c.rows = rows * (i / chunks + 1) / groups - c.row;
		c.first = blocks * (i % chunks) / chunks;
		c.blocks = blocks * (i % chunks + 1) / chunks - c.first;
		copy_rows(&c);
		for (int64_t p = begin; p < end; p++) {
			const int64_t columns = c.n - p * NR < NR ? c.n - p * NR : NR;
			const uint8_t * next =
				p + 1 < end ? weights(&c, (p + 1) * NR) : weights(&c, begin * NR) + c.blocks * t->bytes;
			pack_panel(&c, p * NR, columns);
			multiply_panel(&c, p * NR, columns, next);
		}
	}
}

struct ggml_tensor * pg_product(struct ggml_context * ctx, struct ggml_tensor * a, struct ggml_tensor * b,
								int threads) {
	struct ggml_tensor * args[] = {a, b};
	const int64_t ne[4] = {a->ne[1], b->ne[1], b->ne[2], b->ne[3]}, rows = ggml_nrows(b);
	if (rows == 1) {
		return ggml_custom_4d(ctx, GGML_TYPE_F32, ne[0], 1, 1, 1, args, 2, gemv, GGML_N_TASKS_MAX, NULL);
	}
	return pg_custom_with_scratch(ctx, ne, args, 2, gemm, NULL, threads, scratch_bytes(find(a->type), rows));
}

#else

int pg_multiplies(enum ggml_type type, int64_t k) {
	(void) type;
	(void) k;
	return 0;
}

struct ggml_tensor * pg_product(struct ggml_context * ctx, struct ggml_tensor * a, struct ggml_tensor * b,
								int threads) {
	(void) threads;
	return ggml_mul_mat(ctx, a, b);
}

#endif
