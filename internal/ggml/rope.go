package ggml

/*
#include "kernels.h"
*/
import "C"

import (
	"math"
	"slices"

	"paligemma/internal/gguf"
)

// Rotary holds the angles by which RoPE rotates the heads of tokens at some
// positions: pairs (i, i + d/2) of each head by position · theta^(-2i/d), the
// "rotate half" form of rotary embeddings (https://arxiv.org/abs/2104.09864).
type Rotary struct {
	positions, divisors Tensor // for ggml's operation
	cos, sin            Tensor // for an exact graph: tables [d, 1, T]
	table               Tensor // for AppendCells: cosines, then sines [d, T]

	angles angles
}

// angles are what a Rotary's inputs have their values from.
type angles struct {
	theta          float32
	d              int
	positions      []int32
	cosines, sines []float32 // of an exact graph
}

// NewRotary uploads what RoPE needs for tokens at the given positions in heads of
// d values.
//
// ggml's operation takes the angles as position/theta^(2i/d), which is rounded
// otherwise than in transformers: at position 4,000 attention weights differ by
// 1e-4 of the largest. An exact graph has tables of the angles that transformers
// computes.
func (g *Graph) NewRotary(positions []int32, d int, theta float32) Rotary {
	tokens := int64(len(positions))
	r := Rotary{angles: angles{theta: theta, d: d, positions: slices.Clone(positions)}}
	if g.options.Exact {
		r.angles.fill()
		r.cos, r.sin = g.Float32s(r.angles.cosines, int64(d), 1, tokens), g.Float32s(r.angles.sines, int64(d), 1, tokens)
		return r
	}
	divisors := make([]float32, d/2)
	for i := range divisors {
		divisors[i] = float32(math.Pow(float64(theta), 2*float64(i)/float64(d)))
	}
	r.positions, r.divisors = g.Int32s(r.angles.positions, tokens), g.Float32s(divisors, int64(d/2))
	if g.backend.Attention(g.options) == AttentionRanges {
		r.table = g.rotaryTable(positions, d, theta)
	}
	return r
}

// Move has a kept graph rotate for as many tokens at other positions.
func (r Rotary) Move(positions []int32) {
	copy(r.angles.positions, positions)
	if r.cos.Valid() {
		r.angles.fill()
	}
}

// rotaryTable is computed once for all layers: ggml's operation takes two functions
// of each angle in each of them.
func (g *Graph) rotaryTable(positions []int32, d int, theta float32) Tensor {
	half := d / 2
	table := make([]float32, 2*half*len(positions))
	for i := range half {
		frequency := math.Pow(float64(theta), -2*float64(i)/float64(d))
		for j, position := range positions {
			sin, cos := math.Sincos(float64(position) * frequency)
			table[j*d+i], table[j*d+half+i] = float32(cos), float32(sin)
		}
	}
	return g.Float32s(table, int64(d), int64(len(positions)))
}

// fill computes the tables of an exact graph.
func (a *angles) fill() {
	d, half := a.d, a.d/2
	if a.cosines == nil {
		a.cosines, a.sines = make([]float32, d*len(a.positions)), make([]float32, d*len(a.positions))
	}
	for i := range half {
		frequency := 1 / float32(math.Pow(float64(a.theta), float64(float32(2*i)/float32(d))))
		for j, position := range a.positions {
			sin, cos := math.Sincos(float64(float32(position) * frequency))
			at := j*d + i
			a.cosines[at], a.cosines[at+half] = float32(cos), float32(cos)
			a.sines[at], a.sines[at+half] = -float32(sin), float32(sin)
		}
	}
}

// RoPE rotates the heads of a [d, heads, T].
func (g *Graph) RoPE(a Tensor, r Rotary) Tensor {
	if !g.options.Exact {
		return g.rope(a, r.positions, r.divisors)
	}
	// x·cos + swap(x)·sin, where swap exchanges the halves of each head and the
	// first half of sin is negated.
	half := a.Dim(0) / 2
	swapped := g.Concat(g.Slice(a, 0, half, half), g.Slice(a, 0, 0, half), 0)
	return g.Add(g.Mul(a, r.cos), g.Mul(swapped, r.sin))
}

// rope rotates by position/freq[i]: positions are I32 [T], freq F32 [d/2] with
// freq[i] = theta^(2i/d).
//
// ggml would derive the frequencies by repeated multiplication, whose error
// grows with i; a base of 1 leaves them to freq, rounded once.
func (g *Graph) rope(a, positions, freq Tensor) Tensor {
	if !g.okF32("rope", a, freq) || !g.ok(positions) {
		return Tensor{}
	}
	if positions.Type() != gguf.TypeI32 || positions.Elements() != a.Dim(2) || positions.Dim(0) != a.Dim(2) {
		return g.fail("rope: positions %v do not fit %v", positions, a)
	}
	if a.Dim(0)%2 != 0 || freq.Elements() != a.Dim(0)/2 {
		return g.fail("rope: frequencies %v do not fit %v", freq, a)
	}
	return Tensor{C.ggml_rope_ext(g.ctx, a.c, positions.c, freq.c, C.int(a.Dim(0)), C.GGML_ROPE_TYPE_NEOX, 0, 1, 1, 0, 1, 0, 0)}
}
