package ggml

/*
#include "isa.h"
*/
import "C"

import (
	"fmt"
	"slices"
	"strings"
)

// isaNames are the instruction sets that custom kernels are compiled for, by their
// numbers in isa.h. Each has those before it; "baseline" is what the compiler was
// asked for.
var isaNames = []string{
	C.ISA_BASELINE: "baseline", C.ISA_AVX2: "avx2", C.ISA_AVX512: "avx512", C.ISA_VNNI: "avx512_vnni", C.ISA_BF16: "avx512_bf16",
}

// ISA returns the highest instruction set that custom kernels use.
func ISA() string { return isaNames[C.isa_level()] }

// LimitISA keeps custom kernels to an instruction set and those below it, as far as
// the processor has them, for the whole process: to find out whether a kernel is at
// fault. ggml's own operations stay what they were compiled to. No graph may be
// recorded or computed meanwhile.
func LimitISA(name string) error {
	n := slices.Index(isaNames, name)
	if n < 0 {
		return fmt.Errorf("want one of %s", strings.Join(isaNames, ", "))
	}
	C.pg_limit_isa(C.int(n))
	return nil
}
