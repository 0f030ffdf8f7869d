package ggml

/*
#include "kernels.h"
*/
import "C"

import "unsafe"

// Largest returns the index of the largest value, the first of several, or -1 if
// there are none or one is NaN.
func Largest(values []float32) int {
	data := (*C.float)(unsafe.Pointer(unsafe.SliceData(values)))
	return int(C.pg_largest(C.int64_t(len(values)), data))
}
