package ggml

import (
	"fmt"
	"testing"

	"paligemma/internal/gguf"
)

// TestFactors multiplies rows by a shared A while they are written, by each operation that
// writes rows: the same bits as from F32 rows, of any number.
func TestFactors(t *testing.T) {
	b, err := NewBackend(Options{Device: "cpu", Threads: 2, All: true})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	const k, n, ranks = 768, 70, 11
	store, err := b.NewWeights([]Spec{
		randomWeights(t, gguf.TypeQ4_K, k, n, 1),
		NewSpec("a", random(k*ranks, 2), k, ranks),
		NewSpec("b", random(n*8, 3), n, 8),
		NewSpec("b", random(n*3, 4), n, 3),
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	s := store.Tensors()
	updates := []LowRank{{A: s[1], B: s[2:3]}, {A: s[1], First: 8, B: s[3:4]}}
	for name, op := range map[string]func(g *Graph, x, w Tensor, next ...Tensor) Tensor{
		"rms norm":   func(g *Graph, x, w Tensor, next ...Tensor) Tensor { return g.RMSNorm(x, w, 1e-6, next...) },
		"layer norm": func(g *Graph, x, w Tensor, next ...Tensor) Tensor { return g.LayerNorm(x, w, w, 1e-6, next...) },
		"geglu":      func(g *Graph, x, _ Tensor, next ...Tensor) Tensor { return g.Geglu(x, x, next...) },
		"gelu bias":  func(g *Graph, x, w Tensor, next ...Tensor) Tensor { return g.GeluBias(x, w, next...) },
	} {
		for _, rows := range []int64{1, 9, 40} {
			x := random(int(k*rows), 5)
			for i, u := range updates {
				t.Run(fmt.Sprintf("%s/%d rows/%d", name, rows, i), func(t *testing.T) {
					product := func(x []float32, next ...Tensor) []float32 {
						got, err := compute(t, b, func(g *Graph) Tensor {
							g.Update(RowUpdates{Updates: Updates{s[0]: u}})
							h := op(g, g.Float32s(x, k, int64(len(x))/k), g.Float32s(random(k, 6), k), next...)
							if len(next) > 0 && knowsQ8K() && h.Type() != gguf.TypeQ8_K {
								t.Errorf("rows are of type %v", h.Type())
							}
							return g.MulWeights(s[0], h)
						})
						if err != nil {
							t.Fatal(err)
						}
						return got
					}
					all := product(x, s[0], s[0])
					sameBits(t, "from F32", all, product(x))
					if !multiplies(gguf.TypeQ4_K, k) {
						t.Log("ggml multiplies one row otherwise than several")
						return
					}
					last := x[(rows-1)*k:]
					sameBits(t, "the last alone", all[(rows-1)*n:], product(last, s[0]))
				})
			}
		}
	}
}

// TestFactorsApart has operations write F32 rows where they cannot multiply them by what
// is to follow.
func TestFactorsApart(t *testing.T) {
	b := newBackend(t)
	g := b.NewGraph(GraphOptions{})
	defer g.Close()
	zeros := func(shape ...int64) Tensor {
		return g.Float32s(make([]float32, shape[0]*shape[1]), shape...)
	}
	store, err := b.NewWeights([]Spec{{Name: "w", Type: gguf.TypeQ4_K, Shape: []int64{256, 2}, Data: make([]byte, 288)}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	x, w := zeros(256, 3), store.Tensors()[0]
	for name, c := range map[string]struct {
		w       Tensor
		factors []Tensor
	}{
		"two":           {w, []Tensor{zeros(256, 2), zeros(256, 2)}},
		"plain weights": {zeros(256, 2), []Tensor{zeros(256, 2)}},
		"narrow":        {w, []Tensor{zeros(128, 2)}},
		"many":          {w, []Tensor{zeros(256, maxProjected+1)}},
	} {
		if rows := g.rowsTimes(x, []Tensor{c.w}, c.factors...); rows != (rowFormat{Type: gguf.TypeF32, Len: 256}) {
			t.Errorf("%s: %v", name, rows)
		}
	}
}
