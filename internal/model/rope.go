package model

import (
	"math"

	"paligemma/internal/ggml"
)

// rotary applies rotary position embeddings (https://arxiv.org/abs/2104.09864)
// to the queries and keys of a pass: pairs (i, i + d/2) of each head are turned
// by the angle position · theta^(-2i/d).
type rotary interface {
	apply(g *ggml.Graph, x ggml.Tensor) ggml.Tensor // [d, heads, T]
}

// fastRotary is ggml's operation. Its angles are position/theta^(2i/d), which
// is rounded otherwise than in transformers: at position 4,000 attention
// weights differ by 1e-4 of the largest.
type fastRotary struct{ positions, divisors ggml.Tensor }

func (r fastRotary) apply(g *ggml.Graph, x ggml.Tensor) ggml.Tensor {
	return g.RoPE(x, r.positions, r.divisors)
}

// exactRotary multiplies with tables of cosines and sines [d, 1, T] of the very
// angles that transformers computes: x·cos + swap(x)·sin, where swap exchanges
// the halves of each head and the first half of sin is negated.
type exactRotary struct{ cos, sin ggml.Tensor }

func (r exactRotary) apply(g *ggml.Graph, x ggml.Tensor) ggml.Tensor {
	if g.Err() != nil {
		return ggml.Tensor{}
	}
	half := x.Dim(0) / 2
	swapped := g.Concat(g.Slice(x, 0, half, half), g.Slice(x, 0, 0, half), 0)
	return g.Add(g.Mul(x, r.cos), g.Mul(swapped, r.sin))
}

// newRotary uploads the tables for tokens at the given positions.
func (m *Model) newRotary(g *ggml.Graph, cells []cell) rotary {
	t, tokens := m.config.Text, int64(len(cells))
	half := t.HeadDim / 2
	if !m.exact {
		positions, divisors := make([]int32, len(cells)), make([]float32, half)
		for i, c := range cells {
			positions[i] = c.pos
		}
		for i := range divisors {
			divisors[i] = float32(math.Pow(float64(t.RopeTheta), 2*float64(i)/float64(t.HeadDim)))
		}
		return fastRotary{g.Int32s(positions, tokens), g.Float32s(divisors, int64(half))}
	}
	cosines, sines := make([]float32, 2*half*len(cells)), make([]float32, 2*half*len(cells))
	for i := range half {
		frequency := 1 / float32(math.Pow(float64(t.RopeTheta), float64(float32(2*i)/float32(t.HeadDim))))
		for j, c := range cells {
			sin, cos := math.Sincos(float64(float32(c.pos) * frequency))
			at := j*2*half + i
			cosines[at], cosines[at+half] = float32(cos), float32(cos)
			sines[at], sines[at+half] = -float32(sin), float32(sin)
		}
	}
	return exactRotary{g.Float32s(cosines, int64(2*half), 1, tokens), g.Float32s(sines, int64(2*half), 1, tokens)}
}
