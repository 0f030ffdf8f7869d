package ggml

// #include "low_rank.h"
import "C"

import "fmt"

// AddLowRank adds scale·b·a to dst, which has rows of width values: a has rows of
// that width, and b a row of factors for each row of dst, one for each row of a.
// The result does not depend on the processor, nor on how rows are divided among
// calls. It may be called from several goroutines.
func AddLowRank(dst []float32, width int, a, b []float32, scale float32) error {
	if width < 1 || len(dst)%width != 0 || len(a)%width != 0 {
		return fmt.Errorf("%d and %d values are not rows of %d", len(dst), len(a), width)
	}
	rows, rank := len(dst)/width, len(a)/width
	if len(b) != rows*rank {
		return fmt.Errorf("%d factors for %d rows of rank %d", len(b), rows, rank)
	}
	if rows == 0 || rank == 0 {
		return nil
	}
	C.pg_add_low_rank(C.int64_t(rows), C.int64_t(width), C.int64_t(rank), (*C.float)(&a[0]), (*C.float)(&b[0]), C.float(scale), (*C.float)(&dst[0]))
	return nil
}
