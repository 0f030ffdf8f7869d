package model

import (
	"context"
	"fmt"
	"math"
	"slices"

	"paligemma/internal/ggml"
)

// Features are the embeddings of an image as the language model receives them.
type Features struct {
	Values []float32 // [Tokens, hidden], row-major
	Tokens int
}

// Images of one pass of the tower have passTokens patches together, at most, and there are
// no more than passImages: as many as fill a device.
const (
	passTokens = 4096
	passImages = 8
)

// imagesPerPass is how many images a device encodes at a time.
func (c Config) imagesPerPass() int { return max(1, min(passImages, passTokens/c.Vision.ImageTokens)) }

// ImagesPerPass returns how many images the model encodes at a time, where there are
// several: one on the CPU, which one fills.
func (m *Model) ImagesPerPass() int {
	if !m.backend.Batches(m.options) {
		return 1
	}
	return m.config.imagesPerPass()
}

// Encode runs the vision tower and the projector on the pixels of one image,
// [3, S, S] row-major and normalized, S being the configuration's ImageSize.
func (m *Model) Encode(ctx context.Context, pixels []float32) (Features, error) {
	all, err := m.EncodeAll(ctx, [][]float32{pixels})
	if err != nil {
		return Features{}, err
	}
	return all[0], nil
}

// EncodeAll is Encode of several images, ImagesPerPass at a time.
func (m *Model) EncodeAll(ctx context.Context, images [][]float32) ([]Features, error) {
	v := m.config.Vision
	for _, pixels := range images {
		if want := 3 * v.ImageSize * v.ImageSize; len(pixels) != want {
			return nil, fmt.Errorf("an image of %d values, want %d", len(pixels), want)
		}
	}
	var all []Features
	for pass := range slices.Chunk(images, m.ImagesPerPass()) {
		features, err := m.encodePass(ctx, pass)
		if err != nil {
			return nil, fmt.Errorf("vision tower: %w", err)
		}
		all = append(all, features...)
	}
	return all, nil
}

// encodePass encodes images in one pass.
func (m *Model) encodePass(ctx context.Context, images [][]float32) ([]Features, error) {
	v := m.config.Vision
	var patches []float32
	for _, pixels := range images {
		patches = append(patches, patchify(pixels, v)...)
	}
	g := m.backend.NewGraph(m.options)
	defer g.Close()
	g.Near(m.weights.Vision.Position)
	out := m.weights.Projector.Mul(g, m.tower(g, g.Float32s(patches, int64(v.PatchDim()), int64(len(images)*v.ImageTokens))))
	g.Output(out)
	if err := g.Compute(ctx); err != nil {
		return nil, err
	}
	values, err := g.Read(out)
	if err != nil {
		return nil, err
	}
	var all []Features
	for rows := range slices.Chunk(values, len(values)/len(images)) {
		all = append(all, Features{Values: slices.Clip(rows), Tokens: v.ImageTokens})
	}
	return all, nil
}

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

// attend lets every patch see every patch of its image: h [vh, N] to [vh, N].
func (l *SiglipLayer) attend(g *ggml.Graph, h ggml.Tensor, v VisionConfig) ggml.Tensor {
	d, heads, n := int64(v.HeadDim()), int64(v.Heads), int64(v.ImageTokens)
	q, k, u := l.QKV.Mul(g, h, v.HeadDim())
	a := attention{scale: float32(1 / math.Sqrt(float64(d)))}
	if g.Tiles(n) {
		swap := [4]int{0, 2, 1, 3} // [d, n, heads]
		return a.flash(g, q, g.Permute(k, swap), g.Permute(u, swap), l.QBias, l.KBias, l.VBias)
	}
	biased := func(t, bias ggml.Tensor) ggml.Tensor { // [d, heads, n, images]
		return g.Reshape(g.Add(t, g.Reshape(bias, d, heads)), d, heads, n, h.Dim(1)/n)
	}
	q, k, u = biased(q, l.QBias), biased(k, l.KBias), biased(u, l.VBias)
	out, _ := a.apply(g, q, g.Permute(k, [4]int{0, 2, 1, 3}), g.Cont(g.Permute(u, [4]int{1, 2, 0, 3})), false)
	return g.Reshape(out, d*heads, h.Dim(1))
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
