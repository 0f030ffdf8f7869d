package ggml

/*
#include "kernels.h"
*/
import "C"

import "paligemma/internal/gguf"

// --- elementwise ------------------------------------------------------------

// Add is a + b; b is repeated where a is larger.
func (g *Graph) Add(a, b Tensor) Tensor {
	if !g.okRepeat("add", a, b) {
		return Tensor{}
	}
	if !g.options.Plain && a.Dim(0) == b.Dim(0) {
		return g.custom(gguf.TypeF32, a.shape(), C.ggml_custom_op_t(C.pg_add), a, b)
	}
	return Tensor{C.ggml_add(g.ctx, a.c, b.c)}
}

// Mul is a · b, element by element; b is repeated where a is larger.
func (g *Graph) Mul(a, b Tensor) Tensor {
	if !g.okRepeat("mul", a, b) {
		return Tensor{}
	}
	return Tensor{C.ggml_mul(g.ctx, a.c, b.c)}
}

// okRepeat checks two F32 operands of which b can be repeated to a's shape.
func (g *Graph) okRepeat(op string, a, b Tensor) bool {
	if !g.okF32(op, a, b) {
		return false
	}
	for i := range 4 {
		if a.Dim(i)%b.Dim(i) != 0 {
			g.fail("%s: %v cannot be repeated to %v", op, b, a)
			return false
		}
	}
	return true
}

// okF32 checks that the operands are F32 with dense rows.
func (g *Graph) okF32(op string, tensors ...Tensor) bool {
	if !g.ok(tensors...) {
		return false
	}
	for _, t := range tensors {
		if t.Type() != gguf.TypeF32 || !t.denseRows() {
			g.fail("%s: %v must be f32 with dense rows", op, t)
			return false
		}
	}
	return true
}

// okContiguous checks that an F32 operand has no gaps.
func (g *Graph) okContiguous(op string, t Tensor) bool {
	if !g.okF32(op, t) {
		return false
	}
	if !t.contiguous() {
		g.fail("%s: %v is not contiguous", op, t)
		return false
	}
	return true
}

// Scale is s·a.
func (g *Graph) Scale(a Tensor, s float32) Tensor {
	if !g.okContiguous("scale", a) {
		return Tensor{}
	}
	return Tensor{C.ggml_scale(g.ctx, a.c, C.float(s))}
}

// ScaleBias is s·a + b.
func (g *Graph) ScaleBias(a Tensor, s, b float32) Tensor {
	if !g.okContiguous("scale", a) {
		return Tensor{}
	}
	return Tensor{C.ggml_scale_bias(g.ctx, a.c, C.float(s), C.float(b))}
}

// Sqr is a².
func (g *Graph) Sqr(a Tensor) Tensor {
	if !g.okContiguous("sqr", a) {
		return Tensor{}
	}
	return Tensor{C.ggml_sqr(g.ctx, a.c)}
}

// Tanh is the hyperbolic tangent.
func (g *Graph) Tanh(a Tensor) Tensor {
	if !g.okContiguous("tanh", a) {
		return Tensor{}
	}
	return Tensor{C.ggml_tanh(g.ctx, a.c)}
}

// Sigmoid is 1/(1+e^-a).
func (g *Graph) Sigmoid(a Tensor) Tensor {
	if !g.okContiguous("sigmoid", a) {
		return Tensor{}
	}
	return Tensor{C.ggml_sigmoid(g.ctx, a.c)}
}

// Gelu is the tanh form of GELU (https://arxiv.org/abs/1606.08415). On the CPU
// it is a custom kernel (gelu.c), exact to about 2e-6 of the value: ggml's
// goes through a table of half-precision values, and takes longer.
func (g *Graph) Gelu(a Tensor) Tensor {
	if !g.okContiguous("gelu", a) {
		return Tensor{}
	}
	switch {
	case !g.options.Plain:
		return g.custom(gguf.TypeF32, a.shape(), C.ggml_custom_op_t(C.pg_gelu), a)
	case g.options.Exact:
		return g.formulaGelu(a)
	}
	return Tensor{C.ggml_gelu(g.ctx, a.c)}
}

// formulaGelu writes Gelu out, for devices whose own operation may be coarse:
//
//	x/2·(1 + tanh(√(2/π)·(x + 0.044715·x³))) = x·σ(x·(a + b·x²))
//
// with a = 2·√(2/π) and b = 0.044715·a.
func (g *Graph) formulaGelu(x Tensor) Tensor {
	const a, b = 1.5957691216057308, 0.07135481282685763
	return g.Mul(g.Sigmoid(g.Mul(g.ScaleBias(g.Sqr(x), b, a), x)), x)
}

// Geglu is Gelu(gate)·up in one operation, with Gelu's precision, in rows for the
// weights that will multiply them.
func (g *Graph) Geglu(gate, up Tensor, next ...Tensor) Tensor {
	return g.geglu(gate, up, g.rowsFor(gate.Dim(0), next...))
}

