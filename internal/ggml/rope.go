package ggml

/*
#include "kernels.h"
*/
import "C"

import (
	"math"

	"paligemma/internal/gguf"
)

// Rotary holds the angles by which RoPE rotates the heads of tokens at some
// positions: pairs (i, i + d/2) of each head by position · theta^(-2i/d), the
// "rotate half" form of rotary embeddings (https://arxiv.org/abs/2104.09864).
type Rotary struct {
	positions, divisors Tensor // for ggml's operation
	cos, sin            Tensor // for an exact graph: tables [d, 1, T]
	table               Tensor // for AppendCells: cosines, then sines [d, T]
}

// NewRotary uploads what RoPE needs for tokens at the given positions in heads of
// d values.
//
// ggml's operation takes the angles as position/theta^(2i/d), which is rounded
// otherwise than in transformers: at position 4,000 attention weights differ by
// 1e-4 of the largest. An exact graph has tables of the angles that transformers
// computes.
func (g *Graph) NewRotary(positions []int32, d int, theta float32) Rotary {
	if g.options.Exact {
		return g.rotaryTables(positions, d, theta)
	}
	divisors := make([]float32, d/2)
	for i := range divisors {
		divisors[i] = float32(math.Pow(float64(theta), 2*float64(i)/float64(d)))
	}
	r := Rotary{positions: g.Int32s(positions, int64(len(positions))), divisors: g.Float32s(divisors, int64(d/2))}
	if g.Cells() {
		r.table = g.rotaryTable(positions, d, theta)
	}
	return r
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

func (g *Graph) rotaryTables(positions []int32, d int, theta float32) Rotary {
	half := d / 2
	cosines, sines := make([]float32, d*len(positions)), make([]float32, d*len(positions))
	for i := range half {
		frequency := 1 / float32(math.Pow(float64(theta), float64(float32(2*i)/float32(d))))
		for j, position := range positions {
			sin, cos := math.Sincos(float64(float32(position) * frequency))
			at := j*d + i
			cosines[at], cosines[at+half] = float32(cos), float32(cos)
			sines[at], sines[at+half] = -float32(sin), float32(sin)
		}
	}
	tokens := int64(len(positions))
	return Rotary{cos: g.Float32s(cosines, int64(d), 1, tokens), sin: g.Float32s(sines, int64(d), 1, tokens)}
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
