package ggml

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"paligemma/internal/gguf"
)

// TestGelu compares GELU with its formula from where it is zero to where it is
// x, for a number of values that is not a multiple of a vector.
func TestGelu(t *testing.T) {
	plain, err := NewBackend(Options{Device: "cpu", Threads: 1, Plain: true})
	if err != nil {
		t.Fatal(err)
	}
	defer plain.Close()
	for name, e := range map[string]*Backend{"kernels": newKernels(t), "plain": plain} {
		t.Run(name, func(t *testing.T) { testGelu(t, e) })
	}
}

func testGelu(t *testing.T, b *Backend) {
	const n = 4099
	x, up := make([]float32, n), random(n, 5)
	for i := range x {
		x[i] = 40*float32(i)/(n-1) - 20
	}
	x[0], x[n-1] = -1e30, 1e30
	for name, c := range map[string]struct {
		build  func(g *Graph) Tensor
		factor func(i int) float64
	}{
		"gelu": {func(g *Graph) Tensor { return g.Gelu(g.Float32s(x, n)) }, func(int) float64 { return 1 }},
		"geglu": {func(g *Graph) Tensor {
			return g.geglu(g.Float32s(x, n), g.Float32s(up, n), rowFormat{Type: gguf.TypeF32, Len: n})
		}, func(i int) float64 { return float64(up[i]) }},
	} {
		got, err := compute(t, b, c.build)
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
	got, err := compute(t, b, func(g *Graph) Tensor { return g.Gelu(g.Float32s([]float32{float32(math.NaN())}, 1)) })
	if err != nil || got[0] == got[0] {
		t.Errorf("gelu(NaN) is %v, %v", got, err)
	}
}

// TestRows compares the operations on rows with their formulas, for rows that are
// no multiple of a vector and get longer.
func TestRows(t *testing.T) {
	const n, rows, padded, eps = 37, 5, 40, 1e-6
	e := newBackend(t)
	x, more, w, b := random(n*rows, 1), random(n*rows, 2), random(n, 3), random(n, 4)
	for i := range x {
		x[i] += 100 // the variance is small next to the mean
	}
	var norm, rms, gelu, geglu, add []float64
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
			rms = append(rms, v/math.Sqrt(variance+mean*mean+eps)*float64(w[i]))
			u := float64(more[r*n+i])
			geglu = append(geglu, u/2*(1+math.Tanh(math.Sqrt(2/math.Pi)*(u+0.044715*u*u*u)))*v)
			norm = append(norm, (v-mean)/math.Sqrt(variance+eps)*float64(w[i])+bias)
			z := float64(more[r*n+i]) + bias
			gelu = append(gelu, z/2*(1+math.Tanh(math.Sqrt(2/math.Pi)*(z+0.044715*z*z*z))))
			add = append(add, v+float64(more[r*n+i])+bias)
		}
		for _, rows := range []*[]float64{&norm, &rms, &gelu, &geglu} {
			*rows = append(*rows, make([]float64, padded-n)...)
		}
	}
	for name, c := range map[string]struct {
		op   func(g *Graph, x, more, w, b Tensor) Tensor
		want []float64
		tol  float64
	}{
		"layer norm": {func(g *Graph, x, more, w, b Tensor) Tensor {
			return g.layerNorm(x, w, b, eps, rowFormat{Type: gguf.TypeF32, Len: padded})
		}, norm, 5e-5},
		"rms norm": {func(g *Graph, x, more, w, b Tensor) Tensor {
			return g.rmsNorm(x, w, eps, rowFormat{Type: gguf.TypeF32, Len: padded})
		}, rms, 2e-6},
		"geglu": {func(g *Graph, x, more, w, b Tensor) Tensor {
			return g.geglu(more, x, rowFormat{Type: gguf.TypeF32, Len: padded})
		}, geglu, 1e-6},
		"gelu bias": {func(g *Graph, x, more, w, b Tensor) Tensor {
			return g.geluBias(more, b, rowFormat{Type: gguf.TypeF32, Len: padded})
		}, gelu, 1e-6},
		"add bias": {func(g *Graph, x, more, w, b Tensor) Tensor { return g.AddBias(x, more, b) }, add, 1e-5},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := compute(t, e, func(g *Graph) Tensor {
				return c.op(g, g.Float32s(x, n, rows), g.Float32s(more, n, rows), g.Float32s(w, n), g.Float32s(b, n))
			})
			if err != nil {
				t.Fatal(err)
			}
			near(t, name, got, c.want, c.tol)
		})
	}
}