func (g *Graph) geglu(gate, up Tensor, rows rowFormat) Tensor {
	if !g.okContiguous("geglu", gate) || !g.okContiguous("geglu", up) || !g.okRows("geglu", gate, rows) {
		return Tensor{}
	}
	if gate.shape() != up.shape() {
		return g.fail("geglu: %v and %v differ", gate, up)
	}
	switch {
	case !g.options.Plain:
		return g.custom(rows.Type, rows.shape(gate), C.ggml_custom_op_t(C.pg_geglu), gate, up)
	case g.options.Exact:
		return g.convertRows(g.Mul(g.formulaGelu(gate), up), rows)
	}
	return g.convertRows(Tensor{C.ggml_geglu_split(g.ctx, gate.c, up.c)}, rows)
}

// GeluBias is Gelu(a + b), b being the same for each row, in rows for the weights
// that will multiply them.
func (g *Graph) GeluBias(a, b Tensor, next ...Tensor) Tensor {
	return g.geluBias(a, b, g.rowsFor(a.Dim(0), next...))
}

func (g *Graph) geluBias(a, b Tensor, rows rowFormat) Tensor {
	if !g.okRow("gelu_bias", a, b) || !g.okRows("gelu_bias", a, rows) {
		return Tensor{}
	}
	if g.options.Plain {
		return g.convertRows(g.Gelu(g.Add(a, b)), rows)
	}
	return g.custom(rows.Type, rows.shape(a), C.ggml_custom_op_t(C.pg_gelu_bias), a, b)
}

// AddBias is a + (b + c), a and b of one shape, c being the same for each row.
func (g *Graph) AddBias(a, b, c Tensor) Tensor {
	if !g.okContiguous("add_bias", a) || !g.okRow("add_bias", b, c) {
		return Tensor{}
	}
	switch {
	case a.shape() != b.shape():
		return g.fail("add_bias: %v and %v differ", a, b)
	case g.options.Plain:
		return g.Add(a, g.Add(b, c))
	}
	return g.custom(gguf.TypeF32, a.shape(), C.ggml_custom_op_t(C.pg_add_bias), a, b, c)
}

// okRow checks an operand without gaps and another that is one of its rows.
func (g *Graph) okRow(op string, a, row Tensor) bool {
	if !g.okContiguous(op, a) || !g.okContiguous(op, row) {
		return false
	}
	if row.shape() != [4]int64{a.Dim(0), 1, 1, 1} {
		g.fail("%s: %v is not a row of %v", op, row, a)
		return false
	}
	return true
}

// custom is a custom operation on the CPU, with a result of type t and
// shape ne.
func (g *Graph) custom(t gguf.Type, ne [4]int64, op C.ggml_custom_op_t, args ...Tensor) Tensor {
	var list [3]*C.struct_ggml_tensor
	n := 0
	for _, a := range args {
		list[n] = a.c
		n++
	}
	return Tensor{C.ggml_custom_4d(g.ctx, C.enum_ggml_type(t), C.int64_t(ne[0]), C.int64_t(ne[1]), C.int64_t(ne[2]), C.int64_t(ne[3]),
		&list[0], C.int(n), op, C.GGML_N_TASKS_MAX, nil)}
}

// Relu is max(a, 0).
func (g *Graph) Relu(a Tensor) Tensor {
	if !g.okContiguous("relu", a) {
		return Tensor{}
	}
	return Tensor{C.ggml_relu(g.ctx, a.c)}
}

// --- normalization ----------------------------------------------------------

// Norm is (a − mean)/sqrt(variance + eps) over dimension 0.
func (g *Graph) Norm(a Tensor, eps float32) Tensor {
	if !g.okF32("norm", a) || !g.okEps("norm", eps) {
		return Tensor{}
	}
	return Tensor{C.ggml_norm(g.ctx, a.c, C.float(eps))}
}

// LayerNorm is Norm(a)·w + b, w and b being the same for each row, in rows for the
// weights that will multiply them.
func (g *Graph) LayerNorm(a, w, b Tensor, eps float32, next ...Tensor) Tensor {
	return g.layerNorm(a, w, b, eps, g.rowsFor(a.Dim(0), next...))
}

func (g *Graph) layerNorm(a, w, b Tensor, eps float32, rows rowFormat) Tensor {
	if !g.okRow("layer_norm", a, w) || !g.okRow("layer_norm", a, b) || !g.okEps("layer_norm", eps) || !g.okRows("layer_norm", a, rows) {
		return Tensor{}
	}
	if g.options.Plain {
		return g.convertRows(g.Add(g.Mul(g.Norm(a, eps), w), b), rows)
	}
	return Tensor{C.pg_layer_norm(g.ctx, a.c, w.c, b.c, C.float(eps), C.enum_ggml_type(rows.Type), C.int64_t(rows.Len))}
}

// RMSNorm is a/sqrt(mean(a²) + eps)·w over dimension 0, w being the same for each
// row (https://arxiv.org/abs/1910.07467), in rows for the weights that will
// multiply them.
func (g *Graph) RMSNorm(a, w Tensor, eps float32, next ...Tensor) Tensor {
	return g.rmsNorm(a, w, eps, g.rowsFor(a.Dim(0), next...))
}

