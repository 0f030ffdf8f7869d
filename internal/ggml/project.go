package ggml

/*
#include "kernels.h"
*/
import "C"

import (
	"slices"

	"paligemma/internal/gguf"
)

// maxProjected is how many rows A may have that operations multiply their rows by, one
// after the other. More are better multiplied by several rows at once.
const maxProjected = 128

// projection is products of rows with A, or of groups of rows each with its own.
type projection struct {
	a, t   Tensor
	groups []Tensor // the A of each
}

// rowsNext returns how an operation on x writes rows for the weights that will multiply
// them. Where these have an update, rows are multiplied by its A while they are at hand,
// and then quantized. Groups of rows stay F32: each has another A.
func (g *Graph) rowsNext(x Tensor, next []Tensor) rowFormat {
	var factors []Tensor
	for _, w := range next {
		if len(g.updates) == 1 && g.updates[0].Updates[w].Valid() {
			factors = append(factors, g.updates[0].Updates[w].A)
		} else if g.updated(w) {
			return rowFormat{Type: gguf.TypeF32, Len: x.Dim(0)}
		}
	}
	return g.rowsTimes(x, next, factors...)
}

// rowsTimes returns how an operation on x writes rows that weights will multiply, and
// factors before they are quantized.
func (g *Graph) rowsTimes(x Tensor, weights []Tensor, factors ...Tensor) rowFormat {
	rows := g.rowsFor(x.Dim(0), weights...)
	if len(factors) == 0 {
		return rows
	}
	a := factors[0]
	one := !slices.ContainsFunc(factors, func(f Tensor) bool { return f != a })
	if !one || rows.Type == gguf.TypeF32 || !projects(x, a) {
		return rowFormat{Type: gguf.TypeF32, Len: x.Dim(0)}
	}
	rows.Factor = a
	return rows
}

// projects reports whether an operation that writes rows of x can multiply them by a.
func projects(x, a Tensor) bool {
	return a.Type() == gguf.TypeF32 && a.contiguous() && a.Dim(0) == x.Dim(0) && a.Dim(1) <= maxProjected &&
		a.Dim(2)*a.Dim(3) == 1 && x.Dim(2)*x.Dim(3) == 1
}

// customRows is a custom operation on args that writes rows of x, one of them.
func (g *Graph) customRows(rows rowFormat, x Tensor, op C.ggml_custom_op_t, args ...Tensor) Tensor {
	ne := rows.shape(x)
	ne[1] += int64(C.pg_projection_rows(C.enum_ggml_type(rows.Type), C.int64_t(rows.Len), C.int64_t(x.Dim(1)), rows.Factor.c))
	if rows.Factor.Valid() {
		args = append(args, rows.Factor)
	}
	return g.withProjection(g.custom(rows.Type, ne, op, args...), x, rows)
}

// withProjection returns the rows of x that are in all, after which come their products
// with the format's factor, if it has one.
func (g *Graph) withProjection(all, x Tensor, rows rowFormat) Tensor {
	if !rows.Factor.Valid() {
		return all
	}
	n := x.Dim(1)
	written := Tensor{C.ggml_view_2d(g.ctx, all.c, C.int64_t(all.Dim(0)), C.int64_t(n), C.size_t(all.stride(1)), 0)}
	g.note(written, projection{a: rows.Factor, t: Tensor{C.pg_sum_projections(g.ctx, all.c, rows.Factor.c, C.int64_t(n))}})
	return written
}

func (g *Graph) note(rows Tensor, p projection) {
	if g.projected == nil {
		g.projected = map[Tensor]projection{}
	}
	g.projected[rows] = p
}

// project returns x in rows for w, and what they are multiplied by B for: A·x.
func (g *Graph) project(w Tensor, u LowRank, x Tensor) (rows, t Tensor) {
	p := g.projected[x]
	format := g.rowsTimes(x, []Tensor{w}, u.A)
	switch {
	case p.a == u.A:
		rows, t = g.convertOnce(x, g.rowsFor(x.Dim(0), w)), p.t
	case format.Factor.Valid():
		rows = g.convertOnce(x, format)
		t = g.projected[rows].t
	default:
		rows, t = g.convertOnce(x, g.rowsFor(x.Dim(0), w)), Tensor{C.pg_project(g.ctx, u.A.c, x.c)}
		g.note(x, projection{a: u.A, t: t})
	}
	if r := u.ranks(); t.Valid() && r < t.Dim(0) {
		t = g.Slice(t, 0, u.First, r)
	}
	return rows, t
}

// conversion is rows that were converted, so that another product can take them.
type conversion struct {
	from, to Tensor
	rows     rowFormat
}

// convertOnce is convertRows for rows that nothing writes any more, and that several
// products take one after the other.
func (g *Graph) convertOnce(x Tensor, rows rowFormat) Tensor {
	if c := g.converted; c.from != x || c.rows != rows {
		g.converted = conversion{x, g.convertRows(x, rows), rows}
	}
	return g.converted.to
}
