package ggml

/*
#include <stdlib.h>
#include "ggml.h"
#include "cells.h"
#include "kernels.h"
*/
import "C"

import (
	"unsafe"

	"paligemma/internal/gguf"
)

// CellRun is a run of cells: keys and values [d, kv_heads, n] of a Store, F16.
type CellRun struct{ Keys, Values Tensor }

// CellRange is the cells [From, To) of a sequence, counted over its runs.
type CellRange struct{ From, To int32 }

// CellPart is what a pass appends to one sequence.
type CellPart struct {
	Runs []CellRun   // the sequence's cells, one or two runs: the last cells are for the tokens
	Seen []CellRange // the cells that each token sees
}

// CellParts are parts as operations take them: for one AppendCells and one
// AttendCells, until the graph is closed.
type CellParts struct {
	c      *C.struct_cell_parts
	tokens int64
	d, kv  int64
	pairs  float64 // of tokens and cells
}

// NewCellParts checks the parts of a pass, whose tokens follow one another.
func (g *Graph) NewCellParts(parts []CellPart) CellParts {
	var p CellParts
	if !g.ok() || !g.okParts(parts, &p) {
		return CellParts{}
	}
	n := C.size_t(len(parts))
	tables := g.allocate(n*C.sizeof_struct_cell_part + C.size_t(p.tokens)*C.sizeof_struct_cell_range)
	all := g.allocate(C.sizeof_struct_cell_parts + n*C.size_t(p.kv)*C.sizeof_int32_t)
	if tables == nil || all == nil {
		return CellParts{}
	}
	list := unsafe.Slice((*C.struct_cell_part)(tables), len(parts))
	seen := unsafe.Slice((*C.struct_cell_range)(unsafe.Add(tables, n*C.sizeof_struct_cell_part)), p.tokens)
	first := 0
	for i, part := range parts {
		list[i] = C.struct_cell_part{first: C.int64_t(first), tokens: C.int64_t(len(part.Seen)), seen: &seen[first]}
		for j, run := range part.Runs {
			list[i].runs[j] = C.struct_cell_run{(*C.uint16_t)(run.Keys.c.data), (*C.uint16_t)(run.Values.c.data), C.int64_t(run.Keys.Dim(2))}
		}
		for j, r := range part.Seen {
			seen[first+j] = C.struct_cell_range{C.int32_t(r.From), C.int32_t(r.To)}
		}
		first += len(part.Seen)
	}
	p.c = (*C.struct_cell_parts)(all)
	*p.c = C.struct_cell_parts{n: C.int64_t(n), kv_heads: C.int64_t(p.kv), parts: &list[0], arrived: (*C.int32_t)(unsafe.Add(all, C.sizeof_struct_cell_parts))}
	return p
}

// okParts checks parts and says what they have in common.
func (g *Graph) okParts(parts []CellPart, p *CellParts) bool {
	if g.backend.Attention(g.options) != AttentionRanges {
		g.fail("cells: not in this graph")
		return false
	}
	if len(parts) == 0 || len(parts[0].Runs) == 0 {
		g.fail("cells: no tokens")
		return false
	}
	if !g.ok(parts[0].Runs[0].Keys) {
		return false
	}
	p.d, p.kv = parts[0].Runs[0].Keys.Dim(0), parts[0].Runs[0].Keys.Dim(1)
	for _, part := range parts {
		cells, ok := g.okRuns(part, p.d, p.kv)
		if !ok {
			return false
		}
		for _, r := range part.Seen {
			if r.From < 0 || r.From >= r.To || int64(r.To) > cells {
				g.fail("cells: [%d, %d) of %d", r.From, r.To, cells)
				return false
			}
			p.pairs += float64(r.To - r.From)
		}
		p.tokens += int64(len(part.Seen))
	}
	return true
}

// okRuns checks the runs of a part and counts their cells.
func (g *Graph) okRuns(part CellPart, d, kv int64) (cells int64, ok bool) {
	if len(part.Runs) < 1 || len(part.Runs) > 2 || len(part.Seen) == 0 {
		g.fail("cells: %d runs for %d tokens", len(part.Runs), len(part.Seen))
		return 0, false
	}
	last := int64(0)
	for _, run := range part.Runs {
		if !g.ok(run.Keys, run.Values) {
			return 0, false
		}
		if !run.Keys.isCells(d, kv) || !run.Values.isCells(d, kv) || run.Keys.Dim(2) != run.Values.Dim(2) {
			g.fail("cells: keys %v and values %v", run.Keys, run.Values)
			return 0, false
		}
		last = run.Keys.Dim(2)
		cells += last
	}
	if int64(len(part.Seen)) > last {
		g.fail("cells: %d tokens for %d cells", len(part.Seen), last)
		return 0, false
	}
	return cells, true
}

// isCells reports whether t lies in memory as cells do.
func (t Tensor) isCells(d, kv int64) bool {
	return t.Type() == gguf.TypeF16 && t.Dim(0) == d && t.Dim(1) == kv && t.Dim(3) == 1 && t.contiguous() && t.c.data != nil
}

// allocate returns zeroed memory that the graph frees.
func (g *Graph) allocate(size C.size_t) unsafe.Pointer {
	if size > slack && !allocatable(int64(size)) {
		g.err = ErrMemory
		return nil
	}
	p := C.calloc(1, size)
	if p == nil {
		g.err = ErrMemory
		return nil
	}
	g.owned = append(g.owned, p)
	return p
}

// AppendCells rotates queries q [d, heads, T] and keys k [d, kv_heads, T] and writes
// the keys, and the values v [d, kv_heads, T], to the cells of the parts' tokens.
func (g *Graph) AppendCells(q, k, v Tensor, r Rotary, p CellParts) (queries, keys Tensor) {
	if !g.okF32("append", q, k, v, r.table) || p.c == nil {
		return Tensor{}, Tensor{}
	}
	if q.Dim(0) != p.d || k.shape() != [4]int64{p.d, p.kv, p.tokens, 1} || v.shape() != k.shape() || q.Dim(2) != p.tokens || q.Dim(3) != 1 ||
		r.table.shape() != [4]int64{p.d, p.tokens, 1, 1} || !r.table.contiguous() {
		return g.fail("append: %v, %v and %v do not fit %d tokens", q, k, v, p.tokens), Tensor{}
	}
	both := Tensor{C.pg_append(g.ctx, q.c, k.c, v.c, r.table.c, p.c)}
	g.Run(both)
	return g.Slice(both, 1, 0, q.Dim(1)), g.Slice(both, 1, q.Dim(1), p.kv)
}

// AttendCells is softmax(cap(scale·Q·Kᵀ))·V for q [d, heads, T] as AppendCells
// returns it, each token seeing its range of its sequence's cells: [d, heads, T]. A
// token has the same bits whatever tokens of other sequences are computed with it.
func (g *Graph) AttendCells(q Tensor, p CellParts, scale, softcap float32) Tensor {
	if !g.okF32("attend", q) || p.c == nil {
		return Tensor{}
	}
	if q.Dim(0) != p.d || q.Dim(2) != p.tokens || q.Dim(3) != 1 || q.Dim(1)%p.kv != 0 {
		return g.fail("attend: %v does not fit %d tokens", q, p.tokens)
	}
	g.cost += 4 * p.pairs * float64(q.Dim(0)*q.Dim(1))
	p.c.scale, p.c.cap = C.float(scale), C.float(softcap)
	return Tensor{C.pg_attend(g.ctx, q.c, p.c, C.int(g.backend.threads))}
}
