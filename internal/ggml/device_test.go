package ggml

import (
	"context"
	"fmt"
	"math"
	"slices"
	"testing"

	"paligemma/internal/gguf"
)

// TestSoftCap compares the forms of the CPU and of other devices with the formula.
func TestSoftCap(t *testing.T) {
	values := append(random(1000, 3), 0, 1e-4, -1e-4, 29, -31, 1e4, -1e4)
	for i := range 500 {
		values[i] *= 40
	}
	b := newBackend(t)
	for name, o := range map[string]GraphOptions{"chosen": {}, "plain": {Plain: true}} {
		for _, limit := range []float32{30, 50} {
			got, err := computeWith(t, b, o, func(g *Graph) Tensor {
				return g.SoftCap(g.Float32s(values, int64(len(values))), limit)
			})
			if err != nil {
				t.Fatal(err)
			}
			want := make([]float64, len(values))
			for i, v := range values {
				want[i] = float64(limit) * math.Tanh(float64(v)/float64(limit))
			}
			near(t, name, got, want, 3e-7)
		}
		got, err := computeWith(t, b, o, func(g *Graph) Tensor {
			return g.SoftCap(g.Float32s([]float32{1, float32(math.NaN()), 2}, 3), 30)
		})
		if err != nil {
			t.Fatal(err)
		}
		if math.IsNaN(float64(got[0])) || !math.IsNaN(float64(got[1])) || math.IsNaN(float64(got[2])) {
			t.Errorf("%s: NaN in the middle gives %v", name, got)
		}
	}
}

// TestPrecision makes sure of what devices are asked for that would add up in F16.
func TestPrecision(t *testing.T) {
	const k, n = 256, 4
	g := newBackend(t).NewGraph(GraphOptions{Plain: true})
	defer g.Close()
	product := func(typ gguf.Type, rows int64, multiply func(a, b Tensor) Tensor) uint32 {
		return uint32(multiply(g.Scratch(typ, k, n), g.Float32s(make([]float32, k*rows), k, rows)).c.op_params[0])
	}
	for name, c := range map[string]struct {
		typ  gguf.Type
		rows int64
		want uint32
	}{
		"f16, one row":       {gguf.TypeF16, 1, precisionF32},
		"f16, few rows":      {gguf.TypeF16, 8, precisionF32},
		"f16, many rows":     {gguf.TypeF16, 9, precisionBF16},
		"f32":                {gguf.TypeF32, 1, precisionAny},
		"bf16":               {gguf.TypeBF16, 1, precisionAny},
		"q4_k, one row":      {gguf.TypeQ4_K, 1, precisionF32},
		"q4_k, many of them": {gguf.TypeQ4_K, 100, precisionBF16},
	} {
		if got := product(c.typ, c.rows, g.MulWeights); got != c.want {
			t.Errorf("weights of %s: precision %d, want %d", name, got, c.want)
		}
		if got := product(c.typ, c.rows, g.MulMat); got != precisionF32 {
			t.Errorf("cells of %s: precision %d, want that of F32", name, got)
		}
	}
}

// TestLargeSums multiplies by weights what adds up to more than F16 holds, with few rows and
// with many, of which devices take the products apart.
func TestLargeSums(t *testing.T) {
	const k, n = 512, 64
	b := newBackend(t)
	for _, typ := range []gguf.Type{gguf.TypeF32, gguf.TypeF16, gguf.TypeBF16, gguf.TypeQ8_0, gguf.TypeQ4_0, gguf.TypeQ4_K, gguf.TypeIQ4_XS} {
		t.Run(typ.String(), func(t *testing.T) {
			store, err := b.NewWeights([]Spec{weightsOf(t, typ, repeated(1, k*n), k, n)}, nil)
			if err != nil {
				t.Fatal(err)
			}
			defer store.Close()
			for _, rows := range []int{1, 8, 9, 40} {
				got, err := computeWith(t, b, GraphOptions{}, func(g *Graph) Tensor {
					return g.MulWeights(store.Tensors()[0], g.Float32s(repeated(1000, k*rows), k, int64(rows)))
				})
				if err != nil {
					t.Fatal(err)
				}
				near(t, fmt.Sprint(rows, " rows"), got, float64s(repeated(1000*k, n*rows)), 0.02) // as far as the types are from 1
			}
		})
	}
}

// repeated returns n times a value.
func repeated(value float32, n int) []float32 { return slices.Repeat([]float32{value}, n) }

// TestCounts counts graphs that are built, those of them that are computed, and splits.
func TestCounts(t *testing.T) {
	b := newBackend(t)
	if got := b.TakeCounts(); got != (Counts{}) {
		t.Errorf("before the first: %+v", got)
	}
	b.NewGraph(GraphOptions{}).Close() // built for nothing
	for range 2 {
		g := b.NewGraph(GraphOptions{})
		g.Output(g.Relu(g.Float32s([]float32{1, -1}, 2)))
		if err := g.Compute(context.Background()); err != nil {
			t.Fatal(err)
		}
		g.Close()
	}
	if got, want := b.TakeCounts(), (Counts{Computed: 2, Built: 3, Splits: 1}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	if got := b.TakeCounts(); got != (Counts{}) {
		t.Errorf("after they were taken: %+v", got)
	}
}
