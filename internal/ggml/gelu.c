#include "kernels.h"

#include <stdint.h>
#include <string.h>

// The compiler makes vector code of these loops for each kind of processor and
// picks one at run time, whatever the program was built for.
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#define PG_TARGET(t) __attribute__((target(t), optimize("O3", "no-trapping-math", "no-math-errno")))
#define PG_WIDE ",prefer-vector-width=512"
#define PG_DISPATCH 1
#elif defined(__x86_64__) && defined(__clang__)
#define PG_TARGET(t) __attribute__((target(t)))
#define PG_WIDE ""
#define PG_DISPATCH 1
#endif

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
#define PG_GELU_BODY(factor)                                              \
	for (int64_t i = 0; i < n; i++) {                                     \
		float v = x[i];                                                   \
		float u = -v * (1.5957691216057308f + 0.07135481282685763f * v * v); \
		u = u > 88.0f ? 88.0f : u;                                        \
		u = u < -88.0f ? -88.0f : u;                                      \
		float e;                                                          \
		PG_EXP(e, u);                                                     \
		y[i] = v / (1.0f + e) factor;                                     \
	}

#define PG_GELU(name, attributes)                                                                                           \
	attributes static void name(int64_t n, float * restrict y, const float * restrict x) { PG_GELU_BODY() }                  \
	attributes static void name##_times(int64_t n, float * restrict y, const float * restrict x, const float * restrict up) { \
		PG_GELU_BODY(*up[i])                                                                                                \
	}

#ifdef PG_DISPATCH
PG_GELU(gelu_avx512, PG_TARGET("avx512f,avx512dq,avx512vl,avx512bw,fma" PG_WIDE))
PG_GELU(gelu_avx2, PG_TARGET("avx2,fma"))
#endif
PG_GELU(gelu_plain, )

static void gelu(int64_t n, float * y, const float * x, const float * up) {
#ifdef PG_DISPATCH
	if (__builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl")) {
		up ? gelu_avx512_times(n, y, x, up) : gelu_avx512(n, y, x);
		return;
	}
	if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
		up ? gelu_avx2_times(n, y, x, up) : gelu_avx2(n, y, x);
		return;
	}
#endif
	up ? gelu_plain_times(n, y, x, up) : gelu_plain(n, y, x);
}

void pg_gelu(struct ggml_tensor * dst, int ith, int nth, void * userdata) {
	(void) userdata;
	const int64_t block = 16; // a thread's part begins at a cache line
	int64_t n = ggml_nelements(dst), blocks = (n + block - 1) / block;
	int64_t from = blocks * ith / nth * block, to = blocks * (ith + 1) / nth * block;
	if (to > n) {
		to = n;
	}
	const struct ggml_tensor * up = dst->src[1];
	if (from < to) {
		gelu(to - from, (float *) dst->data + from, (const float *) dst->src[0]->data + from,
		     up ? (const float *) up->data + from : NULL);
	}
}
