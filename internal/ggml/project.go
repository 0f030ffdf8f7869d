package ggml

/*
#include "kernels.h"
*/
import "C"

import "paligemma/internal/gguf"

// Factor is what will multiply rows: weights, and if they have an update, its A. Where
// rows are written for both, they are multiplied by A while they are at hand, and then
// quantized for the weights.
type Factor struct{ Weights, A Tensor }

// maxProjected is how many rows A may have that operations multiply their rows by, one
// after the other. More are better multiplied by several rows at once.
const maxProjected = 128

// projection is products of rows with A.
type projection struct{ a, t Tensor }

// rowsNext returns how an operation on x writes rows for what will multiply them, and the
// factors, one or none, by which it multiplies them itself.
func (g *Graph) rowsNext(x Tensor, next []Factor) (rowFormat, []Tensor) {
	var weights, factors []Tensor
	for _, f := range next {
		weights = append(weights, f.Weights)
		if f.A.Valid() && first(factors) != f.A {
			factors = append(factors, f.A)
		}
	}
	rows := g.rowsFor(x.Dim(0), weights...)
	if len(factors) == 0 || len(factors) == 1 && rows.Type != gguf.TypeF32 && projects(x, factors[0]) {
		return rows, factors
	}
	return rowFormat{gguf.TypeF32, x.Dim(0)}, nil
}

// projects reports whether an operation that writes rows of x can multiply them by a.
func projects(x, a Tensor) bool {
	return a.Type() == gguf.TypeF32 && a.contiguous() && a.Dim(0) == x.Dim(0) && a.Dim(1) <= maxProjected &&
		a.Dim(2)*a.Dim(3) == 1 && x.Dim(2)*x.Dim(3) == 1
}

// first is the first of some tensors, the zero Tensor if there are none.
func first(tensors []Tensor) Tensor {
	if len(tensors) == 0 {
		return Tensor{}
	}
	return tensors[0]
}

// customRows is a custom operation on args that writes rows of x, one of them, and their
// products with factors, if any.
func (g *Graph) customRows(rows rowFormat, x Tensor, op C.ggml_custom_op_t, factors []Tensor, args ...Tensor) Tensor {
	ne := rows.shape(x)
	ne[1] += int64(C.pg_projection_rows(C.enum_ggml_type(rows.Type), C.int64_t(rows.Len), C.int64_t(x.Dim(1)), first(factors).c))
	return g.withProjection(g.custom(rows.Type, ne, op, append(args, factors...)...), x, factors)
}

// withProjection returns the rows of x that are in all, behind which lie their products
// with factors, if there are any.
func (g *Graph) withProjection(all, x Tensor, factors []Tensor) Tensor {
	if len(factors) == 0 {
		return all
	}
	a, n := factors[0], x.Dim(1)
	rows := Tensor{C.ggml_view_2d(g.ctx, all.c, C.int64_t(all.Dim(0)), C.int64_t(n), C.size_t(all.stride(1)), 0)}
	g.note(rows, projection{a, Tensor{C.pg_sum_projections(g.ctx, all.c, a.c, C.int64_t(n))}})
	return rows
}

func (g *Graph) note(rows Tensor, p projection) {
	if g.projected == nil {
		g.projected = map[Tensor]projection{}
	}
	g.projected[rows] = p
}

// project returns x in rows for w, and what they are multiplied by B for: A·x.
func (g *Graph) project(w Tensor, u LowRank, x Tensor) (rows, t Tensor) {
	format, factors := g.rowsNext(x, []Factor{{w, u.A}})
	switch p := g.projected[x]; {
	case p.a == u.A:
		rows, t = g.convertOnce(x, g.rowsFor(x.Dim(0), w)), p.t
	case len(factors) > 0:
		rows = g.convertOnce(x, format, factors...)
		t = g.projected[rows].t
	default:
		rows, t = g.convertOnce(x, g.rowsFor(x.Dim(0), w)), Tensor{C.pg_project(g.ctx, u.A.c, x.c)}
		g.note(x, projection{u.A, t})
	}
	if r := u.ranks(); t.Valid() && r < t.Dim(0) {
		t = g.Slice(t, 0, u.First, r)
	}
	return rows, t
}

// conversion is rows that were converted, so that another product can take them.
type conversion struct {
	from, to, factor Tensor
	rows             rowFormat
}

// convertOnce is convertRows for rows that nothing writes any more, and that several
// products take one after the other.
func (g *Graph) convertOnce(x Tensor, rows rowFormat, factors ...Tensor) Tensor {
	c := conversion{from: x, factor: first(factors), rows: rows}
	if c.to = g.converted.to; c != g.converted {
		c.to = g.convertRows(x, rows, factors...)
		g.converted = c
	}
	return g.converted.to
}
