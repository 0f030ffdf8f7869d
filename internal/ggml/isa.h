// Compiling one source for several instruction sets. A file of loops defines KERNEL as its own name and
// includes foreach_isa.h, which includes the file again for each set, with ISA defined; a function
// FN(name) is then name_avx512, name_avx2 or name_plain, and DISPATCH(name) the one that this processor
// runs best, whatever the program was built for.
#pragma once

#include <stdbool.h>
#include <stdint.h>

// The sets: their numbers are those of isa_begin.h. The last two are for products (matmul.h).
#define ISA_AVX2 1
#define ISA_AVX512 2
#define ISA_VNNI 3
#define ISA_BF16 4

#if defined(__x86_64__) && defined(__GNUC__)
#define ISA_DISPATCH 1
#endif

#define INLINE static inline __attribute__((always_inline))

#define ISA_JOIN2(name, isa) name##_##isa
#define ISA_JOIN(name, isa) ISA_JOIN2(name, isa)
#define FN(name) ISA_JOIN(name, ISA)

#ifdef ISA_DISPATCH
static inline int isa_level(void) {
	if (__builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl")) {
		return ISA_AVX512;
	}
	return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c") ? ISA_AVX2
																											 : 0;
}
#define DISPATCH(name) \
	(isa_level() == ISA_AVX512 ? name##_avx512 : isa_level() == ISA_AVX2 ? name##_avx2 : name##_plain)
#else
#define DISPATCH(name) name##_plain
#endif
