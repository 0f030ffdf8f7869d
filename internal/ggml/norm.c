#include "kernels.h"
#include "rows.h"
#include "simd.h"

#include <math.h>

// Sums go into 16 lanes first: vector code of any width, and small errors.
#define PG_SUM(value)                                    \
	float lane[16] = {0};                                \
	int64_t i = 0;                                       \
	for (; i + 16 <= n; i += 16) {                       \
		for (int j = 0; j < 16; j++) {                   \
			float v = x[i + j];                          \
			lane[j] += value;                            \
		}                                                \
	}                                                    \
	double sum = 0;                                      \
	for (; i < n; i++) {                                 \
		float v = x[i];                                  \
		sum += value;                                    \
	}                                                    \
	for (int j = 0; j < 16; j++) {                       \
		sum += lane[j];                                  \
	}                                                    \
	*out = sum

#define PG_FORM(form, attributes)                                                                                            \
	attributes static void total##form(int64_t n, const float * restrict x, double * out) { PG_SUM(v); }                     \
	attributes static void spread##form(int64_t n, const float * restrict x, float mean, double * out) {                     \
		PG_SUM((v - mean) * (v - mean));                                                                                     \
	}                                                                                                                        \
	attributes static void squares##form(int64_t n, const float * restrict x, double * out) { PG_SUM(v * v); }                \
	attributes static void scale##form(int64_t n, float * restrict y, const float * restrict x, const float * restrict w,    \
	                                   float scale) {                                                                        \
		for (int64_t i = 0; i < n; i++) {                                                                                    \
			y[i] = x[i] * scale * w[i];                                                                                      \
		}                                                                                                                    \
	}                                                                                                                        \
	attributes static void affine##form(int64_t n, float * restrict y, const float * restrict x, const float * restrict w,   \
	                                    const float * restrict b, float mean, float scale) {                                 \
		for (int64_t i = 0; i < n; i++) {                                                                                    \
			y[i] = (x[i] - mean) * scale * w[i] + b[i];                                                                      \
		}                                                                                                                    \
	}                                                                                                                        \
	attributes static void add##form(int64_t n, float * restrict y, const float * restrict x, const float * restrict more,   \
	                                 const float * restrict bias) {                                                          \
		for (int64_t i = 0; i < n; i++) {                                                                                    \
			y[i] = x[i] + (more[i] + bias[i]);                                                                               \
		}                                                                                                                    \
	}
PG_FORMS(PG_FORM)

// A number that an operation carries along.
static void * of_float(float x) {
	uint32_t bits;
	memcpy(&bits, &x, sizeof bits);
	return (void *) (uintptr_t) bits;
}

static float to_float(void * userdata) {
	const uint32_t bits = (uint32_t) (uintptr_t) userdata;
	float x;
	memcpy(&x, &bits, sizeof x);
	return x;
}

static void layer_norm(struct ggml_tensor * dst, int ith, int nth, void * userdata) {
	const float eps = to_float(userdata);
	const int64_t n = dst->src[0]->ne[0], rows = ggml_nrows(dst);
	const float * w = dst->src[1]->data, * b = dst->src[2]->data;
	for (int64_t i = rows * ith / nth; i < rows * (ith + 1) / nth; i++) {
		const float * x = (const float *) dst->src[0]->data + i * n;
		double sum, squares;
		PG_RUN(total, n, x, &sum);
		const float mean = (float) (sum / (double) n);
		PG_RUN(spread, n, x, mean, &squares);
		const float scale = 1.0f / sqrtf((float) (squares / (double) n) + eps);
		PG_ROW(dst, i, n, y, from, count, PG_RUN(affine, count, y, x + from, w + from, b + from, mean, scale));
	}
}

static void rms_norm(struct ggml_tensor * dst, int ith, int nth, void * userdata) {
	const float eps = to_float(userdata);
	const int64_t n = dst->src[0]->ne[0], rows = ggml_nrows(dst);
	const float * w = dst->src[1]->data;
	for (int64_t i = rows * ith / nth; i < rows * (ith + 1) / nth; i++) {
		const float * x = (const float *) dst->src[0]->data + i * n;
		double squares;
		PG_RUN(squares, n, x, &squares);
		const float scale = 1.0f / sqrtf((float) (squares / (double) n) + eps);
		PG_ROW(dst, i, n, y, from, count, PG_RUN(scale, count, y, x + from, w + from, scale));
	}
}

struct ggml_tensor * pg_layer_norm(struct ggml_context * ctx, struct ggml_tensor * x, struct ggml_tensor * w, struct ggml_tensor * b,
                                   float eps, enum ggml_type type, int64_t n) {
	struct ggml_tensor * args[] = {x, w, b};
	return ggml_custom_4d(ctx, type, n, x->ne[1], x->ne[2], x->ne[3], args, 3, layer_norm, GGML_N_TASKS_MAX, of_float(eps));
}

struct ggml_tensor * pg_rms_norm(struct ggml_context * ctx, struct ggml_tensor * x, struct ggml_tensor * w, float eps, enum ggml_type type,
                                 int64_t n) {
	struct ggml_tensor * args[] = {x, w};
	return ggml_custom_4d(ctx, type, n, x->ne[1], x->ne[2], x->ne[3], args, 2, rms_norm, GGML_N_TASKS_MAX, of_float(eps));
}

void pg_add_bias(struct ggml_tensor * dst, int ith, int nth, void * userdata) {
	(void) userdata;
	const int64_t n = dst->ne[0], rows = ggml_nrows(dst);
	const float * bias = dst->src[2]->data;
	for (int64_t i = rows * ith / nth; i < rows * (ith + 1) / nth; i++) {
		PG_RUN(add, n, (float *) dst->data + i * n, (const float *) dst->src[0]->data + i * n, (const float *) dst->src[1]->data + i * n, bias);
	}
}
