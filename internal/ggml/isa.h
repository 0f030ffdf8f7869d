// Compiling one source for several instruction sets. A file of loops defines KERNEL as its own name and
// includes foreach_isa.h, which includes the file again for each set, with ISA defined; a function
// FN(name) is then name_avx512, name_avx2 or name_plain, and DISPATCH(name) the one that this processor
// runs best, whatever the program was built for.
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

// The sets, each with those before it. The last two are for products (matmul.h) and attention in BF16.
#define ISA_BASELINE 0
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

// pg_isa is the set that kernels are chosen by: the highest that the processor has, found before main, unless
// pg_limit_isa was called with a lower one.
extern atomic_int pg_isa;

// pg_limit_isa keeps kernels to a set and those before it, where the processor has them.
void pg_limit_isa(int most);

#ifdef ISA_DISPATCH
// pg_has_f16c reports whether the processor has F16C, which clang before 15 cannot ask for by name.
bool pg_has_f16c(void);
#endif

static inline int isa_level(void) {
	return atomic_load_explicit(&pg_isa, memory_order_relaxed);
}

#ifdef ISA_DISPATCH
#define DISPATCH(name) \
	(isa_level() >= ISA_AVX512 ? name##_avx512 : isa_level() >= ISA_AVX2 ? name##_avx2 : name##_plain)
#else
#define DISPATCH(name) name##_plain
#endif
