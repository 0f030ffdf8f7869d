package model

import (
	"math"

	"paligemma/internal/ggml"
)

// block is a layer of the language model, in two halves: between those of the
// last layer, rows that nobody asks for are dropped.
type block interface {
	// attend is the attention half on x [h, T], which also appends to the cache.
	attend(g *ggml.Graph, s *step, layer int, x ggml.Tensor) ggml.Tensor
	// mlp is the feed-forward half on x [h, any].
	mlp(g *ggml.Graph, s *step, x ggml.Tensor) ggml.Tensor
	// attention is its projections.
	attention() *Attention
}

func (w *Attention) attention() *Attention { return w }

// step is what the layers of one forward pass share.
type step struct {
	config  TextConfig
	exact   bool
	cache   *Cache
	tokens  int64 // T
	rotary  rotary
	mask    ggml.Tensor // [n, T]
	window  ggml.Tensor // [n, T], the mask of layers with a sliding window
	traced  bool        // keep the attention weights
	weights []ggml.Tensor
}

// attend is a pre-norm residual half (https://arxiv.org/abs/2403.08295;
// modeling_gemma.py in transformers).
func (l *GemmaLayer) attend(g *ggml.Graph, s *step, layer int, x ggml.Tensor) ggml.Tensor {
	h := rmsNorm(g, x, l.AttnNorm, s.config.RMSEps, l.Q, l.K, l.V)
	h = l.Attention.forward(g, s, layer, h, attention{scale: s.config.AttnScale, mask: s.mask})
	return g.Add(x, h)
}

func (l *GemmaLayer) mlp(g *ggml.Graph, s *step, x ggml.Tensor) ggml.Tensor {
	h := rmsNorm(g, x, l.MLPNorm, s.config.RMSEps, l.Gate, l.Up)
	return g.Add(x, l.MLP.forward(g, h, s.exact))
}

// forward projects x [h, T] to queries, keys and values, rotates the first two,
// appends keys and values to the cache, attends to all of it and projects back.
func (w *Attention) forward(g *ggml.Graph, s *step, layer int, x ggml.Tensor, a attention) ggml.Tensor {
	q, k, v := w.project(g, s, x)
	q = s.rotary.apply(g, q)
	k = s.rotary.apply(g, k)

	past := int64(s.cache.Len())
	n := past + s.tokens
	keys, values := s.cache.keys[layer], s.cache.values[layer]
	g.Run(g.Copy(k, g.Slice(keys, 2, past, s.tokens)))
	g.Run(g.Copy(g.Permute(v, [4]int{1, 2, 0, 3}), g.Slice(values, 0, past, s.tokens)))
	if !a.mask.Valid() && past == 0 && s.tokens >= flashTokens && !s.traced && g.OnCPU() {
		heads := [4]int{0, 2, 1, 3} // [d, T, heads]
		return matmul(g, w.Out, a.flash(g, q, g.Permute(k, heads), g.Permute(v, heads)))
	}
	k = g.Permute(g.Slice(keys, 2, 0, n), [4]int{0, 2, 1, 3}) // [d, n, kv]
	v = g.Slice(values, 0, 0, n)                              // [n, d, kv]

	out, weights := a.apply(g, q, k, v, s.traced)
	if s.traced {
		s.weights = append(s.weights, weights)
	}
	return matmul(g, w.Out, out)
}

// project gives queries [d, heads, T], keys and values [d, kv_heads, T], which
// may be parts of one product.
func (w *Attention) project(g *ggml.Graph, s *step, x ggml.Tensor) (q, k, v ggml.Tensor) {
	d, heads, kv := int64(s.config.HeadDim), int64(s.config.Heads), int64(s.config.KVHeads)
	if w.joined.Valid() {
		y := g.Reshape(matmul(g, w.joined, x), d, heads+2*kv, s.tokens)
		return g.Slice(y, 1, 0, heads), g.Slice(y, 1, heads, kv), g.Slice(y, 1, heads+kv, kv)
	}
	q = g.Reshape(matmul(g, w.Q, x), d, heads, s.tokens)
	k = g.Reshape(matmul(g, w.K, x), d, kv, s.tokens)
	v = g.Reshape(matmul(g, w.V, x), d, kv, s.tokens)
	return q, k, v
}

// forward is Down(GELU(Gate·x)·Up·x).
func (w *MLP) forward(g *ggml.Graph, x ggml.Tensor, exact bool) ggml.Tensor {
	if g.Err() != nil {
		return ggml.Tensor{}
	}
	if n, at := x.Dim(1), cut(x); at < n {
		return g.Concat(w.part(g, g.Slice(x, 1, 0, at), exact), w.part(g, g.Slice(x, 1, at, n-at), exact), 1)
	}
	return w.part(g, x, exact)
}

// cut is where rows are cut in two; a variable for tests.
var cut = ggml.Cut

// part is forward for some of the rows.
func (w *MLP) part(g *ggml.Graph, x ggml.Tensor, exact bool) ggml.Tensor {
	gate, up := matmul(g, w.Gate, x), matmul(g, w.Up, x)
	if g.Err() != nil {
		return ggml.Tensor{}
	}
	if !exact || g.OnCPU() {
		return matmul(g, w.Down, g.Geglu(gate, up, g.RowsFor(gate.Dim(0), w.Down)))
	}
	return matmul(g, w.Down, g.Mul(gelu(g, gate, exact), up))
}

func invSqrt(x float32) float32 { return float32(1 / math.Sqrt(float64(x))) }
