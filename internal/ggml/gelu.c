#include "kernels.h"
#include "rows.h"
#include "simd.h"

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
	if (from < to) {
		PG_RUN(gelu, to - from, (float *) dst->data + from, (const float *) dst->src[0]->data + from);
	}
}

void pg_geglu(struct ggml_tensor * dst, int ith, int nth, void * userdata) {
	(void) userdata;
	const struct ggml_tensor * gate = dst->src[0], * up = dst->src[1];
	// Parts of rows, since there may be one row only.
	const int64_t n = gate->ne[0], part = dst->type == GGML_TYPE_F32 ? 1024 : PG_BLOCK, parts = (dst->ne[0] + part - 1) / part;
	const int64_t all = ggml_nrows(dst) * parts;
	for (int64_t i = all * ith / nth; i < all * (ith + 1) / nth; i++) {
		const int64_t row = i / parts, from = i % parts * part;
		int64_t room = dst->ne[0] - from, count = n - from;
		room = room > part ? part : room;
		count = count < 0 ? 0 : count > part ? part : count;
		char * to = (char *) dst->data + row * dst->nb[1];
		float block_[PG_BLOCK], * y = dst->type == GGML_TYPE_F32 ? (float *) to + from : block_;
		if (count > 0) {
			PG_RUN(geglu, count, y, (const float *) gate->data + row * n + from, (const float *) up->data + row * n + from);
		}
		memset(y + count, 0, (room - count) * sizeof(float));
		if (y == block_) {
			pg_quantize(dst->type, y, room, to, from);
		}
	}
}

void pg_gelu_bias(struct ggml_tensor * dst, int ith, int nth, void * userdata) {
	(void) userdata;
	const int64_t n = dst->src[0]->ne[0], rows = ggml_nrows(dst);
	const float * bias = dst->src[1]->data;
	for (int64_t i = rows * ith / nth; i < rows * (ith + 1) / nth; i++) {
		const float * x = (const float *) dst->src[0]->data + i * n;
		PG_ROW(dst, i, n, y, from, count, PG_RUN(gelu_bias, count, y, x + from, bias + from));
	}
}
