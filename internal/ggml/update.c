#ifndef ISA
#include "update.h"
#include "custom.h"
#include "kernels.h"
#include "rows.h"
#include "team.h"

#define FEW 16  // as many rows meet factors that are read once; more rows are read once themselves
#define RANKS 4 // products of a row that are computed together

// Rows of floats, ld of them from one to the next.
struct rows {
	const float * at;
	int64_t ld;
};

#define KERNEL "update.c"
#include "foreach_isa.h"

static struct rows rows_from(const struct ggml_tensor * t, int64_t i) {
	const int64_t ld = (int64_t) (t->nb[1] / sizeof(float));
	return (struct rows) {(const float *) t->data + i * ld, ld};
}

// Computes t = A·x for the factors A in src[0] and the rows x in src[1].
static void project(struct ggml_tensor * dst, int ith, int nth, void * userdata) {
	const struct ggml_tensor *a = dst->src[0], *x = dst->src[1];
	const int64_t ranks = a->ne[1], rows = x->ne[1], n = a->ne[0];
	if (pg_together(project, dst, userdata, (ranks + rows) * n)) {
		return;
	}
	const bool few = rows <= FEW;
	const int64_t group = few ? rows : FEW / 2; // that factors stay in the cache for
	for (struct parts p = pg_parts(few ? ranks : rows, ith, nth); pg_next(&p);) {
		const int64_t rank = few ? p.from : 0, last = few ? rows : p.to;
		for (int64_t row = few ? 0 : p.from; row < last; row += group) {
			DISPATCH(project)(n, rows_from(x, row), least(group, last - row), rows_from(a, rank),
							  few ? p.to - rank : ranks, (float *) dst->data + row * ranks + rank, ranks);
		}
	}
}

// Returns where products begin behind rows: at a cache line.
static float * projections_at(const struct ggml_tensor * all, int64_t rows) {
	char * end = (char *) all->data + rows * all->nb[1];
	return (float *) (end + (CACHE_LINE - (uintptr_t) end % CACHE_LINE) % CACHE_LINE);
}

static int64_t blocks_of(int64_t n) {
	return (n + PROJECTED - 1) / PROJECTED;
}

int64_t pg_projection_rows(enum ggml_type type, int64_t n, int64_t rows, const struct ggml_tensor * a) {
	const int64_t bytes = (int64_t) ggml_row_size(type, n);
	return a ? (rows * blocks_of(n) * a->ne[1] * (int64_t) sizeof(float) + CACHE_LINE + bytes - 1) / bytes : 0;
}

struct projection pg_projection_of(const struct ggml_tensor * dst) {
	const int64_t rows = dst->src[0]->ne[1];
	if (dst->ne[1] == rows) {
		return (struct projection) {0};
	}
	int last = 0;
	while (last + 1 < GGML_MAX_SRC && dst->src[last + 1]) {
		last++;
	}
	return (struct projection) {dst->src[last], projections_at(dst, rows), blocks_of(dst->ne[0])};
}

void pg_project_block(const struct projection * p, int64_t row, int64_t rows, int64_t from, int64_t count,
					  const float * x, int64_t ldx) {
	const int64_t ranks = p->a->ne[1], ldt = p->blocks * ranks;
	struct rows a = rows_from(p->a, 0);
	a.at += from;
	DISPATCH(project)
	(count, (struct rows) {x, ldx}, rows, a, ranks, p->to + row * ldt + from / PROJECTED * ranks, ldt);
}

// Sums up the products behind the rows in src[0], block after block.
static void sum_projections(struct ggml_tensor * dst, int ith, int nth, void * userdata) {
	const int64_t ranks = dst->ne[0], rows = dst->ne[1], blocks = blocks_of(dst->src[0]->ne[0]);
	if (pg_together(sum_projections, dst, userdata, rows * blocks * ranks)) {
		return;
	}
	const float * all = projections_at(dst->src[0], rows);
	for (struct parts p = pg_parts(rows, ith, nth); pg_next(&p);) {
		for (int64_t i = p.from; i < p.to; i++) {
			DISPATCH(sum_blocks)(blocks, ranks, all + i * blocks * ranks, (float *) dst->data + i * ranks);
		}
	}
}

struct ggml_tensor * pg_sum_projections(struct ggml_context * ctx, struct ggml_tensor * rows, struct ggml_tensor * a,
										int64_t n_rows) {
	struct ggml_tensor * args[] = {rows};
	return ggml_custom_4d(ctx, GGML_TYPE_F32, a->ne[1], n_rows, 1, 1, args, 1, sum_projections, GGML_N_TASKS_MAX, NULL);
}

