#include "kernels.h"
#include "simd.h"

#include <stdint.h>
#include <string.h>

// e^x for |x| <= 88, to 2 units in the last place: 2^n·e^r with |r| <= ln(2)/2,
// e^r by its Taylor polynomial of degree 7 (its rest is below 2^-27).
#define PG_EXP(out, x)                                                                                    \
	do {                                                                                                  \
		float shifted_ = (x) * 1.44269504088896341f + 12582912.0f; /* 1.5·2^23: rounds to a whole number */ \
		float n_ = shifted_ - 12582912.0f;                                                                \
		float r_ = ((x) - n_ * 0.693359375f) + n_ * 2.12194440e-4f;                                       \
		float p_ = 1.98412698e-4f;                                                                        \
		p_ = p_ * r_ + 1.38888889e-3f;                                                                    \
		p_ = p_ * r_ + 8.33333333e-3f;                                                                    \
		p_ = p_ * r_ + 4.16666667e-2f;                                                                    \
		p_ = p_ * r_ + 1.66666667e-1f;                                                                    \
		p_ = p_ * r_ + 0.5f;                                                                              \
		p_ = p_ * r_ + 1.0f;                                                                              \
		p_ = p_ * r_ + 1.0f;                                                                              \
		union { float f; int32_t i; } scale_;                                                             \
		scale_.i = ((int32_t) n_ + 127) << 23;                                                            \
		(out) = p_ * scale_.f;                                                                            \
	} while (0)

// x/2·(1 + tanh(√(2/π)·(x + 0.044715·x³))) = x / (1 + e^-(x·(a + b·x²))), with a
// = 2·√(2/π) and b = 0.044715·a. NaN stays NaN.
#define PG_GELU(value, factor)                                            \
	for (int64_t i = 0; i < n; i++) {                                     \
		float v = value;                                                  \
		float u = -v * (1.5957691216057308f + 0.07135481282685763f * v * v); \
		u = u > 88.0f ? 88.0f : u;                                        \
		u = u < -88.0f ? -88.0f : u;                                      \
		float e;                                                          \
		PG_EXP(e, u);                                                     \
		y[i] = v / (1.0f + e) factor;                                     \
	}

#define PG_FORM(form, attributes)                                                                                               \
	attributes static void gelu##form(int64_t n, float * restrict y, const float * restrict x) { PG_GELU(x[i], ) }              \
	attributes static void geglu##form(int64_t n, float * restrict y, const float * restrict x, const float * restrict up) {    \
		PG_GELU(x[i], *up[i])                                                                                                   \
	}                                                                                                                           \
	attributes static void gelu_bias##form(int64_t n, float * restrict y, const float * restrict x, const float * restrict bias) { \
		PG_GELU(x[i] + bias[i], )                                                                                               \
	}
PG_FORMS(PG_FORM)

void pg_gelu(struct ggml_tensor * dst, int ith, int nth, void * userdata) {
	(void) userdata;
	const int64_t block = 16; // a thread's part begins at a cache line
	int64_t n = ggml_nelements(dst), blocks = (n + block - 1) / block;
	int64_t from = blocks * ith / nth * block, to = blocks * (ith + 1) / nth * block;
	if (to > n) {
		to = n;
	}
	if (from >= to) {
		return;
	}
	float * y = (float *) dst->data + from;
	const float * x = (const float *) dst->src[0]->data + from;
	if (dst->src[1]) {
		PG_RUN(geglu, to - from, y, x, (const float *) dst->src[1]->data + from);
	} else {
		PG_RUN(gelu, to - from, y, x);
	}
}

void pg_gelu_bias(struct ggml_tensor * dst, int ith, int nth, void * userdata) {
	(void) userdata;
	const int64_t n = dst->src[0]->ne[0], padded = dst->ne[0], rows = ggml_nrows(dst);
	const float * x = dst->src[0]->data, * bias = dst->src[1]->data;
	for (int64_t i = rows * ith / nth; i < rows * (ith + 1) / nth; i++) {
		float * y = (float *) dst->data + i * padded;
		PG_RUN(gelu_bias, n, y, x + i * n, bias);
		memset(y + n, 0, (padded - n) * sizeof(float));
	}
}
