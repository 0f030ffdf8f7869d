#ifndef ISA
#include "custom.h"
#include "kernels.h"
#include "rows.h"
#include "team.h"

#define KERNEL "gelu.c"
#include "foreach_isa.h"

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

static void fill_geglu(float * y, int64_t from, int64_t count, const struct row * r) {
	DISPATCH(geglu)(count, y, r->x + from, r->w + from);
}

static void fill_gelu_bias(float * y, int64_t from, int64_t count, const struct row * r) {
	DISPATCH(gelu_bias)(count, y, r->x + from, r->b + from);
}

static struct row row_of_two(const struct ggml_tensor * dst, int64_t i, void * userdata) {
	(void) userdata;
	const int64_t at = i * dst->src[0]->ne[0];
	return (struct row) {.x = (const float *) dst->src[0]->data + at, .w = (const float *) dst->src[1]->data + at};
}

static struct row row_and_bias(const struct ggml_tensor * dst, int64_t i, void * userdata) {
	(void) userdata;
	return (struct row) {.x = (const float *) dst->src[0]->data + i * dst->src[0]->ne[0], .b = dst->src[1]->data};
}

void pg_geglu(struct ggml_tensor * dst, int ith, int nth, void * userdata) {
	static const struct row_writer writer = {row_of_two, fill_geglu, true};
	if (!pg_together(pg_geglu, dst, userdata, pg_rows_work(dst))) {
		pg_write_rows(dst, ith, nth, userdata, &writer);
	}
}

void pg_gelu_bias(struct ggml_tensor * dst, int ith, int nth, void * userdata) {
	static const struct row_writer writer = {row_and_bias, fill_gelu_bias, false};
	if (!pg_together(pg_gelu_bias, dst, userdata, pg_rows_work(dst))) {
		pg_write_rows(dst, ith, nth, userdata, &writer);
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
