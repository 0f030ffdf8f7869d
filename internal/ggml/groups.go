package ggml

/*
#include "kernels.h"
#include "update.h"
*/
import "C"

import (
	"slices"
	"unsafe"
)

// mulGroups is MulWeights with an update for each group of rows: the weights meet all rows
// at once, and each group has the bits that it has by itself.
func (g *Graph) mulGroups(w, x Tensor) Tensor {
	if !g.okGroups(w, x) {
		return Tensor{}
	}
	if g.options.Plain {
		return g.plainGroups(w, x)
	}
	rows, factors := g.convertOnce(x, g.rowsFor(x.Dim(0), w)), g.factors(w)
	groups := g.newGroups(w, x)
	if groups == nil {
		return Tensor{}
	}
	p := g.projected[x]
	if !slices.Equal(p.groups, factors) {
		p = projection{groups: factors, t: Tensor{C.pg_project_groups(g.ctx, x.c, groups)}}
		g.note(x, p)
	}
	y := g.mulWeights(w, rows)
	if !g.ok(y) {
		return Tensor{}
	}
	return Tensor{C.pg_update_groups(g.ctx, y.c, p.t.c, groups)}
}

// okGroups checks that the groups' updates fit weights and rows, of which x are all.
func (g *Graph) okGroups(w, x Tensor) bool {
	if !g.ok(w, x) || !g.okContiguous("low rank", x) {
		return false
	}
	rows := int64(0)
	for _, r := range g.updates {
		if u := r.Updates[w]; u.Valid() && !g.okLowRank(w, u, x) {
			return false
		}
		rows += r.Rows
		if r.Rows < 1 || rows > x.Dim(1) {
			g.fail("low rank: groups of %d rows and more for %v", rows, x)
			return false
		}
	}
	if rows != x.Dim(1) {
		g.fail("low rank: groups of %d rows for %v", rows, x)
	}
	return rows == x.Dim(1)
}

// factors are the A of each group's update of weights, the zero Tensor where it has none.
func (g *Graph) factors(w Tensor) []Tensor {
	list := make([]Tensor, len(g.updates))
	for i, r := range g.updates {
		list[i] = r.Updates[w].A
	}
	return list
}

// newGroups describes the groups' updates of weights to operations on rows x; nil if there
// is no memory.
func (g *Graph) newGroups(w, x Tensor) *C.struct_update_groups {
	n := len(g.updates)
	all := g.allocate(C.sizeof_struct_update_groups + C.size_t(n)*C.sizeof_struct_update_group)
	if all == nil {
		return nil
	}
	list := unsafe.Slice((*C.struct_update_group)(unsafe.Add(all, C.sizeof_struct_update_groups)), n)
	groups := (*C.struct_update_groups)(all)
	*groups = C.struct_update_groups{n: C.int64_t(n), group: &list[0]}
	end := int64(0)
	for i, r := range g.updates {
		end += r.Rows
		list[i].end = C.int64_t(end)
		u := r.Updates[w]
		if !u.Valid() {
			continue
		}
		g.cost += u.cost(w, r.Rows)
		groups.ranks = max(groups.ranks, C.int64_t(u.A.Dim(1)))
		list[i].a, list[i].first = u.A.c, C.int64_t(u.First)
		list[i].blocks = C.bool(g.rowsTimes(x, []Tensor{w}, u.A).Factor.Valid())
		for j, b := range u.B {
			list[i].b[j] = b.c
		}
		list[i].parts = C.int64_t(len(u.B))
	}
	return groups
}

// plainGroups is mulGroups in ggml's own operations.
func (g *Graph) plainGroups(w, x Tensor) Tensor {
	y := g.mulWeights(w, x)
	var all Tensor
	from := int64(0)
	for _, r := range g.updates {
		part := g.Slice(y, 1, from, r.Rows)
		if u := r.Updates[w]; u.Valid() {
			g.cost += u.cost(w, r.Rows)
			part = g.Add(part, g.plainLowRank(u, g.Slice(x, 1, from, r.Rows)))
		}
		if all.Valid() {
			part = g.Concat(all, part, 1)
		}
		all, from = part, from+r.Rows
	}
	return all
}
