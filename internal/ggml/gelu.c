#ifndef ISA
#include "custom.h"
#include "kernels.h"
#include "rows.h"
#include "team.h"
#include "update.h"

#define KERNEL "gelu.c"
#include "foreach_isa.h"

#define GROUP 8
#define GEGLU_PART 1024 // values of a row that are dealt out at once

void pg_gelu(struct ggml_tensor * dst, int ith, int nth, void * userdata) {
	if (pg_together(pg_gelu, dst, userdata, ggml_nelements(dst))) {
		return;
	}
	// Parts begin at cache lines.
	const int64_t n = ggml_nelements(dst), lines = (n + LINE - 1) / LINE;
	for (struct parts p = pg_parts(lines, ith, nth); pg_next(&p);) {
		const int64_t from = p.from * LINE, end = p.to * LINE, to = end > n ? n : end;
		DISPATCH(gelu)(to - from, (float *) dst->data + from, (const float *) dst->src[0]->data + from);
	}
}

// Two operands of a function of each value.
struct pair {
	const float *x, *y;
};

static void fill_geglu(float * y, int64_t from, int64_t count, const void * args) {
	const struct pair * p = args;
	DISPATCH(geglu)(count, y, p->x + from, p->y + from);
}

static void fill_gelu_bias(float * y, int64_t from, int64_t count, const void * args) {
	const struct pair * p = args;
	DISPATCH(gelu_bias)(count, y, p->x + from, p->y + from);
}

void pg_geglu(struct ggml_tensor * dst, int ith, int nth, void * userdata) {
	if (pg_together(pg_geglu, dst, userdata, ggml_nelements(dst))) {
		return;
	}
	const struct ggml_tensor *gate = dst->src[0], *up = dst->src[1];
	// Parts of rows are dealt out, since there may be one row only.
	const int64_t n = gate->ne[0], part = dst->type == GGML_TYPE_F32 ? GEGLU_PART : QK_K;
	// Rows that are multiplied by factors meet the same of them, GROUP rows one after the other.
	const int64_t parts = (dst->ne[0] + part - 1) / part, all = ggml_nrows(gate) * parts;
	const int64_t group = pg_projection_of(dst).a ? GROUP : 1;
	for (struct parts p = pg_parts(all, ith, nth); pg_next(&p);) {
		for (int64_t i = p.from; i < p.to; i++) {
			const int64_t first = i / (group * parts) * group, rows = least(group, ggml_nrows(gate) - first);
			const int64_t at = i - first * parts, row = first + at % rows, from = at / rows * part;
			const int64_t left = dst->ne[0] - from;
			const struct pair args = {(const float *) gate->data + row * n, (const float *) up->data + row * n};
			pg_write_row(dst, row, from, from + (left > part ? part : left), n, fill_geglu, &args);
		}
	}
}

void pg_gelu_bias(struct ggml_tensor * dst, int ith, int nth, void * userdata) {
	if (pg_together(pg_gelu_bias, dst, userdata, ggml_nelements(dst))) {
		return;
	}
	const int64_t n = dst->src[0]->ne[0], rows = ggml_nrows(dst->src[0]);
	for (struct parts p = pg_parts(rows, ith, nth); pg_next(&p);) {
		for (int64_t i = p.from; i < p.to; i++) {
			const struct pair args = {(const float *) dst->src[0]->data + i * n, dst->src[1]->data};
			pg_write_row(dst, i, 0, dst->ne[0], n, fill_gelu_bias, &args);
		}
	}
}

// --- for each instruction set -----------------------------------------------

#else
#include "exp.h"

// Returns x/2·(1 + tanh(√(2/π)·(x + 0.044715·x³))) = x / (1 + e^-(x·(a + b·x²))), with a = 2·√(2/π) and
// b = 0.044715·a. NaN stays NaN.
INLINE float FN(gelu1)(float x) {
	return x / (1.0f + FN(exp)(FN(clamp88)(-x * (1.5957691216057308f + 0.07135481282685763f * x * x))));
}

static void FN(gelu)(int64_t n, float * restrict y, const float * restrict x) {
	for (int64_t i = 0; i < n; i++) {
		y[i] = FN(gelu1)(x[i]);
	}
}

static void FN(geglu)(int64_t n, float * restrict y, const float * restrict x, const float * restrict up) {
	for (int64_t i = 0; i < n; i++) {
		y[i] = FN(gelu1)(x[i]) * up[i];
	}
}

static void FN(gelu_bias)(int64_t n, float * restrict y, const float * restrict x, const float * restrict bias) {
	for (int64_t i = 0; i < n; i++) {
		y[i] = FN(gelu1)(x[i] + bias[i]);
	}
}

#endif