// TestPadTurnedRows pads rows that lie apart.
func TestPadTurnedRows(t *testing.T) {
	got, err := compute(t, newBackend(t), func(g *Graph) Tensor {
		x := g.Float32s([]float32{0, 1, 2, 3, 4, 5, 6, 7}, 2, 2, 2)
		return g.convertRows(g.Permute(x, [4]int{0, 2, 1, 3}), rowFormat{Type: gguf.TypeF32, Len: 3})
	})
	if err != nil {
		t.Fatal(err)
	}
	near(t, "padded", got, []float64{0, 1, 0, 4, 5, 0, 2, 3, 0, 6, 7, 0}, 0)
}

// quantizedRowTypes are types of weights, each with the type that rows have for ggml's product.
var quantizedRowTypes = map[gguf.Type]gguf.Type{
	gguf.TypeQ4_K: gguf.TypeQ8_K, gguf.TypeQ6_K: gguf.TypeQ8_K, gguf.TypeIQ4_XS: gguf.TypeQ8_K,
	gguf.TypeQ8_0: gguf.TypeQ8_0, gguf.TypeQ5_0: gguf.TypeQ8_0, gguf.TypeBF16: gguf.TypeBF16,
}

// TestQuantizedRows compares products of rows that custom kernels quantize with
// those that ggml quantizes itself: the same to the last bit, few rows or many.
func TestQuantizedRows(t *testing.T) {
	const k, columns = 768, 200
	e := newKernels(t)
	e.ggmlProducts = true
	for typ, rowsType := range quantizedRowTypes {
		t.Run(typ.String(), func(t *testing.T) {
			store, err := e.NewWeights([]Spec{randomWeights(t, typ, k, columns, 3)}, nil)
			if err != nil {
				t.Fatal(err)
			}
			defer store.Close()
			for _, rows := range []int64{1, 3, 21} {
				checkQuantizedRows(t, e, store.Tensors()[0], rowFormat{Type: rowsType, Len: k}, rows)
			}
		})
	}
}

// checkQuantizedRows compares products of a weight and what each kernel writes as rows in a format.
func checkQuantizedRows(t *testing.T, e *Backend, weight Tensor, quantized rowFormat, rows int64) {
	t.Helper()
	const n = 600
	plain := rowFormat{Type: gguf.TypeF32, Len: quantized.Len}
	x, more := random(int(n*rows), 1), random(int(n*rows), 2)
	clear(x[256:512])          // a block of zeros
	x[7], x[9] = 1.5, -1.5     // two are the largest
	x[520], x[521] = 0.5, -0.3 // the sign of the largest differs from block to block
	for name, op := range map[string]func(g *Graph, x, more, w, b Tensor, rows rowFormat) Tensor{
		"pad":        func(g *Graph, x, _, _, _ Tensor, rows rowFormat) Tensor { return g.convertRows(x, rows) },
		"layer norm": func(g *Graph, x, _, w, b Tensor, rows rowFormat) Tensor { return g.layerNorm(x, w, b, 1e-6, rows) },
		"rms norm":   func(g *Graph, x, _, w, _ Tensor, rows rowFormat) Tensor { return g.rmsNorm(x, w, 1e-6, rows) },
		"gelu bias":  func(g *Graph, x, _, _, b Tensor, rows rowFormat) Tensor { return g.geluBias(x, b, rows) },
		"geglu":      func(g *Graph, x, more, _, _ Tensor, rows rowFormat) Tensor { return g.geglu(x, more, rows) },
	} {
		product := func(r rowFormat) []float32 {
			got, err := compute(t, e, func(g *Graph) Tensor {
				if want := g.rowsFor(n, weight); want != quantized {
					t.Errorf("rows for %v: %v", weight, want)
				}
				return g.MulMat(weight, op(g, g.Float32s(x, n, rows), g.Float32s(more, n, rows), g.Float32s(random(n, 4), n), g.Float32s(random(n, 5), n), r))
			})
			if err != nil {
				t.Fatal(err)
			}
			return got
		}
		sameBits(t, fmt.Sprintf("%s, %d rows", name, rows), product(quantized), product(plain))
	}
}

