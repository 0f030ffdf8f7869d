// Begins code for the instruction set ISA_SET, up to isa_end.h. (GCC takes no such pragmas from a macro.)
#ifdef __clang__

#if ISA_SET == ISA_AVX2
#pragma clang attribute push(__attribute__((target("avx2,fma,f16c"))), apply_to = function)
#elif ISA_SET == ISA_AVX512
#pragma clang attribute push(__attribute__((target("avx512f,avx512dq,avx512vl,avx512bw,fma"))), apply_to = function)
#elif ISA_SET == ISA_VNNI
#pragma clang attribute push(__attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,f16c"))), \
							 apply_to = function)
#elif ISA_SET == ISA_BF16
#pragma clang attribute push(                                                                          \
	__attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512bf16,avx2,fma,f16c"))), \
	apply_to = function)
#endif

#else

#pragma GCC push_options
#pragma GCC optimize("O3", "no-trapping-math", "no-math-errno")
#if ISA_SET == ISA_AVX2
#pragma GCC target("avx2,fma,f16c")
#elif ISA_SET == ISA_AVX512
#pragma GCC target("avx512f,avx512dq,avx512vl,avx512bw,fma,prefer-vector-width=512")
#elif ISA_SET == ISA_VNNI
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,f16c")
#elif ISA_SET == ISA_BF16
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512bf16,avx2,fma,f16c")
#endif

#endif
