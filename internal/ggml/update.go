package ggml

/*
#include "kernels.h"
#include "update.h"
*/
import "C"

import (
	"slices"

	"paligemma/internal/gguf"
)

// maxParts bounds LowRank.B: queries, keys and values.
const maxParts = C.UPDATE_PARTS

// LowRank is an update B·A of weights [k, n], all F32 and contiguous.
type LowRank struct {
	A Tensor // [k, r]
	// First is the first row of A that belongs to B: an A may be shared by weights that
	// multiply the same rows, which then meet it once.
	First int64
	// B are the columns of B: [n, r]. Where the weights are several matrices one after
	// the other, each has its own [n', r']: their n' add up to n, and their r' to r.
	B []Tensor
}

// Valid reports whether there is an update.
func (u LowRank) Valid() bool { return u.A.Valid() }

// Updates are what an adapter adds to products, by the weights of these.
type Updates map[Tensor]LowRank

// RowUpdates are the updates of some rows.
type RowUpdates struct {
	Rows    int64
	Updates Updates // nil: none
}

// Update has products with weights, as MulWeights computes them, updated from now on. One
// group is of all rows, however many a product has; several follow one another, and
// products that are updated have as many rows as they together.
func (g *Graph) Update(groups ...RowUpdates) { g.updates = groups }

// MulWeights is the product of weights with each row of x [k, T]: [n, T]. Rows are brought
// into the form that the weights' type wants, and padded where those are. Where the graph
// has an update of the weights it is W·x + B·(A·x), the second part in F32 from the rows
// as they are; x may be rows that an operation wrote for this product.
func (g *Graph) MulWeights(w, x Tensor) Tensor {
	switch {
	case !g.updated(w):
		return g.mulWeights(w, x)
	case len(g.updates) == 1:
		return g.mulLowRank(w, g.updates[0].Updates[w], x)
	}
	return g.mulGroups(w, x)
}

// updated reports whether some rows have an update of weights.
func (g *Graph) updated(w Tensor) bool {
	return slices.ContainsFunc(g.updates, func(r RowUpdates) bool { return r.Updates[w].Valid() })
}

// mulLowRank is MulWeights with an update of all rows.
func (g *Graph) mulLowRank(w Tensor, u LowRank, x Tensor) Tensor {
	if !g.okLowRank(w, u, x) {
		return Tensor{}
	}
	g.cost += u.cost(w, x.Dim(1))
	if g.options.Plain {
		return g.Add(g.mulWeights(w, x), g.plainLowRank(u, x))
	}
	rows, t := g.project(w, u, x)
	if !g.ok(rows, t) {
		return Tensor{}
	}
	update := append([]Tensor{t}, u.B...)
	if g.takesUpdate(w, rows) {
		return g.mulMat(w, rows, update...)
	}
	y := g.mulWeights(w, rows)
	if !g.ok(y) {
		return Tensor{}
	}
	list, n := tensorList(update)
	return Tensor{C.pg_update(g.ctx, y.c, &list[0], n)}
}

// cost is that of an update of some rows (see Graph).
func (u LowRank) cost(w Tensor, rows int64) float64 {
	return 2*float64(u.ranks())*float64(rows)*float64(w.Dim(0)+w.Dim(1)) + float64(u.size())
}

// plainLowRank is B·(A·x) in ggml's own operations.
func (g *Graph) plainLowRank(u LowRank, x Tensor) (sum Tensor) {
	t := g.mulWeights(u.A, x)
	for i, rank := 0, u.First; i < len(u.B); i++ {
		b, part := u.B[i], t
		if b.Dim(1) < t.Dim(0) {
			part = g.Cont(g.Slice(t, 0, rank, b.Dim(1)))
			rank += b.Dim(1)
		}
		add := g.mulWeights(g.Cont(g.Transpose(b)), part)
		if sum.Valid() {
			add = g.Concat(sum, add, 0)
		}
		sum = add
	}
	return sum
}

// okLowRank checks that an update fits weights, and that its operand is F32.
func (g *Graph) okLowRank(w Tensor, u LowRank, x Tensor) bool {
	if !g.ok(w, u.A, x) || !g.ok(u.B...) {
		return false
	}
	known := x.Type() != gguf.TypeF32 && g.projected[x].a == u.A // then x may be padded
	if !known && !g.okF32("low rank", x) {
		return false
	}
	if u.sound() && u.fits(w) && (known || x.Dim(0) == u.A.Dim(0)) && x.Dim(0) <= w.Dim(0) && x.Dim(2)*x.Dim(3) == 1 {
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

// ranks is how many rows of A belong to B.
func (u LowRank) ranks() (r int64) {
	for _, b := range u.B {
		r += b.Dim(1)
	}
	return r
}

// fits reports whether the parts add up to weights, and A has what belongs to them.
func (u LowRank) fits(w Tensor) bool {
	n := int64(0)
	for _, b := range u.B {
		n += b.Dim(0)
	}
	return n == w.Dim(1) && u.First >= 0 && u.First+u.ranks() <= u.A.Dim(1) && w.Dim(2)*w.Dim(3) == 1
}

// size is the bytes of an update.
func (u LowRank) size() int64 {
	size := u.A.size() / u.A.Dim(1) * u.ranks()
	for _, b := range u.B {
		size += b.size()
	}
	return size
}

// tensorList is a list for C, of maxParts+1 tensors at most.
func tensorList(tensors []Tensor) (list [maxParts + 1]*C.struct_ggml_tensor, n C.int) {
	for i, t := range tensors {
		list[i] = t.c
	}
	return list, C.int(len(tensors))
}
