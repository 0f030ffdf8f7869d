// How loops of our own become vector code.
#pragma once

#include <stdbool.h>
#include <stdint.h>

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

// Products (product.c) are written in intrinsics that older compilers lack.
#if defined(PG_DISPATCH) && (defined(__clang__) || __GNUC__ >= 11)
#define PG_PRODUCTS 1
#endif

// PG_RUN calls the form of a function, named by its suffix, that the processor can run.
#ifdef PG_DISPATCH
#define PG_RUN(name, ...)                                                                        \
	do {                                                                                         \
		if (__builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl")) {          \
			name##_avx512(__VA_ARGS__);                                                          \
		} else if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {            \
			name##_avx2(__VA_ARGS__);                                                            \
		} else {                                                                                 \
			name##_plain(__VA_ARGS__);                                                           \
		}                                                                                        \
	} while (0)
#define PG_FORMS(form)                                                         \
	form(_avx512, PG_TARGET("avx512f,avx512dq,avx512vl,avx512bw,fma" PG_WIDE)) \
	form(_avx2, PG_TARGET("avx2,fma"))                                         \
	form(_plain, )
#else
#define PG_RUN(name, ...) name##_plain(__VA_ARGS__)
#define PG_FORMS(form) form(_plain, )
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
