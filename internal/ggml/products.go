package ggml

/*
#include "kernels.h"
*/
import "C"

import "paligemma/internal/gguf"

// MulMat is the product of a [k, n, …] with each row of b [k, T, …]: [n, T, …].
// a may be quantized and is repeated over dimensions 2 and 3 of b, which is F32
// or has the type that rowsFor gives for a. Devices that would add up in F16 are asked
// for F32: scores and activations can exceed what F16 holds.
func (g *Graph) MulMat(a, b Tensor) Tensor {
	y := g.mulMat(a, b)
	if y.Valid() {
		C.ggml_prec_set_acc(y.c, precisionF32) // what is no product of ggml's does not take it
	}
	return y
}

// mulMat is the product with weights a, and with an update, if any, which a product that
// takes one adds.
func (g *Graph) mulMat(a, b Tensor, update ...Tensor) Tensor {
	if !g.ok(a, b) {
		return Tensor{}
	}
	quantized := quantizes(b.Type())
	if !quantized && !g.okF32("matmul", b) {
		return Tensor{}
	}
	if quantized && (!b.contiguous() || g.rowsFor(b.Dim(0), a).Type != b.Type()) {
		return g.fail("matmul: %v does not take %v", a, b)
	}
	if !g.okShapes(a, b) {
		return Tensor{}
	}
	cost := 2*float64(b.Elements())*float64(a.Dim(1)) + 4*float64(a.size())
	g.cost += cost
	if g.takesUpdate(a, b) {
		list, n := tensorList(update)
		return Tensor{C.pg_product(g.ctx, a.c, b.c, C.int(g.backend.threads), &list[0], n)}
	}
	g.native += cost
	if g.tiled(a, b) {
		return g.mulPadded(a, b)
	}
	y := C.ggml_mul_mat(g.ctx, a.c, b.c)
	C.ggml_prec_set_acc(y, precision(a.Type(), b.Dim(1)))
	return Tensor{y}
}

// The least precise type in which a device may add up a product. The CPU takes none of
// them: it adds up in F32.
const (
	precisionAny  = C.GGML_PREC_UNDEFINED
	precisionF32  = C.GGML_PREC_F32
	precisionBF16 = C.GGML_PREC_BF16
)

// fewRows is up to how many rows a product takes no longer in F32 than in F16: it is as
// fast as the weights are read.
const fewRows = 8

// precision returns that of products of weights with rows. Unless they are asked for more,
// devices may add up in F16 what they multiply in F16: weights of that type and, on Vulkan,
// quantized ones. Gemma's activations can exceed what F16 holds. Of many rows it is BF16,
// which has the range of F32: for F32 devices would turn the weights to F32.
func precision(weights gguf.Type, rows int64) C.enum_ggml_prec {
	switch {
	case weights == gguf.TypeF32 || weights == gguf.TypeBF16:
		return precisionAny
	case rows <= fewRows:
		return precisionF32
	}
	return precisionBF16
}

// takesUpdate reports whether the product of a and b is a custom kernel, which can add
// an update to its results.
func (g *Graph) takesUpdate(a, b Tensor) bool {
	return quantizes(b.Type()) && g.ownProduct(a.Type(), a.Dim(0)) && a.Dim(2)*a.Dim(3) == 1
}

// okShapes reports whether a is a matrix that fits b; else the graph has failed.
func (g *Graph) okShapes(a, b Tensor) bool {
	switch {
	case a.Dim(0) != b.Dim(0) || b.Dim(2)%a.Dim(2) != 0 || b.Dim(3)%a.Dim(3) != 0:
		g.fail("matmul: %v and %v do not fit", a, b)
	case !a.denseRows() || a.stride(0) > a.stride(1) || !MatrixType(a.Type()):
		g.fail("matmul: %v cannot be a matrix", a)
	case b.Elements()/b.Dim(0) > maxElements/a.Dim(1):
		g.fail("matmul: the product of %v and %v is too large", a, b)
	default:
		return true
	}
	return false
}

// mulWeights is MulWeights without an update.
func (g *Graph) mulWeights(w, x Tensor) Tensor {
	x = g.convertRows(x, g.rowsFor(x.Dim(0), w))
	if !g.options.Apart || !g.options.Exact || x.Dim(2)*x.Dim(3) != 1 {
		return g.mulMat(w, x)
	}
	// ggml multiplies one row otherwise than several. Rows that are matrices of
	// their own are each multiplied as one, and still read the weights once.
	y := g.mulMat(w, g.Reshape(x, x.Dim(0), 1, x.Dim(1)))
	return g.Reshape(y, y.Dim(0), y.Dim(2))
}

// ownProduct reports whether products of weights of type t, in rows of k, with the
// rows that rowsFor gives for them are a custom kernel (matmul.c).
func (g *Graph) ownProduct(t gguf.Type, k int64) bool {
	return !g.backend.ggmlProducts && multiplies(t, k)
}

// multiplies reports whether there is a custom kernel for products with weights of
// type t, in rows of k, among those of the instruction sets in use.
func multiplies(t gguf.Type, k int64) bool {
	return C.pg_multiplies(C.enum_ggml_type(t), C.int64_t(k)) != 0
}

// maxElements is more than any memory holds, and far from overflowing.
const maxElements = 1 << 50

// MatrixType reports whether MulMat takes matrices of type t. These are also the
// types that Quantize makes.
func MatrixType(t gguf.Type) bool {
	switch t {
	case gguf.TypeF32, gguf.TypeF16, gguf.TypeBF16,
		gguf.TypeQ4_0, gguf.TypeQ4_1, gguf.TypeQ5_0, gguf.TypeQ5_1, gguf.TypeQ8_0,
		gguf.TypeQ2_K, gguf.TypeQ3_K, gguf.TypeQ4_K, gguf.TypeQ5_K, gguf.TypeQ6_K,
		gguf.TypeIQ4_NL, gguf.TypeIQ4_XS:
		return true
	}
	return false
}

// Conv2D is a convolution of x [w, h, in, n] with an F32 kernel [kw, kh, in,
// out], stride 1 and pad zeros around x, in F32: [w', h', out, n]. (ggml's own
// conv_2d rounds to F16 on the way.)
func (g *Graph) Conv2D(kernel, x Tensor, pad int) Tensor {
	if !g.okContiguous("conv2d", kernel) || !g.okContiguous("conv2d", x) {
		return Tensor{}
	}
	kw, kh, in, out := kernel.Dim(0), kernel.Dim(1), kernel.Dim(2), kernel.Dim(3)
	w, h := x.Dim(0)+2*int64(pad)-kw+1, x.Dim(1)+2*int64(pad)-kh+1
	if in != x.Dim(2) || pad < 0 || w < 1 || h < 1 {
		return g.fail("conv2d: %v on %v with padding %d", kernel, x, pad)
	}
	columns := Tensor{C.ggml_im2col(g.ctx, kernel.c, x.c, 1, 1, C.int(pad), C.int(pad), 1, 1, true, C.GGML_TYPE_F32)} // [in·kh·kw, w', h', n]
	n := x.Dim(3)
	y := g.MulMat(g.Reshape(columns, kw*kh*in, w*h*n), g.Reshape(kernel, kw*kh*in, out)) // [w'·h'·n, out]
	y = g.Permute(g.Reshape(y, w*h, n, out), [4]int{0, 2, 1, 3})                         // [w'·h', out, n]
	return g.Cont(y, w, h, out, n)
}