struct update pg_update_of(const struct ggml_tensor * dst, int i) {
	struct update u = {dst->src[i], dst->src + i + 1, 0};
	while (i + 1 + u.parts < GGML_MAX_SRC && u.b[u.parts]) {
		u.parts++;
	}
	return u;
}

void pg_fetch_update(const struct update * u, int64_t from, int64_t to) {
	for (int64_t i = 0, begin = 0; i < u->parts; begin += u->b[i]->ne[0], i++) {
		const struct rows columns = rows_from(u->b[i], 0);
		const int64_t first = from > begin ? from - begin : 0, last = least(to - begin, u->b[i]->ne[0]);
		for (int64_t k = 0; k < u->b[i]->ne[1]; k++) {
			for (int64_t j = first; j < last; j += LINE) {
				__builtin_prefetch(columns.at + k * columns.ld + j, 0, 2);
			}
		}
	}
}

// Adds what some rows t get by the parts b of an update to their results [from, to).
static void add_parts(struct rows t, int64_t rows, const struct ggml_tensor * const * parts, int64_t n, int64_t from,
					  int64_t to, float * y, int64_t ldy) {
	for (int64_t i = 0, at = from, begin = 0; i < n && at < to; i++) {
		const struct ggml_tensor * b = parts[i];
		const int64_t end = least(to, begin + b->ne[0]);
		if (at < end) {
			struct rows columns = rows_from(b, 0);
			columns.at += at - begin;
			DISPATCH(expand)(end - at, b->ne[1], t, rows, columns, y + at - from, ldy);
			at = end;
		}
		begin += b->ne[0];
		t.at += b->ne[1];
	}
}

void pg_add_update(const struct update * u, int64_t row, int64_t rows, int64_t from, int64_t to, float * y,
				   int64_t ldy) {
	add_parts(rows_from(u->t, row), rows, (const struct ggml_tensor * const *) u->b, u->parts, from, to, y, ldy);
}

// Adds the update in src[1] and those after it to the results that dst shares with src[0].
static void add_update(struct ggml_tensor * dst, int ith, int nth, void * userdata) {
	if (pg_together(add_update, dst, userdata, ggml_nelements(dst))) {
		return;
	}
	const struct update u = pg_update_of(dst, 1);
	const int64_t n = dst->ne[0], rows = dst->ne[1], strip = rows <= FEW ? 4 * LINE : 32 * LINE;
	for (struct parts p = pg_parts((n + strip - 1) / strip, ith, nth); pg_next(&p);) {
		const int64_t from = p.from * strip, to = least(n, p.to * strip);
		pg_add_update(&u, 0, rows, from, to, (float *) dst->data + from, n);
	}
}

// Computes t = A·x for some rows x and ranks of A, block by block where these are added up so.
static void project_some(int64_t n, struct rows x, int64_t rows, struct rows a, int64_t ranks, bool blocks, float * t,
						 int64_t ldt) {
	if (!blocks) {
		DISPATCH(project)(n, x, rows, a, ranks, t, ldt);
		return;
	}
	float part[FEW * RANKS];
	for (int64_t row = 0; row < rows; row++) {
		memset(t + row * ldt, 0, ranks * sizeof(float));
	}
	for (int64_t from = 0; from < n; from += PROJECTED) {
		const int64_t width = least(n - from, PROJECTED);
		DISPATCH(project)(width, (struct rows) {x.at + from, x.ld}, rows, (struct rows) {a.at + from, a.ld}, ranks, part,
						  ranks);
		for (int64_t row = 0; row < rows; row++) {
			for (int64_t k = 0; k < ranks; k++) {
				t[row * ldt + k] += part[row * ranks + k];
			}
		}
	}
}

// Computes t = A·x for the rows x in src[0], of ranks [from, to) of each group.
static void project_ranks(struct ggml_tensor * dst, const struct update_groups * g, int64_t from, int64_t to) {
	const struct ggml_tensor * x = dst->src[0];
	for (int64_t i = 0, row = 0; i < g->n; row = g->group[i++].end) {
		const struct update_group * u = g->group + i;
		const int64_t end = u->a ? least(to, u->a->ne[1]) : 0;
		for (int64_t at = row; at < u->end && from < end; at += FEW) {
			for (int64_t rank = from; rank < end; rank += RANKS) {
				project_some(x->ne[0], rows_from(x, at), least(FEW, u->end - at), rows_from(u->a, rank),
							 least(RANKS, end - rank), u->blocks, (float *) dst->data + at * dst->ne[0] + rank,
							 dst->ne[0]);
			}
		}
	}
}

