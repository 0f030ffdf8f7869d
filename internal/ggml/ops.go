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
	if a = g.packed("scale", a); !a.Valid() {
		return Tensor{}
	}
	return Tensor{C.ggml_scale(g.ctx, a.c, C.float(s))}
}

// ScaleBias is s·a + b.
func (g *Graph) ScaleBias(a Tensor, s, b float32) Tensor {
	if a = g.packed("scale", a); !a.Valid() {
		return Tensor{}
	}
	return Tensor{C.ggml_scale_bias(g.ctx, a.c, C.float(s), C.float(b))}
}

// packed is an F32 operand without gaps, with the strides that ggml's scaling asserts. In a
// part of a tensor, those of dimensions of one element can be others.
func (g *Graph) packed(op string, a Tensor) Tensor {
	if !g.okContiguous(op, a) {
		return Tensor{}
	}
	for i := 1; i < 4; i++ {
		if a.stride(i) != a.stride(i-1)*a.Dim(i-1) {
			return g.Reshape(a, a.Dim(0), a.Dim(1), a.Dim(2), a.Dim(3))
		}
	}
	return a
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

// SoftCap is limit·tanh(a/limit). Other devices than the CPU get it as
//
//	limit·(2·σ(2·a/limit) − 1)
//
// since their tanh may be coarse, such as CUDA's, which has 11 bits.
func (g *Graph) SoftCap(a Tensor, limit float32) Tensor {
	if g.options.Plain {
		return g.ScaleBias(g.Sigmoid(g.Scale(a, 2/limit)), 2*limit, -limit)
	}
	return g.Scale(g.Tanh(g.Scale(a, 1/limit)), limit)
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
	return g.geglu(gate, up, g.rowsNext(gate, next))
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
		return g.customRows(rows, gate, C.ggml_custom_op_t(C.pg_geglu), gate, up)
	case g.options.Exact:
		return g.convertRows(g.Mul(g.formulaGelu(gate), up), rows)
	}
	return g.convertRows(Tensor{C.ggml_geglu_split(g.ctx, gate.c, up.c)}, rows)
}

// GeluBias is Gelu(a + b), b being the same for each row, in rows for the weights
// that will multiply them.
func (g *Graph) GeluBias(a, b Tensor, next ...Tensor) Tensor {
	return g.geluBias(a, b, g.rowsNext(a, next))
}

func (g *Graph) geluBias(a, b Tensor, rows rowFormat) Tensor {
	if !g.okRow("gelu_bias", a, b) || !g.okRows("gelu_bias", a, rows) {
		return Tensor{}
	}
	if g.options.Plain {
		return g.convertRows(g.Gelu(g.Add(a, b)), rows)
	}
	return g.customRows(rows, a, C.ggml_custom_op_t(C.pg_gelu_bias), a, b)
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
	return g.layerNorm(a, w, b, eps, g.rowsNext(a, next))
}

func (g *Graph) layerNorm(a, w, b Tensor, eps float32, rows rowFormat) Tensor {
	if !g.okRow("layer_norm", a, w) || !g.okRow("layer_norm", a, b) || !g.okEps("layer_norm", eps) || !g.okRows("layer_norm", a, rows) {
		return Tensor{}
	}
	if g.options.Plain {
		return g.convertRows(g.Add(g.Mul(g.Norm(a, eps), w), b), rows)
	}
	all := Tensor{C.pg_layer_norm(g.ctx, a.c, w.c, b.c, C.float(eps), C.enum_ggml_type(rows.Type), C.int64_t(rows.Len), rows.Factor.c)}
	return g.withProjection(all, a, rows)
}

// RMSNorm is a/sqrt(mean(a²) + eps)·w over dimension 0, w being the same for each
// row (https://arxiv.org/abs/1910.07467), in rows for the weights that will
// multiply them.
func (g *Graph) RMSNorm(a, w Tensor, eps float32, next ...Tensor) Tensor {
	return g.rmsNorm(a, w, eps, g.rowsNext(a, next))
}

func (g *Graph) rmsNorm(a, w Tensor, eps float32, rows rowFormat) Tensor {
	if !g.okRow("rms_norm", a, w) || !g.okEps("rms_norm", eps) || !g.okRows("rms_norm", a, rows) {
		return Tensor{}
	}
	if g.options.Plain {
		return g.convertRows(g.Mul(Tensor{C.ggml_rms_norm(g.ctx, a.c, C.float(eps))}, w), rows)
	}
	all := Tensor{C.pg_rms_norm(g.ctx, a.c, w.c, C.float(eps), C.enum_ggml_type(rows.Type), C.int64_t(rows.Len), rows.Factor.c)}
	return g.withProjection(all, a, rows)
}

func (g *Graph) okEps(op string, eps float32) bool {
	if !(eps >= 0) {
		g.fail("%s: epsilon is %v", op, eps)
		return false
	}
	return true
}

// SoftMax is softmax(scale·a + mask) over dimension 0. The mask [n, T], F32 or F16, holds
// 0 or −Inf and is repeated over dimensions 2 and 3; it may be the zero Tensor.
func (g *Graph) SoftMax(a, mask Tensor, scale float32) Tensor {
	if !g.okContiguous("softmax", a) {
		return Tensor{}
	}
	if mask.Valid() {
		if !mask.contiguous() || (mask.Type() != gguf.TypeF32 && mask.Type() != gguf.TypeF16) ||
			mask.Dim(0) != a.Dim(0) || mask.Dim(1) < a.Dim(1) || a.Dim(2)%mask.Dim(2) != 0 || a.Dim(3)%mask.Dim(3) != 0 {
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
// only in tiles. softcap 0 is none. Three biases, of all heads of q, k and v, are
// added to them first; or there are none. It is a custom kernel (attention.c), for
// graphs that are not Plain.
func (g *Graph) FlashAttention(q, k, v Tensor, scale, softcap float32, bias ...Tensor) Tensor {
	if !g.okF32("flash attention", q, k, v) {
		return Tensor{}
	}
	if q.Dim(0) != k.Dim(0) || k.Dim(1) != v.Dim(1) || k.Dim(2) != v.Dim(2) || q.Dim(2)%k.Dim(2) != 0 ||
		q.Dim(3) != 1 || k.Dim(3) != 1 || v.Dim(3) != 1 || g.options.Plain {
		return g.fail("flash attention: %v, %v and %v do not fit", q, k, v)
	}
	var list **C.struct_ggml_tensor
	var all [3]*C.struct_ggml_tensor
	if len(bias) > 0 {
		for i, x := range [...]Tensor{q, k, v} {
			if len(bias) != len(all) || !g.okContiguous("flash attention", bias[i]) || bias[i].Elements() != x.Dim(0)*x.Dim(2) {
				return g.fail("flash attention: %v do not fit %v, %v and %v", bias, q, k, v)
			}
			all[i] = bias[i].c
		}
		list = &all[0]
	}
	g.cost += 2 * float64(q.Elements()) * float64(k.Dim(1)) * 2 // scores, and sums of values
	return Tensor{C.pg_attention(g.ctx, q.c, k.c, v.c, list, C.float(scale), C.float(softcap), C.bool(g.options.Exact), C.int(g.backend.threads))}
}
