#include "end.h"
#include "isa.h"

#ifdef ISA_DISPATCH
#include "ggml-cpu.h"

#include <stdio.h>

// Ends a program on a processor without the instructions that ggml was built with, before one of them does: ggml has
// constructors, which run after this.
__attribute__((constructor(101))) static void check_cpu(void) {
	__builtin_cpu_init();
	const struct {
		const char * name;
		int built, here;
	} sets[] = {
		{"AVX", ggml_cpu_has_avx(), __builtin_cpu_supports("avx")},
		{"AVX2", ggml_cpu_has_avx2(), __builtin_cpu_supports("avx2")},
		{"FMA", ggml_cpu_has_fma(), __builtin_cpu_supports("fma")},
		{"F16C", ggml_cpu_has_f16c(), pg_has_f16c()},
		{"BMI2", ggml_cpu_has_bmi2(), __builtin_cpu_supports("bmi2")},
		{"AVX-512", ggml_cpu_has_avx512(), __builtin_cpu_supports("avx512f")},
		{"AVX-512 VNNI", ggml_cpu_has_avx512_vnni(), __builtin_cpu_supports("avx512vnni")},
		{"AVX-512 BF16", ggml_cpu_has_avx512_bf16(), __builtin_cpu_supports("avx512bf16")},
	};
	for (size_t i = 0; i < sizeof sets / sizeof *sets; i++) {
		if (sets[i].built && !sets[i].here) {
			char line[256];
			snprintf(line, sizeof line,
					 "paligemma: this program was built for processors with %s, which this one lacks: "
					 "build it here, or with make NATIVE=0\n",
					 sets[i].name);
			pg_end(line);
		}
	}
}
#endif
