#include "isa.h"

#ifdef ISA_DISPATCH
#include <cpuid.h>

bool pg_has_f16c(void) {
	unsigned a, b, c, d;
	return __get_cpuid(1, &a, &b, &c, &d) && (c & bit_F16C);
}
#endif

atomic_int pg_isa;

// Returns the highest set that the processor and the system have.
static int highest(void) {
#ifdef ISA_DISPATCH
	__builtin_cpu_init();
	if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma") || !pg_has_f16c()) {
		return ISA_BASELINE;
	}
	if (!__builtin_cpu_supports("avx512f") || !__builtin_cpu_supports("avx512bw") ||
		!__builtin_cpu_supports("avx512dq") || !__builtin_cpu_supports("avx512vl")) {
		return ISA_AVX2;
	}
	if (!__builtin_cpu_supports("avx512vnni")) {
		return ISA_AVX512;
	}
	return __builtin_cpu_supports("avx512bf16") ? ISA_BF16 : ISA_VNNI;
#else
	return ISA_BASELINE;
#endif
}

// The highest set that is used at all: make test-isa tests what other processors use.
#ifndef PG_HIGHEST_ISA
#define PG_HIGHEST_ISA ISA_BF16
#endif

static int lower(int a, int b) { return a < b ? a : b; }

void pg_limit_isa(int most) {
	atomic_store(&pg_isa, lower(lower(most, PG_HIGHEST_ISA), highest()));
}

__attribute__((constructor)) static void find_isa(void) {
	pg_limit_isa(PG_HIGHEST_ISA);
}
