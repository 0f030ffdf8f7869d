package model

import (
	"math"

	"paligemma/internal/ggml"
)

// tower is SigLIP (https://arxiv.org/abs/2303.15343; modeling_siglip.py in
// transformers) without its pooling head: patches [3·p·p, N] to [vh, N], those of several
// images one after the other.
func (m *Model) tower(g *ggml.Graph, patches ggml.Tensor) ggml.Tensor {
	v, w := m.config.Vision, m.weights.Vision
	x := g.Add(w.Patch.Mul(g, patches), w.Position)
	for i := range w.Layers {
		x = w.Layers[i].forward(g, x, v)
	}
	return w.PostNorm.Forward(g, x, v.NormEps)
}

// forward is one pre-norm block: x + attention(norm(x)), then x + mlp(norm(x)).
func (l *SiglipLayer) forward(g *ggml.Graph, x ggml.Tensor, v VisionConfig) ggml.Tensor {
	h := l.Norm1.Forward(g, x, v.NormEps, l.QKV.factors()...)
	x = g.AddBias(x, l.Out.Weight.Mul(g, l.attend(g, h, v)), l.Out.Bias)

	h = l.Norm2.Forward(g, x, v.NormEps, factors(l.Up.Weight)...)
	h = g.GeluBias(l.Up.Weight.Mul(g, h), l.Up.Bias, factors(l.Down.Weight)...)
	return g.AddBias(x, l.Down.Weight.Mul(g, h), l.Down.Bias)
}

// biases are those of Q, K and V, in the order in which they lie.
func (l *SiglipLayer) biases() []ggml.Tensor { return []ggml.Tensor{l.QBias, l.KBias, l.VBias} }

// attend lets every patch see every patch of its image: h [vh, N] to [vh, N].
func (l *SiglipLayer) attend(g *ggml.Graph, h ggml.Tensor, v VisionConfig) ggml.Tensor {
	d, heads, n := int64(v.HeadDim()), int64(v.Heads), int64(v.ImageTokens)
	a := attention{scale: float32(1 / math.Sqrt(float64(d)))}
	if g.Tiles(n) {
		q, k, u := l.QKV.Mul(g, h, v.HeadDim())
		swap := [4]int{0, 2, 1, 3} // [d, n, heads]
		return a.flash(g, q, g.Permute(k, swap), g.Permute(u, swap), l.QBias, l.KBias, l.VBias)
	}
	fuses := g.Fuses(d, heads, heads, 0)
	if joined := l.QKV.joined; fuses && joined.tensor.Valid() && l.bias.Valid() {
		qkv := g.Add(joined.Mul(g, h), g.Reshape(l.bias, l.bias.Elements()))
		return g.FusedQKV(g.Reshape(qkv, d, 3*heads, n, h.Dim(1)/n), a.scale)
	}
	biased := func(t, bias ggml.Tensor) ggml.Tensor { // [d, heads, n, images]
		return g.Reshape(g.Add(t, g.Reshape(bias, d, heads)), d, heads, n, h.Dim(1)/n)
	}
	q, k, u := l.QKV.Mul(g, h, v.HeadDim())
	q, k, u = biased(q, l.QBias), biased(k, l.KBias), biased(u, l.VBias)
	if fuses {
		return g.FusedHeads(q, k, u, a.scale)
	}
	out, _ := a.apply(g, q, g.Permute(k, [4]int{0, 2, 1, 3}), g.Cont(g.Permute(u, [4]int{1, 2, 0, 3})), false)
	return g.Reshape(out, d*heads, h.Dim(1))
}

// appendPatches cuts an image [3, S, S] into patches [N, 3·p·p], both row-major, in
// the order in which a convolution of stride p would visit them: along rows of
// patches; within a patch channel, row, column.
func appendPatches(out, pixels []float32, v VisionConfig) []float32 {
	size, p, side := v.ImageSize, v.PatchSize, v.Patches()
	for py := range side {
		for px := range side {
			for c := range 3 {
				for dy := range p {
					at := c*size*size + (py*p+dy)*size + px*p
					out = append(out, pixels[at:at+p]...)
				}
			}
		}
	}
	return out
}
