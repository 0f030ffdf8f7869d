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

void pg_limit_isa(int most) {
	const int here = highest();
	atomic_store(&pg_isa, here < most ? here : most);
}

__attribute__((constructor)) static void find_isa(void) {
	pg_limit_isa(ISA_BF16);
}