func (g *Graph) rmsNorm(a, w Tensor, eps float32, rows rowFormat) Tensor {
	if !g.okRow("rms_norm", a, w) || !g.okEps("rms_norm", eps) || !g.okRows("rms_norm", a, rows) {
		return Tensor{}
	}
	if g.options.Plain {
		return g.convertRows(g.Mul(Tensor{C.ggml_rms_norm(g.ctx, a.c, C.float(eps))}, w), rows)
	}
	return Tensor{C.pg_rms_norm(g.ctx, a.c, w.c, C.float(eps), C.enum_ggml_type(rows.Type), C.int64_t(rows.Len))}
}

func (g *Graph) okEps(op string, eps float32) bool {
	if !(eps >= 0) {
		g.fail("%s: epsilon is %v", op, eps)
		return false
	}
	return true
}

// SoftMax is softmax(scale·a + mask) over dimension 0. The mask [n, T] holds 0
// or −Inf and is repeated over dimensions 2 and 3; it may be the zero Tensor.
func (g *Graph) SoftMax(a, mask Tensor, scale float32) Tensor {
	if !g.okContiguous("softmax", a) {
		return Tensor{}
	}
	if mask.Valid() {
		if !g.okContiguous("softmax", mask) {
			return Tensor{}
		}
		if mask.Dim(0) != a.Dim(0) || mask.Dim(1) < a.Dim(1) || a.Dim(2)%mask.Dim(2) != 0 || a.Dim(3)%mask.Dim(3) != 0 {
			return g.fail("softmax: the mask %v does not fit %v", mask, a)
		}
	}
	return Tensor{C.ggml_soft_max_ext(g.ctx, a.c, mask.c, C.float(scale), 0)}
}

// tileQueries is the least number of queries for which scores are made in tiles.
const tileQueries = 64

// Tiles reports whether FlashAttention is there and best for that many queries.
func (g *Graph) Tiles(queries int64) bool { return !g.options.Plain && queries >= g.backend.tiles }

// FlashAttention is softmax(cap(scale·Q·Kᵀ))·V for q [d, T, heads], k [d, n,
// kv_heads] and v [dv, n, kv_heads], all F32 and each query seeing all keys:
// [dv, heads, T]. Query head h uses key head h·kv_heads/heads. The scores exist
// only in tiles. softcap 0 is none. It is a custom kernel (attention.c), for
// graphs that are not Plain.
func (g *Graph) FlashAttention(q, k, v Tensor, scale, softcap float32) Tensor {
	if !g.okF32("flash attention", q, k, v) {
		return Tensor{}
	}
	if q.Dim(0) != k.Dim(0) || k.Dim(1) != v.Dim(1) || k.Dim(2) != v.Dim(2) || q.Dim(2)%k.Dim(2) != 0 ||
		q.Dim(3) != 1 || k.Dim(3) != 1 || v.Dim(3) != 1 || g.options.Plain {
		return g.fail("flash attention: %v, %v and %v do not fit", q, k, v)
	}
	g.cost += 2 * float64(q.Elements()) * float64(k.Dim(1)) * 2 // scores, and sums of values
	return Tensor{C.pg_attention(g.ctx, q.c, k.c, v.c, C.float(scale), C.float(softcap), C.bool(g.options.Exact), C.int(g.backend.threads))}
}

// --- products ---------------------------------------------------------------

// MulMat is the product of a [k, n, …] with each row of b [k, T, …]: [n, T, …].
// a may be quantized and is repeated over dimensions 2 and 3 of b, which is F32
// or has the type that rowsFor gives for a.
func (g *Graph) MulMat(a, b Tensor) Tensor {
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
	if quantized && g.ownProduct(a.Type(), a.Dim(0)) && a.Dim(2)*a.Dim(3) == 1 {
		return Tensor{C.pg_product(g.ctx, a.c, b.c, C.int(g.backend.threads))}
	}
	g.native += cost
	return Tensor{C.ggml_mul_mat(g.ctx, a.c, b.c)}
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

// MulWeights is the product of weights with each row of x, which is brought into
// the form that the weights' type wants and padded where their rows are.
func (g *Graph) MulWeights(w, x Tensor) Tensor {
	x = g.convertRows(x, g.rowsFor(x.Dim(0), w))
	if !g.options.Apart || !g.options.Exact || x.Dim(2)*x.Dim(3) != 1 {
		return g.MulMat(w, x)
	}
	// ggml multiplies one row otherwise than several. Rows that are matrices of
	// their own are each multiplied as one, and still read the weights once.
	y := g.MulMat(w, g.Reshape(x, x.Dim(0), 1, x.Dim(1)))
	return g.Reshape(y, y.Dim(0), y.Dim(2))
}

// ownProduct reports whether products of weights of type t, in rows of k, with the
// rows that rowsFor gives for them are a custom kernel (matmul.c).
func (g *Graph) ownProduct(t gguf.Type, k int64) bool {
	return !g.backend.ggmlProducts && multiplies(t, k)
}

// multiplies reports whether there is a custom kernel for products with weights of
// type t, in rows of k, on this processor.
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

// --- shapes and copies ------------------------------------------------------

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
