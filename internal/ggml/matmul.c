#include "matmul.h"
#include "custom.h"
#include "kernels.h"
#include "team.h"
#include "update.h"

// Products with quantized weights and those of BF16, in ggml's own layout: with one row as fast as the memory
// delivers them, with many rows in tiles. Products and sums within a quantized block are whole numbers, so results
// differ from ggml's only in how blocks are summed up and rounded.
#ifdef PG_PRODUCTS

static const struct matmul_type * find(enum ggml_type type) {
	const struct matmul_type * const * lists[] = {pg_types_q8_K, pg_types_q8_0, pg_types_bf16};
	for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) {
		for (const struct matmul_type * const * t = lists[i]; *t; t++) {
			if ((*t)->type == type) {
				return *t;
			}
		}
	}
	return NULL;
}

int pg_multiplies(enum ggml_type type, int64_t k) {
	const struct matmul_type * t = find(type);
	return t && k % t->values == 0 && (int64_t) ggml_row_size(type, t->values) == t->bytes &&
		   pg_rows_type(type) == (int) t->x_type && isa_level() >= (type == GGML_TYPE_BF16 ? ISA_BF16 : ISA_VNNI);
}

static int64_t steps(int64_t k) {
	return (k + STEP - 1) / STEP;
}

// Returns how many steps of rows of k values are multiplied at once: as many as stay in the cache. Few rows
// meet weights that are read once, from beginning to end.
static int64_t steps_at_once(const struct matmul_type * t, int64_t rows, int64_t k) {
	return rows <= t->few ? steps(k) : least(steps(k), MC * (KC / STEP) / least(rows, MC));
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

// A product, and the form that products want b in.
struct product {
	const struct matmul_type * t;
	const struct ggml_tensor *a, *b;
	struct ggml_tensor * y;
	int64_t n, k, rows, groups; // groups of rows, MC at most
	int64_t at_once, chunks;    // steps that are multiplied at once, and how often
	struct update update;       // of y
};

// Multiplies rows with weights [begin, end), of which s has the first one. Those at then come after them.
static void multiply(const struct product * p, struct strip s, int64_t begin, int64_t end, const uint8_t * then) {
	const bool few = p->rows <= p->t->few, narrow = p->rows <= NARROW;
	const int64_t step = few ? end - begin : NR(narrow ? 1 : 2);
	s.a += begin * s.stride;
	s.y += begin;
	if (few && s.update) {
		pg_fetch_update(s.update, begin, end);
	}
	for (s.column = begin; s.column < end; s.column += step, s.a += step * s.stride, s.y += step) {
		s.columns = least(end - s.column, step);
		s.then = end - s.column > step ? s.a + step * s.stride : then;
		(few ? p->t->dots : narrow ? p->t->narrow : p->t->wide)(&s);
	}
}

static struct product product_of(struct ggml_tensor * y, const struct ggml_tensor * a, const struct ggml_tensor * b) {
	struct product p = {.t = find(a->type), .a = a, .b = b, .y = y, .n = a->ne[1], .k = a->ne[0], .rows = ggml_nrows(b)};
	p.groups = (p.rows + MC - 1) / MC;
	p.at_once = steps_at_once(p.t, p.rows, p.k);
	p.chunks = (steps(p.k) + p.at_once - 1) / p.at_once;
	return p;
}

// Returns the bytes of all rows as copy makes them.
static int64_t packed_bytes(const struct product * p) {
	return p->rows * steps(p->k) * (int64_t) p->t->input;
}

// Returns where a tensor that pack writes begins: at a cache line.
static char * packed_at(const struct ggml_tensor * t) {
	return (char *) t->data + (CACHE_LINE - (uintptr_t) t->data % CACHE_LINE) % CACHE_LINE;
}

static int64_t first_row(const struct product * p, int64_t group) {
	return p->rows * group / p->groups;
}

// Returns where step first of weights i begins.
static const uint8_t * weights_at(const struct product * p, int64_t i, int64_t first) {
	return (const uint8_t *) p->a->data + i * p->a->nb[1] + first * STEP / p->t->values * p->t->bytes;
}

// Multiplies the rows of a group, brought into form at x, with weights [begin, end). Those from then on come after them.
static void multiply_group(const struct product * p, int64_t group, const char * x, int64_t begin, int64_t end,
						   int64_t then) {
	const int64_t row = first_row(p, group), rows = first_row(p, group + 1) - row;
	for (int64_t i = 0; i < p->chunks; i++) {
		const int64_t first = steps(p->k) * i / p->chunks, last = steps(p->k) * (i + 1) / p->chunks;
		struct strip s = {.stride = p->a->nb[1], .row = row, .rows = rows, .ldy = p->n, .add = first > 0};
		s.x = x + first * rows * (int64_t) p->t->input;
		s.a = weights_at(p, 0, first);
		s.k = least(p->k, last * STEP) - first * STEP;
		s.y = (float *) p->y->data + row * p->n;
		s.update = p->update.t && i == p->chunks - 1 ? &p->update : NULL;
		multiply(p, s, begin, end, i < p->chunks - 1 ? weights_at(p, begin, last) : weights_at(p, then, 0));
	}
}

// Brings all rows into form, a group after the other.
static void pack(struct ggml_tensor * dst, int ith, int nth, void * userdata) {
	const struct product p = product_of(NULL, dst->src[0], dst->src[1]);
	if (pg_together(pack, dst, userdata, p.rows * p.k)) {
		return;
	}
	const int64_t all = steps(p.k);
	for (struct parts part = pg_parts(p.groups * all, ith, nth); pg_next(&part);) {
		for (int64_t i = part.from; i < part.to; i++) {
			const int64_t row = first_row(&p, i / all), rows = first_row(&p, i / all + 1) - row;
			char * to = packed_at(dst) + (row * all + i % all * rows) * (int64_t) p.t->input;
			copy_rows(p.t, p.b, row, rows, i % all, 1, to);
		}
	}
}

// Multiplies many rows, which src[2] holds as pack makes them.
static void gemm(struct ggml_tensor * dst, int ith, int nth, void * userdata) {
	struct product p = product_of(dst, dst->src[0], dst->src[1]);
	p.update = pg_update_of(dst, 3);
	if (pg_together(gemm, dst, userdata, p.n * p.k)) {
		return;
	}
	const int64_t strips = (p.n + NR(2) - 1) / NR(2);
	for (struct parts part = pg_parts(p.groups * strips, ith, nth); pg_next(&part);) {
		const int64_t next = pg_peek(&part);
		for (int64_t i = part.from, to; i < part.to; i = to) {
			const int64_t group = i / strips;
			to = least(part.to, (group + 1) * strips);
			const char * x = packed_at(dst->src[2]) + first_row(&p, group) * steps(p.k) * (int64_t) p.t->input;
			multiply_group(&p, group, x, i % strips * NR(2), least((to - group * strips) * NR(2), p.n),
						   (to < part.to ? to : next) % strips * NR(2));
		}
	}
}

// Multiplies few rows, which each thread brings into form.
static void gemv(struct ggml_tensor * dst, int ith, int nth, void * userdata) {
	struct product p = product_of(dst, dst->src[0], dst->src[1]);
	p.update = pg_update_of(dst, 2);
	if (pg_together(gemv, dst, userdata, p.n * p.k)) {
		return;
	}
	char * x = pg_scratch(dst, p.n * p.rows, packed_bytes(&p), ith, &nth);
	if (!x) {
		return;
	}
	bool packed = false;
	for (struct parts part = pg_parts((p.n + NR(2) - 1) / NR(2), ith, nth); pg_next(&part);) {
		if (!packed) {
			copy_rows(p.t, p.b, 0, p.rows, 0, steps(p.k), x);
			packed = true;
		}
		multiply_group(&p, 0, x, part.from * NR(2), least(part.to * NR(2), p.n), pg_peek(&part) * NR(2));
	}
}

struct ggml_tensor * pg_product(struct ggml_context * ctx, struct ggml_tensor * a, struct ggml_tensor * b, int threads,
								struct ggml_tensor ** update, int n_update) {
	const struct product p = product_of(NULL, a, b);
	struct ggml_tensor * args[GGML_MAX_SRC] = {a, b};
	const int64_t ne[4] = {a->ne[1], b->ne[1], b->ne[2], b->ne[3]};
	int n = 2;
	if (p.rows > NARROW) {
		args[n++] = ggml_custom_4d(ctx, GGML_TYPE_I8, packed_bytes(&p) + CACHE_LINE, 1, 1, 1, args, 2, pack,
								   GGML_N_TASKS_MAX, NULL);
	}
	memcpy(args + n, update, n_update * sizeof *update);
	n += n_update;
	if (p.rows <= NARROW) {
		return pg_custom_with_scratch(ctx, ne, args, n, gemv, NULL, threads, packed_bytes(&p));
	}
	return ggml_custom_4d(ctx, GGML_TYPE_F32, ne[0], ne[1], ne[2], ne[3], args, n, gemm, GGML_N_TASKS_MAX, NULL);
}

#else

int pg_multiplies(enum ggml_type type, int64_t k) {
	(void) type;
	(void) k;
	return 0;
}

struct ggml_tensor * pg_product(struct ggml_context * ctx, struct ggml_tensor * a, struct ggml_tensor * b, int threads,
								struct ggml_tensor ** update, int n_update) {
	(void) threads;
	struct ggml_tensor * y = ggml_mul_mat(ctx, a, b);
	return n_update > 0 ? pg_update(ctx, y, update, n_update) : y;
}

#endif
