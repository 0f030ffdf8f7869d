package ggml

/*
#include "ggml.h"
*/
import "C"

import (
	"errors"
	"math"
	"slices"
	"unsafe"
)

// Likeliest is what a graph finds of the largest of each row of logits [n, T], of which
// ReadLikeliest makes its index. A row is searched in parts, which a device does side by
// side: CUDA has one block of threads for a row, and 257,216 logits take that 0.1 ms on an H100.
type Likeliest struct {
	width  int64  // of a part
	parts  int64  // of a row
	best   Tensor // I32 [parts·T]: the index of the largest in its part
	values Tensor // F32 [1, 1, parts·T]: the largest
	sums   Tensor // F32 [1, parts·T]: of all values, NaN or infinite if one of them is
}

const (
	mostParts = 256  // of a row
	mostLogit = 1e38 // less than FLT_MAX
)

// Likeliest finds the largest of each row of logits [n, T]. What it makes are outputs.
func (g *Graph) Likeliest(logits Tensor) Likeliest {
	if !g.okContiguous("likeliest", logits) {
		return Likeliest{}
	}
	if logits.Dim(2)*logits.Dim(3) != 1 {
		g.fail("likeliest: of %v", logits)
		return Likeliest{}
	}
	parts := partsOf(logits.Dim(0))
	n, rows := logits.Dim(0)/parts, parts*logits.Dim(1)
	l := Likeliest{width: n, parts: parts}
	x := g.Reshape(logits, n, rows)
	// CUDA's index of the largest is −1 where none is more than −FLT_MAX, as where all are NaN:
	// its value would be read from before the row. Clamped, NaN is a number.
	finite := Tensor{C.ggml_clamp(g.ctx, x.c, -mostLogit, mostLogit)}
	l.best, l.sums = Tensor{C.ggml_argmax(g.ctx, finite.c)}, Tensor{C.ggml_sum_rows(g.ctx, x.c)}
	l.values = Tensor{C.ggml_get_rows(g.ctx, g.Reshape(finite, 1, n, rows).c, g.Reshape(l.best, 1, rows).c)}
	for _, t := range []Tensor{l.best, l.values, l.sums} {
		g.Output(t)
	}
	return l
}

// partsOf is into how many parts of the same size a row of n values is cut: the largest
// divisor of n that is not above mostParts.
func partsOf(n int64) int64 {
	for parts := min(n, mostParts); ; parts-- {
		if n%parts == 0 {
			return parts
		}
	}
}

// Valid reports whether a graph made l.
func (l Likeliest) Valid() bool { return l.best.Valid() }

// ErrNotFinite says that some values are NaN or infinite.
var ErrNotFinite = errors.New("NaN or infinite values")

// Finite reports whether none of values is NaN or infinite.
func Finite(values []float32) bool {
	return !slices.ContainsFunc(values, func(v float32) bool { return math.IsNaN(float64(v)) || math.IsInf(float64(v), 0) })
}

// ReadLikeliest returns the index of the largest of each row after Compute, of equal ones
// in different parts the first. The error is ErrNotFinite if a row has NaN or infinite values.
func (g *Graph) ReadLikeliest(l Likeliest) ([]int32, error) {
	if g.err != nil {
		return nil, g.err
	}
	if !l.Valid() || l.best.c.data == nil {
		return nil, errors.New("graph: nothing was searched")
	}
	n := l.best.Elements()
	best, values, sums := make([]int32, n), make([]float32, n), make([]float32, n)
	g.backend.downloadAll([]Tensor{l.best, l.values, l.sums},
		[]unsafe.Pointer{unsafe.Pointer(&best[0]), unsafe.Pointer(&values[0]), unsafe.Pointer(&sums[0])})
	if !Finite(sums) {
		return nil, ErrNotFinite
	}
	return l.join(best, values), nil
}

// join is the index of the largest of each row, from those of its parts.
func (l Likeliest) join(best []int32, values []float32) []int32 {
	rows := make([]int32, 0, len(best)/int(l.parts))
	for at := 0; at < len(best); at += int(l.parts) {
		first := 0
		for i, v := range values[at:][:l.parts] {
			if v > values[at+first] {
				first = i
			}
		}
		rows = append(rows, int32(first)*int32(l.width)+best[at+first])
	}
	return rows
}