static void project_groups(struct ggml_tensor * dst, int ith, int nth, void * userdata) {
	if (pg_together(project_groups, dst, userdata, ggml_nelements(dst->src[0]) * dst->ne[0])) {
		return;
	}
	for (struct parts p = pg_parts(dst->ne[0], ith, nth); pg_next(&p);) {
		project_ranks(dst, userdata, p.from, p.to);
	}
}

// Adds the update of each group, of which src[1] has A·x, to results [from, to) of its rows.
static void add_groups(struct ggml_tensor * dst, const struct update_groups * g, int64_t from, int64_t to) {
	for (int64_t i = 0, row = 0; i < g->n; row = g->group[i++].end) {
		const struct update_group * u = g->group + i;
		struct rows t = rows_from(dst->src[1], row);
		t.at += u->first;
		add_parts(t, u->end - row, u->b, u->parts, from, to, (float *) dst->data + row * dst->ne[0] + from, dst->ne[0]);
	}
}

static void update_groups(struct ggml_tensor * dst, int ith, int nth, void * userdata) {
	if (pg_together(update_groups, dst, userdata, ggml_nelements(dst))) {
		return;
	}
	const int64_t n = dst->ne[0], strip = 4 * LINE;
	for (struct parts p = pg_parts((n + strip - 1) / strip, ith, nth); pg_next(&p);) {
		add_groups(dst, userdata, p.from * strip, least(n, p.to * strip));
	}
}

struct ggml_tensor * pg_project(struct ggml_context * ctx, struct ggml_tensor * a, struct ggml_tensor * x) {
	struct ggml_tensor * args[] = {a, x};
	return ggml_custom_4d(ctx, GGML_TYPE_F32, a->ne[1], x->ne[1], 1, 1, args, 2, project, GGML_N_TASKS_MAX, NULL);
}

struct ggml_tensor * pg_update(struct ggml_context * ctx, struct ggml_tensor * y, struct ggml_tensor ** update,
							   int n_update) {
	return ggml_custom_inplace(ctx, y, update, n_update, add_update, GGML_N_TASKS_MAX, NULL);
}

struct ggml_tensor * pg_project_groups(struct ggml_context * ctx, struct ggml_tensor * x,
									   struct update_groups * groups) {
	struct ggml_tensor * args[] = {x};
	return ggml_custom_4d(ctx, GGML_TYPE_F32, groups->ranks, x->ne[1], 1, 1, args, 1, project_groups, GGML_N_TASKS_MAX,
						  groups);
}

struct ggml_tensor * pg_update_groups(struct ggml_context * ctx, struct ggml_tensor * y, struct ggml_tensor * t,
									  struct update_groups * groups) {
	return ggml_custom_inplace(ctx, y, &t, 1, update_groups, GGML_N_TASKS_MAX, groups);
}

// --- for each instruction set -----------------------------------------------

#else

typedef float FN(vec) __attribute__((vector_size(ISA_FLOATS * sizeof(float)), aligned(4), may_alias));

typedef float FN(four) __attribute__((vector_size(4 * sizeof(float))));

#define MR (ISA_FLOATS == 16 ? 4 : 2) // rows that meet factors at once

// Loads n numbers, and zeros.
INLINE void FN(load_some)(FN(vec) * v, const float * p, int64_t n) {
	*v = (FN(vec)) {0};
	memcpy(v, p, n * sizeof(float));
}

// Returns the sum of all numbers.
INLINE float FN(total)(FN(vec) v) {
	FN(four) part[ISA_FLOATS / 4];
	memcpy(part, &v, sizeof v);
	for (int n = ISA_FLOATS / 8; n > 0; n /= 2) {
		for (int i = 0; i < n; i++) {
			part[i] += part[i + n];
		}
	}
	return (part[0][0] + part[0][2]) + (part[0][1] + part[0][3]);
}

// Computes the products of some rows with some factors. Each is summed up in the same order whatever it is computed
// with.
INLINE void FN(dots)(int64_t n, struct rows x, const int rows, struct rows a, const int ranks, float * t, int64_t ldt) {
	FN(vec) sum[MR][RANKS];
	for (int r = 0; r < rows; r++) {
		for (int k = 0; k < ranks; k++) {
			sum[r][k] = (FN(vec)) {0};
		}
	}
	int64_t i = 0;
	for (; i + ISA_FLOATS <= n; i += ISA_FLOATS) {
		for (int k = 0; k < ranks; k++) {
			const FN(vec) v = *(const FN(vec) *) (a.at + k * a.ld + i);
			for (int r = 0; r < rows; r++) {
				sum[r][k] += *(const FN(vec) *) (x.at + r * x.ld + i) * v;
			}
		}
	}
	for (int r = 0; r < rows; r++) {
		for (int k = 0; k < ranks; k++) {
			FN(vec) u, v;
			FN(load_some)(&u, x.at + r * x.ld + i, n - i);
			FN(load_some)(&v, a.at + k * a.ld + i, n - i);
			t[r * ldt + k] = FN(total)(sum[r][k] + u * v);
		}
	}
}

