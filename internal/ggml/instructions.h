// The instruction sets that compilers choose by themselves, or ggml where the compiler has them: a program
// that was built with one needs a processor with it. third_party/ggml/built_for.c is compiled as ggml's
// kernels are and says which those were; cpu.c asks the processor.
#pragma once

#include <stdbool.h>

#if defined(__x86_64__)
// X(name, macro of the compiler, leaf, subleaf, register and bit of CPUID, registers that the system saves)
#define INSTRUCTIONS(X) \
	X("SSE3", __SSE3__, 1, 0, ECX, 0, STATE_NONE) \
	X("SSSE3", __SSSE3__, 1, 0, ECX, 9, STATE_NONE) \
	X("SSE4.1", __SSE4_1__, 1, 0, ECX, 19, STATE_NONE) \
	X("SSE4.2", __SSE4_2__, 1, 0, ECX, 20, STATE_NONE) \
	X("MOVBE", __MOVBE__, 1, 0, ECX, 22, STATE_NONE) \
	X("POPCNT", __POPCNT__, 1, 0, ECX, 23, STATE_NONE) \
	X("LZCNT", __LZCNT__, 0x80000001, 0, ECX, 5, STATE_NONE) \
	X("BMI1", __BMI__, 7, 0, EBX, 3, STATE_NONE) \
	X("BMI2", __BMI2__, 7, 0, EBX, 8, STATE_NONE) \
	X("AVX", __AVX__, 1, 0, ECX, 28, STATE_AVX) \
	X("F16C", __F16C__, 1, 0, ECX, 29, STATE_AVX) \
	X("FMA", __FMA__, 1, 0, ECX, 12, STATE_AVX) \
	X("FMA4", __FMA4__, 0x80000001, 0, ECX, 16, STATE_AVX) \
	X("XOP", __XOP__, 0x80000001, 0, ECX, 11, STATE_AVX) \
	X("AVX2", __AVX2__, 7, 0, EBX, 5, STATE_AVX) \
	X("GFNI", __GFNI__, 7, 0, ECX, 8, STATE_NONE) \
	X("AVX-VNNI", __AVXVNNI__, 7, 1, EAX, 4, STATE_AVX) \
	X("AVX-IFMA", __AVXIFMA__, 7, 1, EAX, 23, STATE_AVX) \
	X("AVX-VNNI-INT8", __AVXVNNIINT8__, 7, 1, EDX, 4, STATE_AVX) \
	X("AVX-NE-CONVERT", __AVXNECONVERT__, 7, 1, EDX, 5, STATE_AVX) \
	X("AVX512F", __AVX512F__, 7, 0, EBX, 16, STATE_AVX512) \
	X("AVX512DQ", __AVX512DQ__, 7, 0, EBX, 17, STATE_AVX512) \
	X("AVX512IFMA", __AVX512IFMA__, 7, 0, EBX, 21, STATE_AVX512) \
	X("AVX512CD", __AVX512CD__, 7, 0, EBX, 28, STATE_AVX512) \
	X("AVX512BW", __AVX512BW__, 7, 0, EBX, 30, STATE_AVX512) \
	X("AVX512VL", __AVX512VL__, 7, 0, EBX, 31, STATE_AVX512) \
	X("AVX512VBMI", __AVX512VBMI__, 7, 0, ECX, 1, STATE_AVX512) \
	X("AVX512VBMI2", __AVX512VBMI2__, 7, 0, ECX, 6, STATE_AVX512) \
	X("AVX512VNNI", __AVX512VNNI__, 7, 0, ECX, 11, STATE_AVX512) \
	X("AVX512BITALG", __AVX512BITALG__, 7, 0, ECX, 12, STATE_AVX512) \
	X("AVX512VPOPCNTDQ", __AVX512VPOPCNTDQ__, 7, 0, ECX, 14, STATE_AVX512) \
	X("AVX512FP16", __AVX512FP16__, 7, 0, EDX, 23, STATE_AVX512) \
	X("AVX512BF16", __AVX512BF16__, 7, 1, EAX, 5, STATE_AVX512) \
	X("AMX-TILE", __AMX_TILE__, 7, 0, EDX, 24, STATE_AMX) \
	X("AMX-INT8", __AMX_INT8__, 7, 0, EDX, 25, STATE_AMX) \
	X("AMX-BF16", __AMX_BF16__, 7, 0, EDX, 22, STATE_AMX) \
	X("APX", __APX_F__, 7, 1, EDX, 21, STATE_APX)
#elif defined(__aarch64__) && defined(__linux__)
// X(name, macro of the compiler, word of the auxiliary vector, bit)
#define INSTRUCTIONS(X) \
	X("crc32", __ARM_FEATURE_CRC32, AT_HWCAP, 7) \
	X("lse", __ARM_FEATURE_ATOMICS, AT_HWCAP, 8) \
	X("fp16", __ARM_FEATURE_FP16_VECTOR_ARITHMETIC, AT_HWCAP, 10) \
	X("rdm", __ARM_FEATURE_QRDMX, AT_HWCAP, 12) \
	X("jscvt", __ARM_FEATURE_JCVT, AT_HWCAP, 13) \
	X("fcma", __ARM_FEATURE_COMPLEX, AT_HWCAP, 14) \
	X("rcpc", __ARM_FEATURE_RCPC, AT_HWCAP, 15) \
	X("dotprod", __ARM_FEATURE_DOTPROD, AT_HWCAP, 20) \
	X("sve", __ARM_FEATURE_SVE, AT_HWCAP, 22) \
	X("fp16fml", __ARM_FEATURE_FP16_FML, AT_HWCAP, 23) \
	X("sve2", __ARM_FEATURE_SVE2, AT_HWCAP2, 1) \
	X("frint", __ARM_FEATURE_FRINT, AT_HWCAP2, 8) \
	X("i8mm", __ARM_FEATURE_MATMUL_INT8, AT_HWCAP2, 13) \
	X("bf16", __ARM_FEATURE_BF16_VECTOR_ARITHMETIC, AT_HWCAP2, 14) \
	X("sme", __ARM_FEATURE_SME, AT_HWCAP2, 23)
#endif

// pg_built_for has an entry for each of INSTRUCTIONS: what the compiler's macro stood for, a number where
// ggml was built with the set, and its own name elsewhere.
extern const char * const pg_built_for[];

// pg_built_native is set where ggml was built for the building machine's processor.
extern const bool pg_built_native;
