package ggml

/*
#include "kernels.h"
*/
import "C"

import "paligemma/internal/gguf"

// maxParts bounds LowRank.B: queries, keys and values.
const maxParts = 3

// LowRank is an update B·A of weights [k, n], all F32 and contiguous.
type LowRank struct {
	A Tensor // [k, r]
	// B are the columns of B: [n, r]. Where the weights are several matrices one after
	// the other, each has its own [n', r']: their n' add up to n, and their r' to r.
	B []Tensor
}

// Valid reports whether there is an update.
func (u LowRank) Valid() bool { return u.A.Valid() }

// MulLowRank is W·x + B·(A·x) for each row of x [k, T], F32: [n, T]. The second part is
// computed in F32 from the rows as they are; W·x is MulWeights.
func (g *Graph) MulLowRank(w Tensor, u LowRank, x Tensor) Tensor {
	if !g.okLowRank(w, u, x) {
		return Tensor{}
	}
	g.cost += 2*float64(u.A.Dim(1))*float64(x.Dim(1))*float64(x.Dim(0)+w.Dim(1)) + float64(u.size())
	if g.options.Plain {
		return g.plainLowRank(w, u, x)
	}
	rows := g.convertOnce(x, g.rowsFor(x.Dim(0), w))
	update := append([]Tensor{{C.pg_project(g.ctx, u.A.c, x.c)}}, u.B...)
	if g.takesUpdate(w, rows) {
		return g.mulMat(w, rows, update...)
	}
	y := g.MulWeights(w, rows)
	if !g.ok(y) {
		return Tensor{}
	}
	list, n := tensorList(update)
	return Tensor{C.pg_update(g.ctx, y.c, &list[0], n)}
}

// plainLowRank is MulLowRank in ggml's own operations.
func (g *Graph) plainLowRank(w Tensor, u LowRank, x Tensor) Tensor {
	y, t := g.MulWeights(w, x), g.MulWeights(u.A, x)
	var sum Tensor
	for i, rank := 0, int64(0); i < len(u.B); i++ {
		b, part := u.B[i], t
		if len(u.B) > 1 {
			part = g.Cont(g.Slice(t, 0, rank, b.Dim(1)))
			rank += b.Dim(1)
		}
		add := g.MulWeights(g.Cont(g.Transpose(b)), part)
		if sum.Valid() {
			add = g.Concat(sum, add, 0)
		}
		sum = add
	}
	return g.Add(y, sum)
}

// okLowRank checks that an update fits weights, and that its operand is F32.
func (g *Graph) okLowRank(w Tensor, u LowRank, x Tensor) bool {
	if !g.ok(w, u.A, x) || !g.ok(u.B...) || !g.okF32("low rank", x) {
		return false
	}
	if u.sound() && u.fits(w) && x.Dim(0) == u.A.Dim(0) && x.Dim(0) <= w.Dim(0) && x.Dim(2)*x.Dim(3) == 1 {
		return true
	}
	g.fail("low rank: %v and %v do not fit %v and %v", u.A, u.B, w, x)
	return false
}

// sound reports whether the factors are F32 matrices without gaps, and as many as can be.
func (u LowRank) sound() bool {
	for _, t := range append([]Tensor{u.A}, u.B...) {
		if t.Type() != gguf.TypeF32 || !t.contiguous() || t.Dim(2)*t.Dim(3) != 1 {
			return false
		}
	}
	return len(u.B) >= 1 && len(u.B) <= maxParts
}

// fits reports whether the parts add up to weights and to A.
func (u LowRank) fits(w Tensor) bool {
	n, r := int64(0), int64(0)
	for _, b := range u.B {
		n, r = n+b.Dim(0), r+b.Dim(1)
	}
	return n == w.Dim(1) && r == u.A.Dim(1) && w.Dim(2)*w.Dim(3) == 1
}

// size is the bytes of an update.
func (u LowRank) size() int64 {
	size := u.A.size()
	for _, b := range u.B {
		size += b.size()
	}
	return size
}

// conversion is rows that were converted, so that another product can take them.
type conversion struct {
	from, to Tensor
	rows     rowFormat
}

// convertOnce is convertRows for rows that nothing writes any more, and that several
// products take one after the other.
func (g *Graph) convertOnce(x Tensor, rows rowFormat) Tensor {
	if g.converted.from != x || g.converted.rows != rows {
		g.converted = conversion{x, g.convertRows(x, rows), rows}
	}
	return g.converted.to
}

// tensorList is a list for C, of maxParts+1 tensors at most.
func tensorList(tensors []Tensor) (list [maxParts + 1]*C.struct_ggml_tensor, n C.int) {
	for i, t := range tensors {
		list[i] = t.c
	}
	return list, C.int(len(tensors))
}