INLINE void FN(dots_of)(int64_t n, struct rows x, int64_t rows, struct rows a, const int ranks, float * t,
						int64_t ldt) {
	for (; rows >= MR; rows -= MR, x.at += MR * x.ld, t += MR * ldt) {
		FN(dots)(n, x, MR, a, ranks, t, ldt);
	}
	for (; rows > 0; rows--, x.at += x.ld, t += ldt) {
		FN(dots)(n, x, 1, a, ranks, t, ldt);
	}
}

// t [rows, ranks] = x [rows, n] · Aᵀ, A [ranks, n].
static void FN(project)(int64_t n, struct rows x, int64_t rows, struct rows a, int64_t ranks, float * t, int64_t ldt) {
	for (; ranks >= RANKS; ranks -= RANKS, a.at += RANKS * a.ld, t += RANKS) {
		FN(dots_of)(n, x, rows, a, RANKS, t, ldt);
	}
	for (; ranks > 0; ranks--, a.at += a.ld, t++) {
		FN(dots_of)(n, x, rows, a, 1, t, ldt);
	}
}

static void FN(sum_blocks)(int64_t blocks, int64_t ranks, const float * restrict from, float * restrict t) {
	memset(t, 0, ranks * sizeof(float));
	for (int64_t i = 0; i < blocks; i++, from += ranks) {
		for (int64_t k = 0; k < ranks; k++) {
			t[k] += from[k];
		}
	}
}

// Adds to some rows of a few vectors of results.
INLINE void FN(add_block)(int64_t ranks, struct rows t, const int rows, struct rows b, float * y, int64_t ldy,
						  const int vectors) {
	FN(vec) sum[MR][2];
	for (int r = 0; r < rows; r++) {
		for (int j = 0; j < vectors; j++) {
			sum[r][j] = *(const FN(vec) *) (y + r * ldy + j * ISA_FLOATS);
		}
	}
	for (int64_t k = 0; k < ranks; k++) {
		for (int j = 0; j < vectors; j++) {
			const FN(vec) v = *(const FN(vec) *) (b.at + k * b.ld + j * ISA_FLOATS);
			for (int r = 0; r < rows; r++) {
				sum[r][j] += t.at[r * t.ld + k] * v;
			}
		}
	}
	for (int r = 0; r < rows; r++) {
		for (int j = 0; j < vectors; j++) {
			*(FN(vec) *) (y + r * ldy + j * ISA_FLOATS) = sum[r][j];
		}
	}
}

INLINE void FN(add_rows)(int64_t n, int64_t ranks, struct rows t, const int rows, struct rows b, float * y,
						 int64_t ldy) {
	int64_t i = 0;
	for (; i + 2 * ISA_FLOATS <= n; i += 2 * ISA_FLOATS, b.at += 2 * ISA_FLOATS) {
		FN(add_block)(ranks, t, rows, b, y + i, ldy, 2);
	}
	for (; i + ISA_FLOATS <= n; i += ISA_FLOATS, b.at += ISA_FLOATS) {
		FN(add_block)(ranks, t, rows, b, y + i, ldy, 1);
	}
	for (int r = 0; r < rows && i < n; r++) {
		FN(vec) sum, v;
		FN(load_some)(&sum, y + r * ldy + i, n - i);
		for (int64_t k = 0; k < ranks; k++) {
			FN(load_some)(&v, b.at + k * b.ld, n - i);
			sum += t.at[r * t.ld + k] * v;
		}
		memcpy(y + r * ldy + i, &sum, (n - i) * sizeof(float));
	}
}

// y [rows, n] += t [rows, ranks] · Bᵀ, b being B's columns [ranks, n].
static void FN(expand)(int64_t n, int64_t ranks, struct rows t, int64_t rows, struct rows b, float * y, int64_t ldy) {
	for (; rows >= MR; rows -= MR, t.at += MR * t.ld, y += MR * ldy) {
		FN(add_rows)(n, ranks, t, MR, b, y, ldy);
	}
	for (; rows > 0; rows--, t.at += t.ld, y += ldy) {
		FN(add_rows)(n, ranks, t, 1, b, y, ldy);
	}
}

#undef MR
#endif
