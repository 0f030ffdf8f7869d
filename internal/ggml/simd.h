// How loops of our own become vector code.
#pragma once

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
