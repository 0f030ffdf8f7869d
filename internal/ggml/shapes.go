package ggml

/*
#include "ggml.h"
*/
import "C"

import "paligemma/internal/gguf"

// Reshape gives a contiguous tensor another shape.
func (g *Graph) Reshape(a Tensor, shape ...int64) Tensor {
	if !g.ok(a) {
		return Tensor{}
	}
	ne, n := dims4(shape)
	if len(shape) < 1 || len(shape) > 4 || n != a.Elements() || !a.contiguous() {
		return g.fail("reshape: %v to %v", a, shape)
	}
	return Tensor{C.ggml_reshape_4d(g.ctx, a.c, ne[0], ne[1], ne[2], ne[3])}
}

func dims4(shape []int64) (ne [4]C.int64_t, n int64) {
	ne, n = [4]C.int64_t{1, 1, 1, 1}, 1
	for i, d := range shape {
		if i < 4 {
			ne[i] = C.int64_t(d)
		}
		if d < 1 {
			return ne, -1
		}
		n *= d
	}
	return ne, n
}

// Slice is the part [from, from+n) of dimension dim, without a copy. Dimension
// 0 can be sliced only for types without blocks.
func (g *Graph) Slice(a Tensor, dim int, from, n int64) Tensor {
	if !g.ok(a) {
		return Tensor{}
	}
	if dim < 0 || dim > 3 || from < 0 || n < 1 || from > a.Dim(dim)-n || (dim == 0 && a.Type().BlockSize() != 1) {
		return g.fail("slice: [%d, %d+%d) of dimension %d of %v", from, from, n, dim, a)
	}
	ne := a.shape()
	ne[dim] = n
	return Tensor{C.ggml_view_4d(g.ctx, a.c, C.int64_t(ne[0]), C.int64_t(ne[1]), C.int64_t(ne[2]), C.int64_t(ne[3]),
		a.c.nb[1], a.c.nb[2], a.c.nb[3], C.size_t(from*a.stride(dim)))}
}

// Permute moves dimension i of a to place axes[i], without a copy.
func (g *Graph) Permute(a Tensor, axes [4]int) Tensor {
	if !g.ok(a) {
		return Tensor{}
	}
	var seen [4]bool
	for _, x := range axes {
		if x < 0 || x > 3 || seen[x] {
			return g.fail("permute: %v is not a permutation", axes)
		}
		seen[x] = true
	}
	return Tensor{C.ggml_permute(g.ctx, a.c, C.int(axes[0]), C.int(axes[1]), C.int(axes[2]), C.int(axes[3]))}
}

// Transpose swaps dimensions 0 and 1, without a copy.
func (g *Graph) Transpose(a Tensor) Tensor { return g.Permute(a, [4]int{1, 0, 2, 3}) }

// Cont copies a to contiguous memory with the shape given (a's own if none).
func (g *Graph) Cont(a Tensor, shape ...int64) Tensor {
	if !g.ok(a) {
		return Tensor{}
	}
	if len(shape) == 0 {
		s := a.shape()
		shape = s[:]
	}
	ne, n := dims4(shape)
	if len(shape) > 4 || n != a.Elements() || a.Type().BlockSize() != 1 {
		return g.fail("cont: %v to %v", a, shape)
	}
	return Tensor{C.ggml_cont_4d(g.ctx, a.c, ne[0], ne[1], ne[2], ne[3])}
}

// Copy writes a into the memory of dst (a view of a Store's tensor, say),
// converting the type. The result must be given to Run.
func (g *Graph) Copy(a, dst Tensor) Tensor {
	if !g.ok(a, dst) {
		return Tensor{}
	}
	if a.Elements() != dst.Elements() || a.Type().BlockSize() != 1 || dst.Type().BlockSize() != 1 {
		return g.fail("copy: %v to %v", a, dst)
	}
	return Tensor{C.ggml_cpy(g.ctx, a.c, dst.c)}
}

// Concat appends b to a along dimension dim.
func (g *Graph) Concat(a, b Tensor, dim int) Tensor {
	if !g.okF32("concat", a, b) {
		return Tensor{}
	}
	for i := range 4 {
		if dim < 0 || dim > 3 || (i != dim && a.Dim(i) != b.Dim(i)) {
			return g.fail("concat: %v and %v along %d", a, b, dim)
		}
	}
	return Tensor{C.ggml_concat(g.ctx, a.c, b.c, C.int(dim))}
}

// GetRows picks rows of a [n, rows] by I32 indices [k]: F32 [n, k]. The caller
// vouches for the indices.
func (g *Graph) GetRows(a, indices Tensor) Tensor {
	if !g.ok(a, indices) {
		return Tensor{}
	}
	if indices.Type() != gguf.TypeI32 || indices.Dim(1)*indices.Dim(2)*indices.Dim(3) != 1 ||
		a.Dim(2)*a.Dim(3) != 1 || !MatrixType(a.Type()) || !a.denseRows() {
		return g.fail("rows %v of %v", indices, a)
	}
	return Tensor{C.ggml_get_rows(g.ctx, a.c, indices.c)}
}
