package model

import "paligemma/internal/ggml"

// Matrix is the left side of products: where weights meet rows. Its type, the zeros
// that pad its rows, and what adapters add are hidden here, and in the graph, which knows
// the updates of the rows at hand (Adapters).
type Matrix struct {
	tensor ggml.Tensor
	bias   ggml.Tensor // of an adapter; the zero Tensor: none
}

// Mul is W·x for each row of x [in, T]: [out, T].
func (w Matrix) Mul(g *ggml.Graph, x ggml.Tensor) ggml.Tensor {
	y := g.MulWeights(w.tensor, x)
	if w.bias.Valid() {
		y = g.Add(y, w.bias)
	}
	return y
}

// factors are what multiplies the rows that matrices take: operations that are told of
// them write rows in their form.
func factors(matrices ...Matrix) []ggml.Tensor {
	var all []ggml.Tensor
	for _, w := range matrices {
		all = append(all, w.tensor)
	}
	return all
}

// QKV projects to queries, keys and values. The three lie side by side in the file
// where their types allow it, and are then one matrix: one product is faster than
// three, and more so than short ones.
type QKV struct {
	Q Matrix `gguf:"attn_q.weight" shape:"0,1"`
	K Matrix `gguf:"attn_k.weight" shape:"0,2"`
	V Matrix `gguf:"attn_v.weight" shape:"0,2"`

	joined Matrix // the zero Matrix where they are apart
}

// Mul projects x [in, T] to heads of d values: queries, keys and values [d, heads, T].
func (w *QKV) Mul(g *ggml.Graph, x ggml.Tensor, d int) (q, k, v ggml.Tensor) {
	heads := func(y ggml.Tensor) ggml.Tensor { return g.Reshape(y, int64(d), y.Dim(0)/int64(d), y.Dim(1)) }
	if !w.joined.tensor.Valid() {
		return heads(w.Q.Mul(g, x)), heads(w.K.Mul(g, x)), heads(w.V.Mul(g, x))
	}
	y := heads(w.joined.Mul(g, x))
	nq, nk := w.Q.tensor.Dim(1)/int64(d), w.K.tensor.Dim(1)/int64(d)
	return g.Slice(y, 1, 0, nq), g.Slice(y, 1, nq, nk), g.Slice(y, 1, nq+nk, nk)
}

// factors are those of the three matrices, or of the one that they are.
func (w *QKV) factors() []ggml.Tensor {
	if w.joined.tensor.Valid() {
		return factors(w.joined)
	}
	return factors(w.Q, w.K, w.V)
}

// tensors are the three matrices, in the order in which they lie.
func (w *QKV) tensors() []ggml.Tensor { return []ggml.Tensor{w.Q.tensor, w.K.tensor, w.V.tensor} }

// Mul is W·x + b.
func (l Linear) Mul(g *ggml.Graph, x ggml.Tensor) ggml.Tensor {
	return g.Add(l.Weight.Mul(g, x), l.Bias)
}

// Forward is the layer norm over the innermost dimension, for the matrices that
// will multiply its rows, if any.
func (n LayerNorm) Forward(g *ggml.Graph, x ggml.Tensor, eps float32, next ...ggml.Tensor) ggml.Tensor {
	return g.LayerNorm(x, n.Weight, n.Bias, eps, next...)
}
