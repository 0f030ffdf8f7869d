package ggml

/*
#include "kernels.h"
*/
import "C"

import (
	"sync"

	"paligemma/internal/gguf"
)

// rowFormat says how an operation writes its rows: F32, or Q8_K, Q8_0 or BF16 where
// products with weights that want them so are to follow, how long they are, zeros at
// their end included, and what it multiplies them by before it quantizes them.
type rowFormat struct {
	Type   gguf.Type
	Len    int64
	Factor Tensor // A of an update; the zero Tensor: none
}

// rowsFor returns how rows of n values are written best where products with all of
// the weights follow: as long as theirs, and quantized once for all if that is
// what each of those products would do. It is F32 of n values where the weights
// do not agree, or where none follow.
func (g *Graph) rowsFor(n int64, weights ...Tensor) rowFormat {
	plain := rowFormat{Type: gguf.TypeF32, Len: n}
	if !g.ok(weights...) || len(weights) == 0 {
		return plain
	}
	rows := rowFormat{Type: gguf.TypeF32, Len: weights[0].Dim(0)}
	wanted := rowsType(weights[0].Type())
	for _, w := range weights {
		if w.Dim(0) != rows.Len || w.Dim(0) < n {
			return plain
		}
		if rowsType(w.Type()) != wanted {
			wanted = gguf.TypeF32
		}
	}
	if !g.options.Plain {
		rows.Type = wanted
	}
	return rows
}

// rowsType is the type that products with matrices of type t quantize their
// operand to, if it is one that we can make.
func rowsType(t gguf.Type) gguf.Type {
	if !MatrixType(t) {
		return gguf.TypeF32
	}
	if t := gguf.Type(C.pg_rows_type(C.enum_ggml_type(t))); quantizes(t) {
		return t
	}
	return gguf.TypeF32
}

// quantizes reports whether t is one of the types of rows other than F32 that the
// kernels write, to the same bits as the ggml at hand.
func quantizes(t gguf.Type) bool {
	switch t {
	case gguf.TypeQ8_K:
		return knowsQ8K()
	case gguf.TypeQ8_0:
		return knowsQ80()
	case gguf.TypeBF16:
		return knowsBF16()
	}
	return false
}

var knowsQ8K, knowsQ80, knowsBF16 = knows(gguf.TypeQ8_K), knows(gguf.TypeQ8_0), knows(gguf.TypeBF16)

func knows(t gguf.Type) func() bool {
	return sync.OnceValue(func() bool { return C.pg_quantizes(C.enum_ggml_type(t)) != 0 })
}

// SplitRows computes f for all rows of x at once, or for two groups of them where
// products are then faster.
func (g *Graph) SplitRows(x Tensor, f func(*Graph, Tensor) Tensor) Tensor {
	n, at := x.Dim(1), g.splitAt(x)
	if at == n {
		return f(g, x)
	}
	return g.Concat(f(g, g.Slice(x, 1, 0, at)), f(g, g.Slice(x, 1, at, n-at)), 1)
}

// splitAt is after how many of x's rows they are best split, x.Dim(1) if not at
// all, as where products are custom kernels. ggml multiplies
// K-quants with up to 256 rows at once and makes such groups equally long, in
// bands of 16, of which it computes the last one whole: 264 rows are 2·9 bands,
// but 256 and 8 rows are 16 and 1. (Fewer than 8 rows go another way, which is
// slower than a band.)
func (g *Graph) splitAt(x Tensor) int64 {
	const group, band, least = 256, 16, 8
	bands := func(rows int64) int64 {
		groups := (rows + group - 1) / group
		return groups * (((rows+groups-1)/groups + band - 1) / band)
	}
	n := x.Dim(1)
	if len(g.updates) > 1 { // groups of rows stay together
		return n
	}
	if rest := n % group; x.Type() == gguf.TypeQ8_K && !g.projected[x].a.Valid() && !g.ownProduct(gguf.TypeQ4_K, x.Dim(0)) && n > group && rest > 0 {
		rest = max(rest, least)
		if bands(n-rest)+bands(rest) < bands(n) {
			return n - rest
		}
	}
	return n
}

// shape is that of a with such rows.
func (r rowFormat) shape(a Tensor) [4]int64 {
	ne := a.shape()
	ne[0] = r.Len
	return ne
}

// okRows checks that a's rows can be written so.
func (g *Graph) okRows(op string, a Tensor, r rowFormat) bool {
	if r.Len < a.Dim(0) || r.Len > 1<<30 || a.Elements()/a.Dim(0) > maxElements/r.Len {
		g.fail("%s: rows of %v to %d", op, a, r.Len)
		return false
	}
	if r.Type == gguf.TypeF32 {
		return true
	}
	if quantizes(r.Type) && r.Len%int64(r.Type.BlockSize()) == 0 && !g.options.Plain {
		return true
	}
	g.fail("%s: rows of %d values of type %v", op, r.Len, r.Type)
	return false
}

// convertRows writes the rows of a in a format, which they may have already.
func (g *Graph) convertRows(a Tensor, rows rowFormat) Tensor {
	if g.ok(a) && a.Type() == rows.Type && a.Dim(0) == rows.Len {
		return a
	}
	if !g.okF32("pad", a) || !g.okRows("pad", a, rows) {
		return Tensor{}
	}
	if !g.options.Plain { // ggml looks at each value: as long as a small product takes
		return g.customRows(rows, a, C.ggml_custom_op_t(C.pg_pad_rows), a)
	}
	return Tensor{C.ggml_pad(g.ctx, a.c, C.int(rows.Len-a.Dim(0)), 0, 0, 0)}
}
