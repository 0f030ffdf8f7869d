#ifndef ISA
#include "cells.h"
#include "custom.h"
#include "isa.h"
#include "kernels.h"
#include "team.h"

#include "ggml-cpu.h"

#define KERNEL "rotate.c"
#include "foreach_isa.h"

static const float * head_of(const struct ggml_tensor * t, int64_t head, int64_t token) {
	return (const float *) ((const char *) t->data + head * t->nb[1] + token * t->nb[2]);
}

// Returns the run whose cells end with the part's tokens.
static const struct cell_run * last_run(const struct cell_part * p) {
	return &p->runs[p->runs[1].n > 0];
}

// Writes rows [from, to): heads of tokens.
static void append_rows(struct ggml_tensor * dst, const struct cell_part * p, int64_t from, int64_t to) {
	const struct ggml_tensor *q = dst->src[0], *k = dst->src[1], *v = dst->src[2], *table = dst->src[3];
	const int64_t d = dst->ne[0], heads = q->ne[1], kv = k->ne[1], each = heads + 2 * kv;
	for (int64_t i = from; i < to; i++) {
		const int64_t token = i / each, head = i % each;
		while (token >= p->first + p->tokens) {
			p++;
		}
		const struct cell_run * run = last_run(p);
		const int64_t cell = run->n - p->tokens + token - p->first;
		if (head >= heads + kv) {
			const int64_t h = head - heads - kv;
			ggml_cpu_fp32_to_fp16(head_of(v, h, token), run->values + (cell * kv + h) * d, d);
			continue;
		}
		const float * x = head < heads ? head_of(q, head, token) : head_of(k, head - heads, token);
		const float * cosines = (const float *) table->data + token * d;
		float * y = (float *) dst->data + (token * (heads + kv) + head) * d;
		DISPATCH(rotate)(d / 2, y, x, cosines, cosines + d / 2);
		if (head >= heads) {
			ggml_cpu_fp32_to_fp16(y, run->keys + (cell * kv + head - heads) * d, d);
		}
	}
}

// Threads share the heads of all tokens.
static void append(struct ggml_tensor * dst, int ith, int nth, void * userdata) {
	const int64_t rows = dst->ne[2] * (dst->src[0]->ne[1] + 2 * dst->src[1]->ne[1]);
	if (pg_together(append, dst, userdata, rows * dst->ne[0])) {
		return;
	}
	const struct cell_parts * all = userdata;
	for (struct parts p = pg_parts(rows, ith, nth); pg_next(&p);) {
		append_rows(dst, all->parts, p.from, p.to);
	}
}

struct ggml_tensor * pg_append(struct ggml_context * ctx, struct ggml_tensor * q, struct ggml_tensor * k,
							   struct ggml_tensor * v, struct ggml_tensor * table, struct cell_parts * parts) {
	struct ggml_tensor * args[] = {q, k, v, table};
	return ggml_custom_4d(ctx, GGML_TYPE_F32, q->ne[0], q->ne[1] + k->ne[1], q->ne[2], 1, args, 4, append,
						  GGML_N_TASKS_MAX, parts);
}

// --- for each instruction set -----------------------------------------------

#else

// Rotates pairs (i, n + i) of x.
static void FN(rotate)(int64_t n, float * restrict y, const float * restrict x, const float * restrict cosines,
					   const float * restrict sines) {
	for (int64_t i = 0; i < n; i++) {
		y[i] = x[i] * cosines[i] - x[n + i] * sines[i];
	}
	for (int64_t i = 0; i < n; i++) {
		y[n + i] = x[i] * sines[i] + x[n + i] * cosines[i];
	}
}

#endif
