package model

import "paligemma/internal/ggml"

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
	cache   *Cache
	tokens  int64 // T
	rotary  ggml.Rotary
	mask    ggml.Tensor // [n, T]
	window  ggml.Tensor // [n, T], the mask of layers with a sliding window
	traced  bool        // keep the attention weights
	weights []ggml.Tensor
}

// attend is a pre-norm residual half (https://arxiv.org/abs/2403.08295;
// modeling_gemma.py in transformers).
func (l *GemmaLayer) attend(g *ggml.Graph, s *step, layer int, x ggml.Tensor) ggml.Tensor {
	h := g.RMSNorm(x, l.AttnNorm, s.config.RMSEps, l.QKV.tensors()...)
	h = l.Attention.forward(g, s, layer, h, attention{scale: s.config.AttnScale, mask: s.mask})
	return g.Add(x, h)
}

func (l *GemmaLayer) mlp(g *ggml.Graph, s *step, x ggml.Tensor) ggml.Tensor {
	h := g.RMSNorm(x, l.MLPNorm, s.config.RMSEps, l.Gate.tensor, l.Up.tensor)
	return g.Add(x, g.SplitRows(h, l.MLP.forwardRows))
}

// forward projects x [h, T] to queries, keys and values, rotates the first two,
// appends keys and values to the cache, attends to all of it and projects back.
func (w *Attention) forward(g *ggml.Graph, s *step, layer int, x ggml.Tensor, a attention) ggml.Tensor {
	q, k, v := w.QKV.Mul(g, x, s.config.HeadDim)
	q, k = g.RoPE(q, s.rotary), g.RoPE(k, s.rotary)

	past := int64(s.cache.Len())
	n := past + s.tokens
	keys, values := s.cache.keys[layer], s.cache.values[layer]
	g.Run(g.Copy(k, g.Slice(keys, 2, past, s.tokens)))
	g.Run(g.Copy(g.Permute(v, [4]int{1, 2, 0, 3}), g.Slice(values, 0, past, s.tokens)))
	if !a.mask.Valid() && past == 0 && !s.traced && g.Tiles(s.tokens) {
		heads := [4]int{0, 2, 1, 3} // [d, T, heads]
		return w.Out.Mul(g, a.flash(g, q, g.Permute(k, heads), g.Permute(v, heads)))
	}
	k = g.Permute(g.Slice(keys, 2, 0, n), [4]int{0, 2, 1, 3}) // [d, n, kv]
	v = g.Slice(values, 0, 0, n)                              // [n, d, kv]

	out, weights := a.apply(g, q, k, v, s.traced)
	if s.traced {
		s.weights = append(s.weights, weights)
	}
	return w.Out.Mul(g, out)
}

// forwardRows is Down(GELU(Gate·x)·Up·x) for rows x.
func (w *MLP) forwardRows(g *ggml.Graph, x ggml.Tensor) ggml.Tensor {
	return w.Down.Mul(g, g.Geglu(w.Gate.Mul(g, x), w.Up.Mul(g, x), w.Down.tensor))
}
