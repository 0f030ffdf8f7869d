package model

import "paligemma/internal/ggml"

// attend differs from Gemma 1 by the soft-cap on the scores, the sliding
// window of even layers and a second norm before the residual sum
// (https://arxiv.org/abs/2408.00118; modeling_gemma2.py in transformers).
func (l *Gemma2Layer) attend(g *ggml.Graph, s *step, layer int, x ggml.Tensor) ggml.Tensor {
	h := g.RMSNorm(x, l.AttnNorm, s.config.RMSEps, l.QKV.factors()...)
	h = l.Attention.forward(g, s, layer, h, attention{scale: s.config.AttnScale, softcap: s.config.AttnSoftcap, sliding: layer%2 == 0})
	return g.Add(x, g.RMSNorm(h, l.PostAttnNorm, s.config.RMSEps))
}

func (l *Gemma2Layer) mlp(g *ggml.Graph, s *step, x ggml.Tensor) ggml.Tensor {
	h := g.RMSNorm(x, l.MLPNorm, s.config.RMSEps, factors(l.Gate, l.Up)...)
	h = g.SplitRows(h, l.MLP.forwardRows)
	return g.Add(x, g.RMSNorm(h, l.PostMLPNorm, s.config.RMSEps))
}

func (l *Gemma2Layer) norm() ggml.Tensor { return l.AttnNorm }
