package ggml

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"testing"

	"paligemma/internal/gguf"
)

// newDevice is the tests' device, or the CPU with the graphs of other devices.
func newDevice(t *testing.T) *Backend {
	t.Helper()
	o := testDevice(t)
	o.Plain = o.Device == "cpu"
	b, err := NewBackend(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	return b
}

// newCells is a store of cells [d·kv, n] for keys and for values, all zeros.
func newCells(t *testing.T, b *Backend, typ gguf.Type, row, n int64) (keys, values Tensor) {
	t.Helper()
	spec := Spec{Name: "cells", Type: typ, Shape: []int64{row, n}}
	s, err := b.NewStore([]Spec{spec, spec})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	s.Clear()
	return s.Tensors()[0], s.Tensors()[1]
}

// TestFusedAttention writes keys and values to cells in disorder, and has queries see
// ranges of them through a mask: heads that share keys, a soft-cap, one query and more than
// a tile of them.
func TestFusedAttention(t *testing.T) {
	const n = 2 * CellUnit
	b := newDevice(t)
	for _, h := range []heads{newHeads(16, 5, 300, 4, 2, 0), newHeads(64, 1, 200, 8, 1, 3), newHeads(64, 1, 200, 8, 1, 0), newHeads(128, 1, 200, 4, 2, 3), newHeads(256, 70, 300, 2, 1, 50)} {
		t.Run(fmt.Sprint(h.d, h.tokens, h.softcap), func(t *testing.T) {
			keys, values := newCells(t, b, gguf.TypeF16, h.d*h.kv, n)
			place := make([]int64, h.keys) // of each key: apart, and with unused cells between
			for j := range place {
				place[j] = int64(j) * 7 % n
			}
			mask := slices.Repeat([]uint16{0xfc00}, int(n*h.tokens))
			seen := func(i int64) (lo, hi int64) { return i, h.keys - 2*i }
			var want []float64
			for i := range h.tokens {
				lo, hi := seen(i)
				for j := lo; j < hi; j++ {
					mask[i*n+place[j]] = 0
				}
				for head := range h.heads {
					want = append(want, h.attend(head, i, lo, hi)...)
				}
			}
			got, err := computeWith(t, b, GraphOptions{}, func(g *Graph) Tensor {
				if !g.Fuses(h.d, h.heads, h.kv, h.softcap) {
					t.Skip("not on this device")
				}
				at := g.Int64s(place, h.keys)
				g.Run(g.WriteRows(g.Float32s(byToken(h.k, h.d, h.keys, h.kv, 0), h.d, h.kv, h.keys), keys, at))
				g.Run(g.WriteRows(g.Float32s(byToken(h.v, h.d, h.keys, h.kv, 0), h.d, h.kv, h.keys), values, at))
				q := g.Float32s(h.q, h.d, h.tokens, h.heads)
				return g.FusedAttention(q, g.Heads(keys, h.d, 0, n), g.Heads(values, h.d, 0, n), g.Float16s(mask, n, h.tokens), h.scale, h.softcap)
			})
			if err != nil {
				t.Fatal(err)
			}
			near(t, "attention", got, want, 4e-3)
		})
	}
}

// TestFusedHeads compares SigLIP's heads, as they are and padded as for CUDA: apart, and as
// one tensor, which has the same bits.
func TestFusedHeads(t *testing.T) {
	h := newHeads(72, 100, 100, 4, 4, 0)
	for name, backend := range map[string]string{"as they are": "other", "padded": "CUDA"} {
		t.Run(name, func(t *testing.T) {
			b := newDevice(t)
			b.devices[0].Backend = backend
			if want := map[string]int64{"other": 72, "CUDA": 80}[backend]; b.headWidth(72) != want || b.headWidth(256) != 256 {
				t.Fatalf("heads of 72 are %d wide, and those of 256 %d", b.headWidth(72), b.headWidth(256))
			}
			var want []float64
			for i := range h.tokens {
				for head := range h.heads {
					want = append(want, h.attend(head, i, 0, h.keys)...)
				}
			}
			q, k, v := byToken(h.q, h.d, h.keys, h.kv, 0), byToken(h.k, h.d, h.keys, h.kv, 0), byToken(h.v, h.d, h.keys, h.kv, 0)
			got, err := computeWith(t, b, GraphOptions{}, func(g *Graph) Tensor {
				input := func(values []float32) Tensor { return g.Float32s(values, h.d, h.kv, h.keys) }
				return g.FusedHeads(input(q), input(k), input(v), h.scale)
			})
			if err != nil {
				t.Fatal(err)
			}
			near(t, "attention", got, want, 4e-3)
			var all []float32
			for row := h.d * h.heads; len(q) > 0; q, k, v = q[row:], k[row:], v[row:] {
				all = append(append(append(all, q[:row]...), k[:row]...), v[:row]...)
			}
			one, err := computeWith(t, b, GraphOptions{}, func(g *Graph) Tensor {
				return g.FusedQKV(g.Float32s(all, h.d, 3*h.heads, h.keys), h.scale)
			})
			if err != nil || !slices.Equal(one, got) {
				t.Errorf("as one tensor heads have other bits (%v)", err)
			}
		})
	}
}

// TestFuses makes sure of who does without: exact graphs, those of the CPU's kernels, and
// where it is asked for.
func TestFuses(t *testing.T) {
	b := newDevice(t)
	o := testDevice(t)
	o.Plain, o.Written = o.Device == "cpu", true
	without, err := NewBackend(o)
	if err != nil {
		t.Fatal(err)
	}
	defer without.Close()
	for name, c := range map[string]struct {
		b       *Backend
		options GraphOptions
		want    bool
		kind    Attention
	}{
		"device":       {b, GraphOptions{}, true, AttentionMasked},
		"exact":        {b, GraphOptions{Exact: true}, false, AttentionMasked},
		"written out":  {without, GraphOptions{}, false, AttentionMasked},
		"kernels":      {newKernels(t), GraphOptions{}, false, AttentionRanges},
		"exact on CPU": {newKernels(t), GraphOptions{Exact: true}, false, AttentionWritten},
		"plain":        {newKernels(t), GraphOptions{Plain: true}, true, AttentionMasked},
	} {
		g := c.b.NewGraph(c.options)
		if got := g.Fuses(64, 4, 1, 0); got != c.want || c.b.Attention(c.options) != c.kind {
			t.Errorf("%s: %v, kind %d", name, got, c.b.Attention(c.options))
		}
		g.Close()
	}
	if got := b.TakeCounts().Built; got != 2 {
		t.Errorf("%d graphs built, want 2: questions to the device do not count", got)
	}
}

// TestFusesCapped makes sure that CUDA is not given soft-caps for heads that its kernels end
// the process for, and that all else is as elsewhere.
func TestFusesCapped(t *testing.T) {
	for _, backend := range []string{"CUDA", "other"} {
		b := newDevice(t)
		able := map[int64]bool{}
		for _, d := range []int64{40, 64, 72, 80, 96, 112, 128, 256, 512} {
			g := b.NewGraph(GraphOptions{})
			able[d] = g.Fuses(b.headWidth(d), 4, 1, 0)
			g.Close()
		}
		b.devices[0].Backend = backend
		for d, able := range able {
			g := b.NewGraph(GraphOptions{})
			if got, want := g.Fuses(d, 4, 1, 50), able && (backend != "CUDA" || d == 128 || d == 256 || d == 512); got != want {
				t.Errorf("%s, heads of %d with a soft-cap: %v, want %v", backend, d, got, want)
			}
			if got := g.Fuses(d, 4, 1, 0); got != able {
				t.Errorf("%s, heads of %d: %v, want %v", backend, d, got, able)
			}
			g.Close()
		}
	}
}

// TestWrittenTogether makes sure of what devices compute as one: RoPE, a view of its result
// in rows, and the writing of these. What else the last two take is in memory before, so
// that nothing comes between them in the graph.
func TestWrittenTogether(t *testing.T) {
	const d, kv, tokens = 8, 2, 3
	b := newDevice(t)
	keys, _ := newCells(t, b, gguf.TypeF16, d*kv, CellUnit)
	g := b.NewGraph(GraphOptions{})
	defer g.Close()
	joined := g.Float32s(random(d*4*tokens, 1), d, 4, tokens) // of which keys are a part
	view := g.Slice(joined, 1, 2, kv)
	roped, index := g.RoPE(view, g.NewRotary([]int32{1, 2, 3}, d, 10000)), g.Int64s([]int64{5, 6, 7}, tokens)
	y := g.WriteRows(roped, keys, index)
	if g.Err() != nil {
		t.Fatal(g.Err())
	}
	flat := y.c.src[0]
	if flat.op != view.c.op || flat.src[0] != roped.c || (Tensor{flat}).shape() != [4]int64{d * kv, tokens, 1, 1} || y.c.src[1] != index.c || y.c.src[2] != keys.c {
		t.Errorf("rows %v of %v are written to %v at %v", Tensor{flat}, Tensor{flat.src[0]}, Tensor{y.c.src[2]}, Tensor{y.c.src[1]})
	}
}

// TestFusedRefuses gives operations what they cannot take: the graph fails, and nothing aborts.
func TestFusedRefuses(t *testing.T) {
	b := newDevice(t)
	keys, values := newCells(t, b, gguf.TypeF16, 16, CellUnit)
	exact, _ := newCells(t, b, gguf.TypeF32, 16, CellUnit)
	for name, build := range map[string]func(*Graph) Tensor{
		"index of I32": func(g *Graph) Tensor {
			return g.WriteRows(g.Float32s(make([]float32, 32), 8, 2, 2), keys, g.Int32s([]int32{1, 2}, 2))
		},
		"index of others": func(g *Graph) Tensor {
			return g.WriteRows(g.Float32s(make([]float32, 32), 8, 2, 2), keys, g.Int64s([]int64{1}, 1))
		},
		"rows too short": func(g *Graph) Tensor {
			return g.WriteRows(g.Float32s(make([]float32, 8), 8, 1, 1), keys, g.Int64s([]int64{1}, 1))
		},
		"heads apart": func(g *Graph) Tensor {
			return g.WriteRows(g.Permute(g.Float32s(make([]float32, 32), 8, 2, 2), [4]int{0, 2, 1, 3}), keys, g.Int64s([]int64{1, 2}, 2))
		},
		"heads of 5":   func(g *Graph) Tensor { return g.Heads(keys, 5, 0, 1) },
		"cells beyond": func(g *Graph) Tensor { return g.Heads(keys, 8, 1, CellUnit) },
		"no cells":     func(g *Graph) Tensor { return g.Heads(keys, 8, 0, 0) },
		"no three":     func(g *Graph) Tensor { return g.FusedQKV(g.Float32s(make([]float32, 32), 8, 4), 1) },
		"three apart": func(g *Graph) Tensor {
			return g.FusedQKV(g.Permute(g.Float32s(make([]float32, 48), 8, 2, 3), [4]int{0, 2, 1, 3}), 1)
		},
		"cells of F32":        func(g *Graph) Tensor { return fused(g, exact, exact, 8, 3, 3) },
		"mask of other cells": func(g *Graph) Tensor { return fused(g, keys, values, 8, 3, 4) },
		"other width":         func(g *Graph) Tensor { return fused(g, keys, values, 4, 3, 3) },
		"likeliest of none":   func(g *Graph) Tensor { return g.Likeliest(Tensor{}).best },
		"likeliest of stacks": func(g *Graph) Tensor { return g.Likeliest(g.Float32s(make([]float32, 8), 2, 2, 2)).best },
		"repeat of rows":      func(g *Graph) Tensor { return g.Repeat(g.Float32s(make([]float32, 8), 2, 4), 2) },
		"repeat of indices":   func(g *Graph) Tensor { return g.Repeat(g.Int32s(make([]int32, 8), 8), 2) },
	} {
		t.Run(name, func(t *testing.T) { refuses(t, b, GraphOptions{}, build) })
	}
}

// TestFusedRefusesCells is TestFusedRefuses of rows and cells.
func TestFusedRefusesCells(t *testing.T) {
	b := newDevice(t)
	cells, _ := newCells(t, b, gguf.TypeF16, 16, CellUnit)
	rows := func(g *Graph) Tensor { return g.Float32s(make([]float32, 32), 8, 2, 2) }
	two := func(g *Graph) Tensor { return g.Int64s([]int64{1, 2}, 2) }
	for name, build := range map[string]func(*Graph) Tensor{
		"no rows":   func(g *Graph) Tensor { return g.WriteRows(Tensor{}, cells, two(g)) },
		"no cells":  func(g *Graph) Tensor { return g.WriteRows(rows(g), Tensor{}, two(g)) },
		"indices":   func(g *Graph) Tensor { return g.WriteRows(g.Int32s(make([]int32, 32), 8, 2, 2), cells, two(g)) },
		"apart":     func(g *Graph) Tensor { return g.WriteRows(g.Slice(rows(g), 0, 0, 4), cells, two(g)) },
		"two cells": func(g *Graph) Tensor { return g.WriteRows(rows(g), g.Scratch(gguf.TypeF16, 16, 4, 2), two(g)) },
		"pictures": func(g *Graph) Tensor {
			return g.WriteRows(g.Float32s(make([]float32, 64), 8, 2, 2, 2), cells, two(g))
		},
		"index of one":      func(g *Graph) Tensor { return g.WriteRows(rows(g), cells, g.Int64s([]int64{1, 2}, 1, 2)) },
		"index of four":     func(g *Graph) Tensor { return g.WriteRows(rows(g), cells, g.Int64s(make([]int64, 4), 2, 2)) },
		"heads of none":     func(g *Graph) Tensor { return g.Heads(Tensor{}, 8, 0, 4) },
		"heads of 0":        func(g *Graph) Tensor { return g.Heads(cells, 0, 0, 4) },
		"heads of −8":       func(g *Graph) Tensor { return g.Heads(cells, -8, 0, 4) },
		"heads of blocks":   func(g *Graph) Tensor { return g.Heads(g.Scratch(gguf.TypeQ8_0, 32, 4), 8, 0, 4) },
		"from −1":           func(g *Graph) Tensor { return g.Heads(cells, 8, -1, 4) },
		"heads of two":      func(g *Graph) Tensor { return g.Heads(g.Scratch(gguf.TypeF16, 16, 4, 2), 8, 0, 4) },
		"repeat of nothing": func(g *Graph) Tensor { return g.Repeat(Tensor{}, 2) },
		"repeat 0 times":    func(g *Graph) Tensor { return g.Repeat(g.Float32s(make([]float32, 8), 8), 0) },
		"repeat for ever":   func(g *Graph) Tensor { return g.Repeat(g.Float32s(make([]float32, 8), 8), maxElements/8+1) },
	} {
		t.Run(name, func(t *testing.T) { refuses(t, b, GraphOptions{}, build) })
	}
}

// TestFusedRefusesHeads is TestFusedRefuses of attention, to which two heads of 8 are given.
func TestFusedRefusesHeads(t *testing.T) {
	b := newDevice(t)
	cells, _ := newCells(t, b, gguf.TypeF16, 16, CellUnit)
	k := func(g *Graph) Tensor { return g.Heads(cells, 8, 0, 4) }
	q := func(g *Graph, shape ...int64) Tensor {
		n := int64(1)
		for _, d := range shape {
			n *= d
		}
		return g.Float32s(make([]float32, n), shape...)
	}
	none := Tensor{}
	apart := func(g *Graph) Tensor { return g.Permute(q(g, 8, 3, 2), [4]int{0, 2, 1, 3}) }
	for name, build := range map[string]func(*Graph) Tensor{
		"no keys":        func(g *Graph) Tensor { return g.FusedAttention(q(g, 8, 3, 2), none, k(g), none, 1, 0) },
		"no queries":     func(g *Graph) Tensor { return g.FusedAttention(none, k(g), k(g), none, 1, 0) },
		"queries of F16": func(g *Graph) Tensor { return g.FusedAttention(k(g), k(g), k(g), none, 1, 0) },
		"fewer values": func(g *Graph) Tensor {
			return g.FusedAttention(q(g, 8, 3, 2), k(g), g.Heads(cells, 8, 0, 3), none, 1, 0)
		},
		"three heads":       func(g *Graph) Tensor { return g.FusedAttention(q(g, 8, 3, 3), k(g), k(g), none, 1, 0) },
		"queries of images": func(g *Graph) Tensor { return g.FusedAttention(q(g, 8, 3, 2, 2), k(g), k(g), none, 1, 0) },
		"keys of F32":       func(g *Graph) Tensor { return g.FusedAttention(q(g, 8, 3, 2), q(g, 8, 4, 2), k(g), none, 1, 0) },
		"values of F32":     func(g *Graph) Tensor { return g.FusedAttention(q(g, 8, 3, 2), k(g), q(g, 8, 4, 2), none, 1, 0) },
		"keys transposed": func(g *Graph) Tensor {
			return g.FusedAttention(q(g, 8, 3, 2), g.Transpose(g.Scratch(gguf.TypeF16, 4, 8, 2)), k(g), none, 1, 0)
		},
		"values transposed": func(g *Graph) Tensor {
			return g.FusedAttention(q(g, 8, 3, 2), k(g), g.Transpose(g.Scratch(gguf.TypeF16, 4, 8, 2)), none, 1, 0)
		},
		"a mask of F32": func(g *Graph) Tensor { return g.FusedAttention(q(g, 8, 3, 2), k(g), k(g), q(g, 4, 3), 1, 0) },
		"a mask apart": func(g *Graph) Tensor {
			return g.FusedAttention(q(g, 8, 3, 2), k(g), k(g), g.Slice(g.Scratch(gguf.TypeF16, 5, 3), 0, 0, 4), 1, 0)
		},
		"queries apart": func(g *Graph) Tensor { return g.FusedHeads(apart(g), q(g, 8, 2, 3), q(g, 8, 2, 3), 1) },
		"keys apart":    func(g *Graph) Tensor { return g.FusedHeads(q(g, 8, 2, 3), apart(g), q(g, 8, 2, 3), 1) },
		"values apart":  func(g *Graph) Tensor { return g.FusedHeads(q(g, 8, 2, 3), q(g, 8, 2, 3), apart(g), 1) },
	} {
		t.Run(name, func(t *testing.T) { refuses(t, b, GraphOptions{}, build) })
	}
}

// fused is attention of queries of some width, with a mask for others.
func fused(g *Graph, keys, values Tensor, width, queries, masked int64) Tensor {
	q := g.Float32s(make([]float32, width*queries*2), width, queries, 2)
	mask := g.Float16s(make([]uint16, 4*masked), 4, masked)
	return g.FusedAttention(q, g.Heads(keys, 8, 0, 4), g.Heads(values, 8, 0, 4), mask, 1, 0)
}

// TestKeep computes a graph again and again with other inputs, and others in between.
func TestKeep(t *testing.T) { testKeep(t, newDevice(t)) }

// testKeep also reports whether an input was changed where a device fetches it from.
func testKeep(t *testing.T, b *Backend) (staged bool) {
	t.Helper()
	x, row := []float32{1, 2, 3}, []uint16{0x3c00, 0x4000, 0xc000} // 1, 2, −2
	g := b.NewGraph(GraphOptions{})
	defer g.Close()
	mask, scores := g.Float16s(row, 3), g.Float32s(x, 3)
	y := g.SoftMax(g.Repeat(scores, 2), g.Repeat(mask, 2), 1)
	likeliest := g.Likeliest(y)
	g.Output(y)
	g.Keep()
	b.TakeCounts()
	for i := range 5 {
		x[2] = float32(i)
		values := g.StagedFloat16s(mask)
		values[0] = [...]uint16{0xc000, 0x3c00}[i%2]
		staged = &values[0] != &row[0]
		if i == 4 {
			x[1] = float32(math.NaN())
		}
		if err := g.Compute(context.Background()); err != nil {
			t.Fatal(err)
		}
		got, err := g.Read(y)
		if err != nil {
			t.Fatal(err)
		}
		indices, err := g.ReadLikeliest(likeliest)
		if i == 4 {
			if !errors.Is(err, ErrNotFinite) {
				t.Errorf("the likeliest of NaN: %v, %v", indices, err)
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		first := [...]float64{-2, 1}[i%2]
		weights := []float64{math.Exp(1 + first), math.Exp(2 + 2), math.Exp(float64(i) - 2)}
		sum := weights[0] + weights[1] + weights[2]
		for j := range weights {
			weights[j] /= sum
		}
		near(t, fmt.Sprint("computation ", i), got, slices.Concat(weights, weights), 1e-5)
		if !slices.Equal(indices, []int32{1, 1}) {
			t.Errorf("computation %d: %v are the likeliest", i, indices)
		}
		if _, err := compute(t, b, func(g *Graph) Tensor { return g.Sqr(g.Float32s(random(1000, 1), 1000)) }); err != nil {
			t.Fatal(err)
		}
	}
	if got, want := b.TakeCounts(), (Counts{Computed: 9, Built: 4, Splits: 1}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	if g.StagedFloat16s(scores) != nil || g.StagedFloat16s(y) != nil {
		t.Error("values of what is no input in half precision")
	}
	return staged
}

// TestClearRows clears some rows of a tensor and no others.
func TestClearRows(t *testing.T) {
	b := newDevice(t)
	cells, _ := newCells(t, b, gguf.TypeF32, 2, 4)
	if _, err := computeWith(t, b, GraphOptions{}, func(g *Graph) Tensor {
		g.Run(g.Copy(g.Float32s([]float32{1, 2, 3, 4, 5, 6, 7, 8}, 2, 4), cells))
		return g.Float32s([]float32{1}, 1)
	}); err != nil {
		t.Fatal(err)
	}
	cells.ClearRows(1, 2)
	got, err := computeWith(t, b, GraphOptions{}, func(g *Graph) Tensor { return g.Cont(cells) })
	if want := []float32{1, 2, 0, 0, 0, 0, 7, 8}; err != nil || !slices.Equal(got, want) {
		t.Errorf("%v, want %v (%v)", got, want, err)
	}
}

// TestReadRows reads rows of a tensor that outlives graphs, and asks for some that it lacks.
func TestReadRows(t *testing.T) {
	b := newDevice(t)
	const width, rows = 8192, 4 // two rows are more than what goes without pinned memory
	table, _ := newCells(t, b, gguf.TypeF32, width, rows)
	want := random(width*rows, 1)
	if _, err := computeWith(t, b, GraphOptions{}, func(g *Graph) Tensor {
		at := g.Int64s([]int64{2, 3, 0, 1}, rows)
		g.Run(g.WriteRows(g.Reshape(g.Float32s(slices.Concat(want[2*width:], want[:2*width]), width, rows), width, 1, rows), table, at))
		return g.Float32s([]float32{1}, 1)
	}); err != nil {
		t.Fatal(err)
	}
	for from := range int64(rows) {
		for n := range rows - from + 1 {
			if got, err := b.ReadRows(table, from, n); err != nil || !slices.Equal(got, want[from*width:(from+n)*width]) {
				t.Errorf("rows [%d, %d+%d) are wrong (%v)", from, from, n, err)
			}
		}
	}
	for _, bad := range [][2]int64{{-1, 1}, {0, -1}, {0, rows + 1}, {rows, 1}, {1, math.MaxInt64}} {
		if _, err := b.ReadRows(table, bad[0], bad[1]); err == nil {
			t.Errorf("rows %v: no error", bad)
		}
	}
	if _, err := b.ReadRows(Tensor{}, 0, 1); err == nil {
		t.Error("rows of nothing: no error")
	}
}

// TestLooksUp asks for tables of every type.
func TestLooksUp(t *testing.T) {
	b := newDevice(t)
	for _, typ := range []gguf.Type{gguf.TypeF32, gguf.TypeF16, gguf.TypeBF16, gguf.TypeQ8_0, gguf.TypeQ4_K, gguf.TypeIQ4_NL} {
		g := b.NewGraph(GraphOptions{})
		if !b.LooksUp(g.Scratch(typ, 256, 10)) {
			t.Errorf("not in %v", typ)
		}
		g.Close()
	}
}
