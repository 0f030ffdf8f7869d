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

static int64_t least(int64_t a, int64_t b) {
	return a < b ? a : b;
}

static int64_t steps(int64_t k) {
	return (k + STEP - 1) / STEP;
}

// Returns how many steps of rows of k values are multiplied at once: so many that they stay in the cache. Few rows
// meet weights that are read once, from beginning to end.
static int64_t steps_at_once(const struct matmul_type * t, int64_t rows, int64_t k) {
	return rows <= t->few ? steps(k) : least(steps(k), MC * (KC / STEP) / least(rows, MC));
}

// Returns the bytes that a thread needs for rows of k values.
static int64_t scratch_bytes(const struct matmul_type * t, int64_t rows, int64_t k) {
	return least(rows, MC) * steps_at_once(t, rows, k) * (int64_t) t->input;
}

// Brings count steps of rows of b, from those numbered row and first, into the form that products want.
static void copy_rows(const struct matmul_type * t, const struct ggml_tensor * b, int64_t row, int64_t rows,
					  int64_t first, int64_t count, char * to) {
	const char * x = (const char *) b->data + row * b->nb[1];
	for (int64_t i = first; i < first + count; i++) {
		for (int64_t r = 0; r < rows; r++, to += t->input) {
			const size_t at = ggml_row_size(b->type, i * STEP);
			t->copy(x + r * b->nb[1] + at, least(b->ne[0] - i * STEP, STEP), to);
		}
	}
}

// Multiplies rows with weights [begin, end), of which s has the first one.
static void multiply(const struct matmul_type * t, struct strip s, int64_t begin, int64_t end, int64_t rows) {
	s.a += begin * s.stride;
	s.y += begin;
	if (rows <= t->few) {
		s.columns = end - begin;
		t->dots(&s);
		return;
	}
	const int64_t nr = NR(rows <= NARROW ? 1 : 2);
	for (int64_t j = begin; j < end; j += nr, s.a += nr * s.stride, s.y += nr) {
		s.columns = least(end - j, nr);
		(rows <= NARROW ? t->narrow : t->wide)(&s);
	}
}

// Threads share the rows of weights.
static void matmul(struct ggml_tensor * dst, int ith, int nth, void * userdata) {
	(void) userdata;
	const struct ggml_tensor *a = dst->src[0], *b = dst->src[1];
	const struct matmul_type * t = find(a->type);
	const int64_t n = a->ne[1], k = a->ne[0], rows = ggml_nrows(b), strips = (n + NR(2) - 1) / NR(2);
	char * x = pg_scratch(dst, n * rows, scratch_bytes(t, rows, k), ith, &nth);
	const int64_t begin = strips * ith / nth * NR(2), end = least(strips * (ith + 1) / nth * NR(2), n);
	if (!x || begin >= end) {
		return;
	}
	const int64_t at_once = steps_at_once(t, rows, k), chunks = (steps(k) + at_once - 1) / at_once;
	const int64_t groups = (rows + MC - 1) / MC;
	for (int64_t i = 0; i < groups * chunks; i++) {
		const int64_t row = rows * (i / chunks) / groups, count = rows * (i / chunks + 1) / groups - row;
		const int64_t first = steps(k) * (i % chunks) / chunks, last = steps(k) * (i % chunks + 1) / chunks;
		copy_rows(t, b, row, count, first, last - first, x);
		struct strip s = {.stride = a->nb[1], .x = x, .rows = count, .ldy = n, .add = first > 0};
		s.a = (const uint8_t *) a->data + first * STEP / t->values * t->bytes;
		s.k = least(k, last * STEP) - first * STEP;
		s.y = (float *) dst->data + row * n;
		multiply(t, s, begin, end, rows);
	}
}

struct ggml_tensor * pg_product(struct ggml_context * ctx, struct ggml_tensor * a, struct ggml_tensor * b,
								int threads) {
	struct ggml_tensor * args[] = {a, b};
	const int64_t ne[4] = {a->ne[1], b->ne[1], b->ne[2], b->ne[3]};
	return pg_custom_with_scratch(ctx, ne, args, 2, matmul, NULL, threads,
								  scratch_bytes(find(a->type), ggml_nrows(b), a->ne[0]));
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
