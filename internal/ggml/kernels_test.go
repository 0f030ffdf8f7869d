package ggml

import (
	"math"
	"testing"
)

// TestGelu compares GELU with its formula from where it is zero to where it is
// x, for a number of values that is no multiple of a vector.
func TestGelu(t *testing.T) {
	const n = 4099
	e := newEngine(t)
	x, up := make([]float32, n), random(n, 5)
	for i := range x {
		x[i] = 40*float32(i)/(n-1) - 20
	}
	x[0], x[n-1] = -1e30, 1e30
	for name, c := range map[string]struct {
		build  func(g *Graph) Tensor
		factor func(i int) float64
	}{
		"gelu":  {func(g *Graph) Tensor { return g.Gelu(g.Float32s(x, n)) }, func(int) float64 { return 1 }},
		"geglu": {func(g *Graph) Tensor { return g.Geglu(g.Float32s(x, n), g.Float32s(up, n)) }, func(i int) float64 { return float64(up[i]) }},
	} {
		got, err := compute(t, e, c.build)
		if err != nil {
			t.Fatal(err)
		}
		for i, v := range got {
			z := float64(x[i])
			want := z / 2 * (1 + math.Tanh(math.Sqrt(2/math.Pi)*(z+0.044715*z*z*z))) * c.factor(i)
			if math.Abs(float64(v)-want) > 2e-6*max(math.Abs(want), 1) {
				t.Errorf("%s(%v) is %v, want %v", name, x[i], v, want)
			}
		}
	}
	got, err := compute(t, e, func(g *Graph) Tensor { return g.Gelu(g.Float32s([]float32{float32(math.NaN())}, 1)) })
	if err != nil || got[0] == got[0] {
		t.Errorf("gelu(NaN) is %v, %v", got, err)
	}
}

// TestRows compares the operations on rows with their formulas, for rows that are
// no multiple of a vector and get longer.
func TestRows(t *testing.T) {
	const n, rows, padded, eps = 37, 5, 40, 1e-6
	e := newEngine(t)
	x, more, w, b := random(n*rows, 1), random(n*rows, 2), random(n, 3), random(n, 4)
	for i := range x {
		x[i] += 100 // the variance is small beside the mean
	}
	var norm, gelu, add []float64
	for r := range rows {
		mean, variance := 0.0, 0.0
		for _, v := range x[r*n : r*n+n] {
			mean += float64(v) / n
		}
		for _, v := range x[r*n : r*n+n] {
			variance += (float64(v) - mean) * (float64(v) - mean) / n
		}
		for i := range n {
			v, bias := float64(x[r*n+i]), float64(b[i])
			norm = append(norm, (v-mean)/math.Sqrt(variance+eps)*float64(w[i])+bias)
			z := float64(more[r*n+i]) + bias
			gelu = append(gelu, z/2*(1+math.Tanh(math.Sqrt(2/math.Pi)*(z+0.044715*z*z*z))))
			add = append(add, v+float64(more[r*n+i])+bias)
		}
		norm, gelu = append(norm, make([]float64, padded-n)...), append(gelu, make([]float64, padded-n)...)
	}
	for name, c := range map[string]struct {
		op   func(g *Graph, x, more, w, b Tensor) Tensor
		want []float64
		tol  float64
	}{
		"layer norm": {func(g *Graph, x, more, w, b Tensor) Tensor { return g.LayerNorm(x, w, b, eps, padded) }, norm, 5e-5},
		"gelu bias":  {func(g *Graph, x, more, w, b Tensor) Tensor { return g.GeluBias(more, b, padded) }, gelu, 1e-6},
		"add bias":   {func(g *Graph, x, more, w, b Tensor) Tensor { return g.AddBias(x, more, b) }, add, 1e-5},
	} {
		got, err := compute(t, e, func(g *Graph) Tensor {
			return c.op(g, g.Float32s(x, n, rows), g.Float32s(more, n, rows), g.Float32s(w, n), g.Float32s(b, n))
		})
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		near(t, name, got, c.want, c.tol)
	}
}

// TestPadTurnedRows pads rows that lie apart.
func TestPadTurnedRows(t *testing.T) {
	got, err := compute(t, newEngine(t), func(g *Graph) Tensor {
		x := g.Float32s([]float32{0, 1, 2, 3, 4, 5, 6, 7}, 2, 2, 2)
		return g.PadRows(g.Permute(x, [4]int{0, 2, 1, 3}), 3)
	})
	if err != nil {
		t.Fatal(err)
	}
	near(t, "padded", got, []float64{0, 1, 0, 4, 5, 0, 2, 3, 0, 6, 7, 0}, 0)
}
