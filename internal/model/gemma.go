package model

import "paligemma/internal/ggml"

// block is a layer of the language model, in two halves: between those of the
// last layer, rows that nobody asks for are dropped.
type block interface {
	// attend is the attention half on x [h, T], which also appends to the cache.
	attend(g *ggml.Graph, s *step, layer int, x ggml.Tensor) ggml.Tensor
	// mlp is the feed-forward half on x [h, any].
	mlp(g *ggml.Graph, s *step, x ggml.Tensor) ggml.Tensor
	// norm is its first weight, attention its projections, and feedForward what follows them.
	norm() ggml.Tensor
	attention() *Attention
	feedForward() *MLP
}

func (w *Attention) attention() *Attention { return w }
func (w *MLP) feedForward() *MLP           { return w }

// attend is a pre-norm residual half (https://arxiv.org/abs/2403.08295;
// modeling_gemma.py in transformers).
func (l *GemmaLayer) attend(g *ggml.Graph, s *step, layer int, x ggml.Tensor) ggml.Tensor {
	h := g.RMSNorm(x, l.AttnNorm, s.config.RMSEps, l.QKV.factors()...)
	h = l.Attention.forward(g, s, layer, h, attention{scale: s.config.AttnScale})
	return g.Add(x, h)
}

func (l *GemmaLayer) norm() ggml.Tensor { return l.AttnNorm }

func (l *GemmaLayer) mlp(g *ggml.Graph, s *step, x ggml.Tensor) ggml.Tensor {
	h := g.RMSNorm(x, l.MLPNorm, s.config.RMSEps, factors(l.Gate, l.Up)...)
	return g.Add(x, g.SplitRows(h, l.MLP.forwardRows))
}

// forward projects x [h, T] to queries, keys and values, lets every token attend to the
// cells of its sequence and projects back.
func (w *Attention) forward(g *ggml.Graph, s *step, layer int, x ggml.Tensor, a attention) ggml.Tensor {
	q, k, v := w.QKV.Mul(g, x, s.config.HeadDim)
	return w.Out.Mul(g, s.cells.attend(g, layer, q, k, v, a))
}

// forwardRows is Down(GELU(Gate·x)·Up·x) for rows x.
func (w *MLP) forwardRows(g *ggml.Graph, x ggml.Tensor) ggml.Tensor {
	return w.Down.Mul(g, g.Geglu(w.Gate.Mul(g, x), w.Up.Mul(g, x), factors(w.Down)...))
}
