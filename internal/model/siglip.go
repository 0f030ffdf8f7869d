package model

import (
	"context"
	"fmt"

	"paligemma/internal/ggml"
)

// Features are the embeddings of an image as the language model receives them.
type Features struct {
	Values []float32 // [Tokens, hidden], row-major
	Tokens int
}

// Encode runs the vision tower and the projector on the pixels of one image,
// [3, S, S] row-major and normalised, S being the configuration's ImageSize.
func (m *Model) Encode(ctx context.Context, pixels []float32) (Features, error) {
	v := m.config.Vision
	if want := 3 * v.ImageSize * v.ImageSize; len(pixels) != want {
		return Features{}, fmt.Errorf("an image of %d values, want %d", len(pixels), want)
	}
	g := m.engine.NewGraph()
	defer g.Close()
	patches := g.Float32s(patchify(pixels, v), int64(v.PatchDim()), int64(v.ImageTokens))
	out := m.weights.Projector.apply(g, m.tower(g, patches))
	g.Output(out)
	if err := g.Compute(ctx); err != nil {
		return Features{}, fmt.Errorf("vision tower: %w", err)
	}
	values, err := g.Read(out)
	return Features{Values: values, Tokens: v.ImageTokens}, err
}

// tower is SigLIP (https://arxiv.org/abs/2303.15343; modeling_siglip.py in
// transformers) without its pooling head: patches [3·p·p, N] to [vh, N].
func (m *Model) tower(g *ggml.Graph, patches ggml.Tensor) ggml.Tensor {
	v, w := m.config.Vision, m.weights.Vision
	x := g.Add(w.Patch.apply(g, patches), w.Position)
	for i := range w.Layers {
		x = w.Layers[i].forward(g, x, v, m.exact)
	}
	return w.PostNorm.apply(g, x, v.NormEps)
}

// forward is one pre-norm block: x + attention(norm(x)), then x + mlp(norm(x)).
func (l *SiglipLayer) forward(g *ggml.Graph, x ggml.Tensor, v VisionConfig, exact bool) ggml.Tensor {
	d, heads, n := int64(v.HeadDim()), int64(v.Heads), int64(v.ImageTokens)
	h := l.Norm1.apply(g, x, v.NormEps, l.Q.Weight, l.K.Weight, l.V.Weight)
	q, k, u := l.project(g, h)
	q, k, u = g.Reshape(q, d, heads, n), g.Reshape(k, d, heads, n), g.Reshape(u, d, heads, n)
	k = g.Permute(k, [4]int{0, 2, 1, 3}) // [d, n, heads]
	a := attention{scale: invSqrt(float32(d))}
	var out ggml.Tensor
	if g.OnCPU() && n >= flashTokens {
		out = a.flash(g, q, k, g.Permute(u, [4]int{0, 2, 1, 3}))
	} else {
		out, _ = a.apply(g, q, k, g.Cont(g.Permute(u, [4]int{1, 2, 0, 3})), false)
	}
	x = g.AddBias(x, matmul(g, l.Out.Weight, out), l.Out.Bias)

	h = l.Norm2.apply(g, x, v.NormEps, l.Up.Weight)
	h = matmul(g, l.Up.Weight, h)
	if exact && !g.OnCPU() {
		h = gelu(g, g.Add(h, l.Up.Bias), exact)
	} else {
		h = g.GeluBias(h, l.Up.Bias, g.RowsFor(int64(v.MLP), l.Down.Weight))
	}
	return g.AddBias(x, matmul(g, l.Down.Weight, h), l.Down.Bias)
}

// project gives queries, keys and values, [vh, N] each.
func (l *SiglipLayer) project(g *ggml.Graph, h ggml.Tensor) (q, k, v ggml.Tensor) {
	if !l.joined.Valid() {
		return l.Q.apply(g, h), l.K.apply(g, h), l.V.apply(g, h)
	}
	y := matmul(g, l.joined, h)
	n := l.Q.Bias.Dim(0)
	return g.Add(g.Slice(y, 0, 0, n), l.Q.Bias), g.Add(g.Slice(y, 0, n, n), l.K.Bias), g.Add(g.Slice(y, 0, 2*n, n), l.V.Bias)
}

// patchify cuts an image [3, S, S] into patches [N, 3·p·p], both row-major, in
// the order in which a convolution of stride p would visit them: along rows of
// patches; within a patch channel, row, column.
func patchify(pixels []float32, v VisionConfig) []float32 {
	size, p, side := v.ImageSize, v.PatchSize, v.Patches()
	out := make([]float32, 0, len(pixels))
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