func TestSplitAt(t *testing.T) {
	e := newKernels(t)
	e.ggmlProducts = true
	g := e.NewGraph(GraphOptions{})
	defer g.Close()
	for n, want := range map[int64]int64{1: 1, 255: 255, 256: 256, 257: 249, 264: 256, 272: 256, 273: 273, 288: 288, 290: 256, 520: 520, 1032: 1032, 4104: 4096} {
		x := g.convertRows(g.Float32s(make([]float32, n), 1, n), rowFormat{Type: gguf.TypeQ8_K, Len: 256})
		if got := g.splitAt(x); got != want {
			t.Errorf("%d rows are split at %d, want %d", n, got, want)
		}
	}
	if got := g.splitAt(g.Float32s(make([]float32, 264), 1, 264)); got != 264 {
		t.Errorf("rows of F32 are split at %d", got)
	}
}

// TestAdd compares the sum's kernel with ggml's operation: parts of larger rows, and
// operands that are repeated over each dimension but the first.
func TestAdd(t *testing.T) {
	e := newKernels(t)
	const n, heads, rows, sets = 40, 3, 70, 2
	x, y := random(2*n*heads*rows*sets, 1), random(n*heads*rows*sets, 2)
	for _, shape := range [][4]int64{{n, heads, rows, sets}, {n, 1, 1, 1}, {n, heads, 1, 1}, {n, 1, rows, 1}, {n, 1, 1, sets}, {1, heads, rows, sets}} {
		t.Run(fmt.Sprint(shape), func(t *testing.T) {
			sum := func(o GraphOptions) []float32 {
				g := e.NewGraph(o)
				defer g.Close()
				a := g.Slice(g.Float32s(x, n, 2*heads, rows, sets), 1, heads, heads)
				b := g.Float32s(y[:shape[0]*shape[1]*shape[2]*shape[3]], shape[:]...)
				out := g.Add(a, b)
				g.Output(out)
				if err := g.Compute(t.Context()); err != nil {
					t.Fatal(err)
				}
				got, err := g.Read(out)
				if err != nil {
					t.Fatal(err)
				}
				return got
			}
			if !slices.Equal(sum(GraphOptions{}), sum(GraphOptions{Plain: true})) {
				t.Error("the sums differ")
			}
		})
	}
}

// TestSplitRows compares products with rows in two groups, as ggml takes K-quants
// best, with those of all rows at once.
func TestSplitRows(t *testing.T) {
	const k, n, rows = 256, 24, 264
	e := newKernels(t)
	e.ggmlProducts = true
	store, err := e.NewWeights([]Spec{randomWeights(t, gguf.TypeQ4_K, k, n, 3)}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	w, parts := store.Tensors()[0], 0
	multiply := func(g *Graph, x Tensor) Tensor { parts++; return g.MulWeights(w, x) }
	product := func(build func(g *Graph, x Tensor) Tensor) []float32 {
		got, err := compute(t, e, func(g *Graph) Tensor {
			return build(g, g.convertRows(g.Float32s(random(k*rows, 1), k, rows), g.rowsFor(k, w)))
		})
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	split := product(func(g *Graph, x Tensor) Tensor { return g.SplitRows(x, multiply) })
	if parts != 2 {
		t.Errorf("%d groups of rows, want 2", parts)
	}
	near(t, "split", split, float64s(product(multiply)), 1e-6)
}
