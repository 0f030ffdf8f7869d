package ggml

import (
	"testing"

	"paligemma/internal/gguf"
)

// TestTiled compares products that are padded as for CUDA with the same products as they
// are: of weights, of heads that share keys, of images, and of rows that lie apart.
func TestTiled(t *testing.T) {
	plain, padded := newDevice(t), newDevice(t)
	plain.devices[0].Backend, padded.devices[0].Backend = "other", "CUDA"
	for name, c := range map[string]struct {
		a, b   [4]int64
		typ    gguf.Type
		apart  bool // rows of b, as those of queries by token
		padded bool
	}{
		"weights":          {a: [4]int64{64, 96, 1, 1}, b: [4]int64{64, 4, 1, 1}, padded: true},
		"most rows":        {a: [4]int64{32, 32, 1, 1}, b: [4]int64{32, 16, 1, 1}, padded: true},
		"heads share keys": {a: [4]int64{32, 256, 2, 1}, b: [4]int64{32, 7, 8, 1}, apart: true, padded: true},
		"images":           {a: [4]int64{64, 32, 2, 3}, b: [4]int64{64, 9, 2, 3}, padded: true},
		"shared by images": {a: [4]int64{64, 32, 1, 1}, b: [4]int64{64, 9, 2, 3}, apart: true, padded: true},
		"vectors":          {a: [4]int64{64, 96, 1, 1}, b: [4]int64{64, 3, 1, 1}},
		"vectors apart":    {a: [4]int64{64, 96, 1, 1}, b: [4]int64{64, 1, 9, 1}},
		"cuBLAS":           {a: [4]int64{64, 96, 1, 1}, b: [4]int64{64, 17, 1, 1}},
		"odd width":        {a: [4]int64{72, 96, 1, 1}, b: [4]int64{72, 8, 1, 1}},
		"odd height":       {a: [4]int64{64, 8, 1, 1}, b: [4]int64{64, 8, 1, 1}},
		"f16":              {a: [4]int64{64, 96, 1, 1}, b: [4]int64{64, 8, 1, 1}, typ: gguf.TypeF16},
	} {
		t.Run(name, func(t *testing.T) {
			product := func(b *Backend) []float32 {
				got, err := computeWith(t, b, GraphOptions{Exact: true}, func(g *Graph) Tensor {
					w := g.Float32s(random(int(c.a[0]*c.a[1]*c.a[2]*c.a[3]), 1), c.a[:]...)
					if c.typ == gguf.TypeF16 {
						w = g.half(w)
					}
					x := g.Float32s(random(int(c.b[0]*c.b[1]*c.b[2]*c.b[3]), 2), c.b[:]...)
					if c.apart {
						x = g.Permute(g.Cont(g.Permute(x, [4]int{0, 2, 1, 3})), [4]int{0, 2, 1, 3})
					}
					if got := g.tiled(w, x); got != (c.padded && b == padded) {
						t.Errorf("in tiles: %v", got)
					}
					y := g.MulMat(w, x)
					if g.Err() == nil && g.tiled(w, multiplied(y)) {
						t.Errorf("%v is multiplied in tiles", multiplied(y))
					}
					if want := [4]int64{c.a[1], c.b[1], c.b[2], c.b[3]}; g.Err() == nil && (y.shape() != want || !y.contiguous()) {
						t.Errorf("%v, want %v without gaps", y, want)
					}
					return y
				})
				if err != nil {
					t.Fatal(err)
				}
				return got
			}
			near(t, "product", product(padded), float64s(product(plain)), 1e-6)
		})
	}
}

// multiplied are the rows of the product that y is a part of.
func multiplied(y Tensor) Tensor {
	product := y.c
	for product.src[1] == nil {
		product = product.src[0]
	}
	return Tensor{product.src[1]}
}

// TestTiledOutput keeps a product that was cut back from more rows while others that need it
// are computed: ggml keeps the memory of what an output is a view of.
func TestTiledOutput(t *testing.T) {
	b := newDevice(t)
	b.devices[0].Backend = "CUDA"
	g := b.NewGraph(GraphOptions{Exact: true})
	defer g.Close()
	const n, rows = 64, 5
	w, x := g.Float32s(random(n*n, 1), n, n), g.Float32s(random(n*rows, 2), n, rows)
	first := g.MulWeights(w, x)
	g.Output(first)
	y := first
	for range 4 {
		y = g.Scale(g.MulWeights(w, y), 0.1)
	}
	g.Output(y)
	if err := g.Compute(t.Context()); err != nil {
		t.Fatal(err)
	}
	got, err := g.Read(first)
	if err != nil {
		t.Fatal(err)
	}
	want, err := computeWith(t, b, GraphOptions{Exact: true}, func(g *Graph) Tensor {
		return g.MulWeights(g.Float32s(random(n*n, 1), n, n), g.Float32s(random(n*rows, 2), n, rows))
	})
	if err != nil {
		t.Fatal(err)
	}
	near(t, "the first product", got, float64s(want), 1e-6)
}
