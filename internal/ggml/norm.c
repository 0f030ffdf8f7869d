#ifndef ISA
#include "custom.h"
#include "kernels.h"
#include "rows.h"
#include "team.h"
#include "update.h"

#include <math.h>

#define LANES 16 // sums go into as many lanes first: vector code of any width, and small errors

#define KERNEL "norm.c"
#include "foreach_isa.h"

// Rows are (x − mean)·scale·w + b; without b and mean for RMS norm.

static void fill_affine(float * y, int64_t from, int64_t count, const struct row * r) {
	DISPATCH(affine)(count, y, r->x + from, r->w + from, r->b + from, r->mean, r->scale);
}

static void fill_scaled(float * y, int64_t from, int64_t count, const struct row * r) {
	DISPATCH(scale)(count, y, r->x + from, r->w + from, r->scale);
}

static float scale_of(int64_t n, const float * x, float mean, void * userdata) {
	const double squares = DISPATCH(sum_squares)(n, x, mean);
	return 1.0f / sqrtf((float) (squares / (double) n) + params_of(userdata).a);
}

static struct row centered(const struct ggml_tensor * dst, int64_t i, void * userdata) {
	const int64_t n = dst->src[0]->ne[0];
	struct row r = {.x = (const float *) dst->src[0]->data + i * n, .w = dst->src[1]->data, .b = dst->src[2]->data};
	r.mean = (float) (DISPATCH(sum)(n, r.x) / (double) n);
	r.scale = scale_of(n, r.x, r.mean, userdata);
	return r;
}

static struct row scaled(const struct ggml_tensor * dst, int64_t i, void * userdata) {
	const int64_t n = dst->src[0]->ne[0];
	struct row r = {.x = (const float *) dst->src[0]->data + i * n, .w = dst->src[1]->data};
	r.scale = scale_of(n, r.x, 0, userdata);
	return r;
}

static void layer_norm(struct ggml_tensor * dst, int ith, int nth, void * userdata) {
	static const struct row_writer writer = {centered, fill_affine, false};
	if (!pg_together(layer_norm, dst, userdata, pg_rows_work(dst))) {
		pg_write_rows(dst, ith, nth, userdata, &writer);
	}
}

static void rms_norm(struct ggml_tensor * dst, int ith, int nth, void * userdata) {
	static const struct row_writer writer = {scaled, fill_scaled, false};
	if (!pg_together(rms_norm, dst, userdata, pg_rows_work(dst))) {
		pg_write_rows(dst, ith, nth, userdata, &writer);
	}
}

struct ggml_tensor * pg_layer_norm(struct ggml_context * ctx, struct ggml_tensor * x, struct ggml_tensor * w,
								   struct ggml_tensor * b, float eps, enum ggml_type type, int64_t n,
								   struct ggml_tensor * a) {
	struct ggml_tensor * args[] = {x, w, b, a};
	return ggml_custom_4d(ctx, type, n, x->ne[1] + pg_projection_rows(type, n, x->ne[1], a), x->ne[2], x->ne[3], args,
						  a ? 4 : 3, layer_norm, GGML_N_TASKS_MAX, params_to_userdata((struct params) {eps, 0}));
}

struct ggml_tensor * pg_rms_norm(struct ggml_context * ctx, struct ggml_tensor * x, struct ggml_tensor * w, float eps,
								 enum ggml_type type, int64_t n, struct ggml_tensor * a) {
	struct ggml_tensor * args[] = {x, w, a};
	return ggml_custom_4d(ctx, type, n, x->ne[1] + pg_projection_rows(type, n, x->ne[1], a), x->ne[2], x->ne[3], args,
						  a ? 3 : 2, rms_norm, GGML_N_TASKS_MAX, params_to_userdata((struct params) {eps, 0}));
}

void pg_add_bias(struct ggml_tensor * dst, int ith, int nth, void * userdata) {
	if (pg_together(pg_add_bias, dst, userdata, ggml_nelements(dst))) {
		return;
	}
	const int64_t n = dst->ne[0], rows = ggml_nrows(dst);
	const float * bias = dst->src[2]->data;
	for (struct parts p = pg_parts(rows, ith, nth); pg_next(&p);) {
		for (int64_t i = p.from; i < p.to; i++) {
			const float *x = (const float *) dst->src[0]->data + i * n, *more = (const float *) dst->src[1]->data + i * n;
			DISPATCH(add_bias)(n, (float *) dst->data + i * n, x, more, bias);
		}
	}
}

void pg_add(struct ggml_tensor * dst, int ith, int nth, void * userdata) {
	if (pg_together(pg_add, dst, userdata, ggml_nelements(dst))) {
		return;
	}
	const struct ggml_tensor *a = dst->src[0], *b = dst->src[1];
	const int64_t n = dst->ne[0], ne1 = dst->ne[1], ne2 = dst->ne[2];
	for (struct parts p = pg_parts(ggml_nrows(dst), ith, nth); pg_next(&p);) {
		for (int64_t i = p.from; i < p.to; i++) {
			const int64_t i1 = i % ne1, i2 = i / ne1 % ne2, i3 = i / ne1 / ne2;
			const char * x = (const char *) a->data + i1 * a->nb[1] + i2 * a->nb[2] + i3 * a->nb[3];
			const char * y = (const char *) b->data + i1 % b->ne[1] * b->nb[1] + i2 % b->ne[2] * b->nb[2] +
							 i3 % b->ne[3] * b->nb[3];
			DISPATCH(add)(n, (float *) dst->data + i * n, (const float *) x, (const float *) y);
		}
	}
}

// --- for each instruction set -----------------------------------------------

#else

INLINE double FN(sum_terms)(int64_t n, const float * restrict x, float mean, bool squared) {
	float lane[LANES] = {0};
	int64_t i = 0;
	for (; i + LANES <= n; i += LANES) {
		for (int j = 0; j < LANES; j++) {
			const float v = x[i + j] - mean;
			lane[j] += squared ? v * v : v;
		}
	}
	double sum = 0;
	for (; i < n; i++) {
		const float v = x[i] - mean;
		sum += squared ? v * v : v;
	}
	for (int j = 0; j < LANES; j++) {
		sum += lane[j];
	}
	return sum;
}

static double FN(sum)(int64_t n, const float * restrict x) {
	return FN(sum_terms)(n, x, 0, false);
}

static double FN(sum_squares)(int64_t n, const float * restrict x, float mean) {
	return FN(sum_terms)(n, x, mean, true);
}

static void FN(scale)(int64_t n, float * restrict y, const float * restrict x, const float * restrict w, float scale) {
	for (int64_t i = 0; i < n; i++) {
		y[i] = x[i] * scale * w[i];
	}
}

static void FN(affine)(int64_t n, float * restrict y, const float * restrict x, const float * restrict w,
					   const float * restrict b, float mean, float scale) {
	for (int64_t i = 0; i < n; i++) {
		y[i] = (x[i] - mean) * scale * w[i] + b[i];
	}
}

static void FN(add)(int64_t n, float * restrict y, const float * restrict x, const float * restrict more) {
	for (int64_t i = 0; i < n; i++) {
		y[i] = x[i] + more[i];
	}
}

static void FN(add_bias)(int64_t n, float * restrict y, const float * restrict x, const float * restrict more,
						 const float * restrict bias) {
	for (int64_t i = 0; i < n; i++) {
		y[i] = x[i] + (more[i] + bias[i]);
	}
}

#endif
