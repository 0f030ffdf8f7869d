package ggml

/*
#include "ggml-cpu.h"
*/
import "C"

import (
	"fmt"

	"golang.org/x/sys/cpu"
)

// checkCPU refuses a processor without the instructions that this binary was
// built with, before one of them ends the process.
func checkCPU() error {
	for _, set := range []struct {
		name  string
		built C.int
		here  bool
	}{
		{"AVX", C.ggml_cpu_has_avx(), cpu.X86.HasAVX},
		{"AVX2", C.ggml_cpu_has_avx2(), cpu.X86.HasAVX2},
		{"FMA", C.ggml_cpu_has_fma(), cpu.X86.HasFMA},
		{"BMI2", C.ggml_cpu_has_bmi2(), cpu.X86.HasBMI2},
		{"AVX-512", C.ggml_cpu_has_avx512(), cpu.X86.HasAVX512F},
		{"AVX-512 VNNI", C.ggml_cpu_has_avx512_vnni(), cpu.X86.HasAVX512VNNI},
		{"AVX-512 BF16", C.ggml_cpu_has_avx512_bf16(), cpu.X86.HasAVX512BF16},
	} {
		if set.built != 0 && !set.here {
			return fmt.Errorf("this program was built for processors with %s, which this one lacks: build it here, or with make NATIVE=0", set.name)
		}
	}
	return nil
}
