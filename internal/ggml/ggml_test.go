package ggml

import (
	"cmp"
	"context"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"

	"paligemma/internal/gguf"
)

// testDevice is what the tests compute on: $PALIGEMMA_TEST_DEVICE, "cpu" if it is
// not set, or "plain": the CPU with the graphs of other devices.
func testDevice() Options {
	o := Options{Device: cmp.Or(os.Getenv("PALIGEMMA_TEST_DEVICE"), "cpu"), Threads: 2, All: true}
	if o.Device == "plain" {
		o.Device, o.Plain = "cpu", true
	}
	return o
}

func newBackend(t *testing.T) *Backend {
	t.Helper()
	e, err := NewBackend(testDevice())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Close)
	return e
}

// newKernels is a backend with the CPU's kernels, whatever is tested elsewhere.
func newKernels(t *testing.T) *Backend {
	t.Helper()
	e, err := NewBackend(Options{Device: "cpu", Threads: 2, All: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Close)
	return e
}

// compute runs one graph and returns its output.
func compute(t *testing.T, b *Backend, build func(*Graph) Tensor) ([]float32, error) {
	t.Helper()
	return computeWith(t, b, GraphOptions{Exact: true}, build)
}

// computeWith is compute with other options.
func computeWith(t *testing.T, b *Backend, o GraphOptions, build func(*Graph) Tensor) ([]float32, error) {
	t.Helper()
	g := b.NewGraph(o)
	defer g.Close()
	out := build(g)
	g.Output(out)
	if err := g.Compute(context.Background()); err != nil {
		return nil, err
	}
	return g.Read(out)
}

func random(n int, seed uint64) []float32 {
	r := rand.New(rand.NewPCG(seed, 1))
	out := make([]float32, n)
	for i := range out {
		out[i] = float32(r.NormFloat64())
	}
	return out
}

// near fails unless got equals want to within tolerance of its largest value.
func near(t *testing.T, what string, got []float32, want []float64, tolerance float64) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s: %d values, want %d", what, len(got), len(want))
	}
	largest, worst, at := 0.0, 0.0, 0
	for i := range want {
		largest = max(largest, math.Abs(want[i]))
		if d := math.Abs(float64(got[i]) - want[i]); d > worst || d != d {
			worst, at = d, i
		}
	}
	if !(worst <= tolerance*largest) {
		t.Errorf("%s: value %d is %v, want %v", what, at, got[at], want[at])
	}
}

// sameBits fails unless got has the bits of want.
func sameBits(t *testing.T, what string, got, want []float32) {
	t.Helper()
	for i := range want {
		if math.Float32bits(got[i]) != math.Float32bits(want[i]) {
			t.Errorf("%s: value %d is %v, want %v", what, i, got[i], want[i])
			return
		}
	}
}

func TestTypesMatchLibrary(t *testing.T) {
	for typ := gguf.Type(0); typ < 64; typ++ {
		if typ.BlockSize() == 0 { // not in gguf's table
			continue
		}
		name, size, bytes := typeSizes(typ)
		if !strings.EqualFold(name, typ.String()) || size != typ.BlockSize() || bytes != typ.BlockBytes() {
			t.Errorf("gguf says %v %d %d, ggml says %s %d %d", typ, typ.BlockSize(), typ.BlockBytes(), name, size, bytes)
		}
	}
}

func TestQuantizeRoundTrip(t *testing.T) {
	const rowLen, rows = 512, 3
	src := random(rowLen*rows, 7)
	// The largest error allowed, in parts of the largest value.
	for typ, tolerance := range map[gguf.Type]float64{
		gguf.TypeF32: 0, gguf.TypeF16: 6e-4, gguf.TypeBF16: 5e-3, gguf.TypeQ8_0: 0.006, gguf.TypeQ6_K: 0.03,
		gguf.TypeQ5_K: 0.06, gguf.TypeQ5_0: 0.07, gguf.TypeQ5_1: 0.06, gguf.TypeQ4_K: 0.11, gguf.TypeQ4_0: 0.14,
		gguf.TypeQ4_1: 0.11, gguf.TypeIQ4_NL: 0.14, gguf.TypeIQ4_XS: 0.14, gguf.TypeQ3_K: 0.25, gguf.TypeQ2_K: 0.45,
	} {
		rowBytes, err := typ.RowBytes(rowLen)
		if err != nil {
			t.Fatal(err)
		}
		packed := make([]byte, rowBytes*rows)
		if err := Quantize(typ, packed, src, rowLen); err != nil {
			t.Fatalf("%v: %v", typ, err)
		}
		got := make([]float32, len(src))
		if err := Dequantize(typ, got, packed, rowLen); err != nil {
			t.Fatalf("%v: %v", typ, err)
		}
		want := make([]float64, len(src))
		for i, v := range src {
			want[i] = float64(v)
		}
		near(t, typ.String(), got, want, tolerance)
	}
}

func TestQuantizeRefuses(t *testing.T) {
	src := make([]float32, 64)
	for name, err := range map[string]error{
		"row not a multiple": Quantize(gguf.TypeQ8_0, make([]byte, 66), src[:62], 31),
		"dst too short":      Quantize(gguf.TypeQ8_0, make([]byte, 34), src, 32),
		"dst too long":       Quantize(gguf.TypeQ8_0, make([]byte, 102), src, 32),
		"ragged rows":        Quantize(gguf.TypeF32, make([]byte, 4*63), src[:63], 32),
		"no quantizer":       Quantize(gguf.TypeI32, make([]byte, 256), src, 64),
		"unknown type":       Quantize(gguf.Type(999), make([]byte, 256), src, 64),
		"to float of i8":     Dequantize(gguf.TypeI8, src, make([]byte, 64), 64),
		"short source":       Dequantize(gguf.TypeQ8_0, src, make([]byte, 67), 64),
	} {
		t.Run(name, func(t *testing.T) {
			if err == nil {
				t.Error("no error")
			}
		})
	}
}

func TestMulMat(t *testing.T) {
	e := newBackend(t)
	const k, n, tokens, heads = 64, 5, 7, 3
	a, b := random(k*n, 1), random(k*tokens*heads, 2)
	got, err := compute(t, e, func(g *Graph) Tensor {
		return g.MulMat(g.Float32s(a, k, n), g.Float32s(b, k, tokens, heads))
	})
	if err != nil {
		t.Fatal(err)
	}
	var want []float64
	for row := range tokens * heads {
		for col := range n {
			sum := 0.0
			for i := range k {
				sum += float64(a[col*k+i]) * float64(b[row*k+i])
			}
			want = append(want, sum)
		}
	}
	near(t, "matmul", got, want, 1e-6)
}

func TestNorms(t *testing.T) {
	e := newBackend(t)
	const n, rows, eps = 48, 4, 1e-6
	x := random(n*rows, 3)
	var norm, rms []float64
	for r := range rows {
		mean, square := 0.0, 0.0
		for _, v := range x[r*n : (r+1)*n] {
			mean += float64(v) / n
			square += float64(v) * float64(v) / n
		}
		for _, v := range x[r*n : (r+1)*n] {
			norm = append(norm, (float64(v)-mean)/math.Sqrt(square-mean*mean+eps))
			rms = append(rms, float64(v)/math.Sqrt(square+eps))
		}
	}
	for name, c := range map[string]struct {
		op   func(*Graph, Tensor, float32) Tensor
		want []float64
	}{"norm": {(*Graph).Norm, norm}, "rms": {func(g *Graph, x Tensor, eps float32) Tensor {
		ones := make([]float32, n)
		for i := range ones {
			ones[i] = 1
		}
		return g.rmsNorm(x, g.Float32s(ones, n), eps, rowFormat{gguf.TypeF32, n})
	}, rms}} {
		t.Run(name, func(t *testing.T) {
			got, err := compute(t, e, func(g *Graph) Tensor { return c.op(g, g.Float32s(x, n, rows), eps) })
			if err != nil {
				t.Fatal(err)
			}
			near(t, name, got, c.want, 2e-6)
		})
	}
}

func TestRoPE(t *testing.T) {
	e := newBackend(t)
	const d, heads, tokens, theta = 8, 2, 3, 10000
	x := random(d*heads*tokens, 4)
	positions := []int32{1, 7, 4100}
	for name, c := range map[string]struct {
		options GraphOptions
		angle   func(position int32, i int) float64
	}{
		"ggml's angles": {GraphOptions{}, func(position int32, i int) float64 {
			return float64(float32(position) / float32(math.Pow(theta, 2*float64(i)/d)))
		}},
		"exact": {GraphOptions{Exact: true}, func(position int32, i int) float64 {
			return float64(float32(position) * (1 / float32(math.Pow(theta, 2*float64(i)/d))))
		}},
	} {
		t.Run(name, func(t *testing.T) {
			want := make([]float64, len(x))
			for p := range tokens {
				for h := range heads {
					for i := range d / 2 {
						at := (p*heads+h)*d + i
						sin, cos := math.Sincos(c.angle(positions[p], i))
						a, b := float64(x[at]), float64(x[at+d/2])
						want[at], want[at+d/2] = a*cos-b*sin, a*sin+b*cos
					}
				}
			}
			g := e.NewGraph(c.options)
			defer g.Close()
			out := g.RoPE(g.Float32s(x, d, heads, tokens), g.NewRotary(positions, d, theta))
			g.Output(out)
			if err := g.Compute(t.Context()); err != nil {
				t.Fatal(err)
			}
			got, err := g.Read(out)
			if err != nil {
				t.Fatal(err)
			}
			near(t, name, got, want, 1e-6)
		})
	}
}

func TestSoftMaxMask(t *testing.T) {
	e := newBackend(t)
	inf := float32(math.Inf(-1))
	x := []float32{1, 2, 3, 1, 2, 3}
	got, err := compute(t, e, func(g *Graph) Tensor {
		return g.SoftMax(g.Float32s(x, 3, 2), g.Float32s([]float32{0, 0, inf, inf, 0, inf}, 3, 2), 2)
	})
	if err != nil {
		t.Fatal(err)
	}
	p := 1 / (1 + math.Exp(2.0))
	near(t, "softmax", got, []float64{p, 1 - p, 0, 0, 1, 0}, 1e-6)
}

func TestConv2D(t *testing.T) {
	e := newBackend(t)
	const w, h, in, out, n, k, pad = 5, 4, 3, 2, 2, 3, 1
	x, kernel := random(w*h*in*n, 8), random(k*k*in*out, 9)
	got, err := compute(t, e, func(g *Graph) Tensor {
		return g.Conv2D(g.Float32s(kernel, k, k, in, out), g.Float32s(x, w, h, in, n), pad)
	})
	if err != nil {
		t.Fatal(err)
	}
	var want []float64
	for b := range n {
		for o := range out {
			for y := range h {
				for xx := range w {
					sum := 0.0
					for c := range in {
						for dy := range k {
							for dx := range k {
								sy, sx := y+dy-pad, xx+dx-pad
								if sy >= 0 && sy < h && sx >= 0 && sx < w {
									sum += float64(x[((b*in+c)*h+sy)*w+sx]) * float64(kernel[((o*in+c)*k+dy)*k+dx])
								}
							}
						}
					}
					want = append(want, sum)
				}
			}
		}
	}
	near(t, "conv2d", got, want, 1e-6)
}

func TestShapes(t *testing.T) {
	e := newBackend(t)
	x := []float32{0, 1, 2, 3, 4, 5}
	for name, c := range map[string]struct {
		op   func(*Graph, Tensor) Tensor
		want []float64
	}{
		"transpose": {func(g *Graph, x Tensor) Tensor { return g.Cont(g.Transpose(x)) }, []float64{0, 3, 1, 4, 2, 5}},
		"slice":     {func(g *Graph, x Tensor) Tensor { return g.Cont(g.Slice(x, 0, 1, 2)) }, []float64{1, 2, 4, 5}},
		"concat":    {func(g *Graph, x Tensor) Tensor { return g.Concat(x, g.Slice(x, 1, 0, 1), 1) }, []float64{0, 1, 2, 3, 4, 5, 0, 1, 2}},
		"pad":       {func(g *Graph, x Tensor) Tensor { return g.convertRows(x, rowFormat{gguf.TypeF32, 4}) }, []float64{0, 1, 2, 0, 3, 4, 5, 0}},
		"rows":      {func(g *Graph, x Tensor) Tensor { return g.GetRows(x, g.Int32s([]int32{1, 0, 1}, 3)) }, []float64{3, 4, 5, 0, 1, 2, 3, 4, 5}},
		"scale":     {func(g *Graph, x Tensor) Tensor { return g.ScaleBias(g.Scale(x, 2), 1, 1) }, []float64{1, 3, 5, 7, 9, 11}},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := compute(t, e, func(g *Graph) Tensor { return c.op(g, g.Float32s(x, 3, 2)) })
			if err != nil {
				t.Fatal(err)
			}
			near(t, name, got, c.want, 0)
		})
	}
}

// TestPlanIsNotReused computes two graphs with as many tensors of the same sizes
// but other connections: ggml would lay the second's result over its input.
// TestRefuses gives each operation what ggml would abort the process on.
func TestRefuses(t *testing.T) {
	e := newBackend(t)
	ints := []int32{0, 1}
	for name, op := range map[string]func(*Graph, Tensor) Tensor{
		"add":               func(g *Graph, x Tensor) Tensor { return g.Add(x, g.Float32s(make([]float32, 4), 4)) },
		"add ints":          func(g *Graph, x Tensor) Tensor { return g.Add(g.Int32s(ints, 2), g.Int32s(ints, 2)) },
		"mul missing":       func(g *Graph, x Tensor) Tensor { return g.Mul(x, Tensor{}) },
		"matmul":            func(g *Graph, x Tensor) Tensor { return g.MulMat(x, g.Float32s(make([]float32, 4), 4)) },
		"matmul ints":       func(g *Graph, x Tensor) Tensor { return g.MulMat(g.Int32s(ints, 2), g.Float32s(make([]float32, 2), 2)) },
		"matmul transposed": func(g *Graph, x Tensor) Tensor { return g.MulMat(g.Transpose(x), g.Float32s(make([]float32, 2), 2)) },
		"matmul too large": func(g *Graph, x Tensor) Tensor {
			y := g.Float32s(make([]float32, 1<<16), 1, 1<<16)
			y = g.MulMat(y, y)
			y = g.Reshape(y, 1, 1<<32)
			return g.MulMat(y, y)
		},
		"matmul heads": func(g *Graph, x Tensor) Tensor {
			return g.MulMat(g.Float32s(make([]float32, 6), 3, 1, 2), g.Float32s(make([]float32, 9), 3, 1, 3))
		},
		"geglu":           func(g *Graph, x Tensor) Tensor { return g.geglu(x, g.Transpose(x), rowFormat{gguf.TypeF32, 3}) },
		"gelu transposed": func(g *Graph, x Tensor) Tensor { return g.Gelu(g.Transpose(x)) },
		"scale view":      func(g *Graph, x Tensor) Tensor { return g.Scale(g.Slice(x, 0, 0, 2), 2) },
		"norm NaN":        func(g *Graph, x Tensor) Tensor { return g.Norm(x, float32(math.NaN())) },
		"softmax mask":    func(g *Graph, x Tensor) Tensor { return g.SoftMax(x, g.Float32s(make([]float32, 3), 3), 1) },
		"rope odd": func(g *Graph, x Tensor) Tensor {
			return g.rope(g.Reshape(x, 3, 1, 2), g.Int32s(ints, 2), g.Float32s(make([]float32, 1), 1))
		},
		"rope positions": func(g *Graph, x Tensor) Tensor {
			return g.rope(g.Reshape(x, 2, 1, 3), g.Int32s(ints, 2), g.Float32s(make([]float32, 1), 1))
		},
		"rope factors": func(g *Graph, x Tensor) Tensor {
			return g.rope(g.Reshape(x, 2, 1, 3), g.Int32s([]int32{0, 1, 2}, 3), g.Float32s(make([]float32, 2), 2))
		},
		"reshape":            func(g *Graph, x Tensor) Tensor { return g.Reshape(x, 5) },
		"reshape zero":       func(g *Graph, x Tensor) Tensor { return g.Reshape(x, 6, 0) },
		"reshape 5 dims":     func(g *Graph, x Tensor) Tensor { return g.Reshape(x, 6, 1, 1, 1, 1) },
		"reshape transposed": func(g *Graph, x Tensor) Tensor { return g.Reshape(g.Transpose(x), 6) },
		"slice end":          func(g *Graph, x Tensor) Tensor { return g.Slice(x, 1, 1, 2) },
		"slice negative":     func(g *Graph, x Tensor) Tensor { return g.Slice(x, 1, -1, 1) },
		"slice dimension":    func(g *Graph, x Tensor) Tensor { return g.Slice(x, 4, 0, 1) },
		"permute":            func(g *Graph, x Tensor) Tensor { return g.Permute(x, [4]int{0, 0, 1, 2}) },
		"cont":               func(g *Graph, x Tensor) Tensor { return g.Cont(x, 4) },
		"copy":               func(g *Graph, x Tensor) Tensor { return g.Copy(x, g.Float32s(make([]float32, 5), 5)) },
		"concat":             func(g *Graph, x Tensor) Tensor { return g.Concat(x, g.Float32s(make([]float32, 4), 4), 1) },
		"concat dim":         func(g *Graph, x Tensor) Tensor { return g.Concat(x, x, 4) },
		"rows":               func(g *Graph, x Tensor) Tensor { return g.GetRows(x, x) },
		"pad":                func(g *Graph, x Tensor) Tensor { return g.convertRows(x, rowFormat{gguf.TypeF32, 2}) },
		"pad type":           func(g *Graph, x Tensor) Tensor { return g.convertRows(x, rowFormat{gguf.TypeQ8_0, 32}) },
		"pad part":           func(g *Graph, x Tensor) Tensor { return g.convertRows(x, rowFormat{gguf.TypeQ8_K, 300}) },
		"matmul rows": func(g *Graph, x Tensor) Tensor {
			x = g.convertRows(x, rowFormat{gguf.TypeQ8_K, 256})
			return g.MulMat(x, x)
		},
		"matmul plain": func(g *Graph, x Tensor) Tensor {
			return g.MulMat(g.convertRows(x, rowFormat{gguf.TypeF32, 256}), g.convertRows(x, rowFormat{gguf.TypeQ8_K, 256}))
		},
		"layer norm": func(g *Graph, x Tensor) Tensor { return g.layerNorm(x, x, x, 1, rowFormat{gguf.TypeF32, 3}) },
		"layer norm pad": func(g *Graph, x Tensor) Tensor {
			r := g.Cont(g.Slice(x, 1, 0, 1))
			return g.layerNorm(x, r, r, 1, rowFormat{gguf.TypeF32, 2})
		},
		"rms norm":       func(g *Graph, x Tensor) Tensor { return g.rmsNorm(x, x, 1, rowFormat{gguf.TypeF32, 3}) },
		"gelu bias":      func(g *Graph, x Tensor) Tensor { return g.geluBias(x, x, rowFormat{gguf.TypeF32, 3}) },
		"add bias":       func(g *Graph, x Tensor) Tensor { r := g.Cont(g.Slice(x, 1, 0, 1)); return g.AddBias(r, x, r) },
		"scratch shape":  func(g *Graph, x Tensor) Tensor { return g.Scratch(gguf.TypeF32, 4, 0) },
		"scratch type":   func(g *Graph, x Tensor) Tensor { return g.Scratch(gguf.TypeQ4_K, 4) },
		"input size":     func(g *Graph, x Tensor) Tensor { return g.Float32s(make([]float32, 5), 6) },
		"input shape":    func(g *Graph, x Tensor) Tensor { return g.Float32s(nil, 0) },
		"input overflow": func(g *Graph, x Tensor) Tensor { return g.Float32s(nil, 1<<40, 1<<40) },
		"conv channels":  func(g *Graph, x Tensor) Tensor { return g.Conv2D(g.Float32s(make([]float32, 8), 1, 1, 2, 4), x, 0) },
		"conv too small": func(g *Graph, x Tensor) Tensor { return g.Conv2D(g.Float32s(make([]float32, 25), 5, 5, 1, 1), x, 1) },
		"nothing":        func(g *Graph, x Tensor) Tensor { return Tensor{} },
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := compute(t, e, func(g *Graph) Tensor { return op(g, g.Float32s(make([]float32, 6), 3, 2)) }); err == nil {
				t.Error("no error")
			}
		})
	}
}

// TestScratch puts tensors together in memory of the graph, twice: each time what
// reads it sees what was there then.
func TestScratch(t *testing.T) {
	got, err := compute(t, newBackend(t), func(g *Graph) Tensor {
		one := g.Float32s([]float32{1, 1, 1}, 3)
		row := g.Scratch(gguf.TypeF32, 3)
		g.Run(g.Copy(g.Float32s([]float32{1, 2}, 2), g.Slice(row, 0, 0, 2)))
		g.Run(g.Copy(g.Float32s([]float32{3}, 1), g.Slice(row, 0, 2, 1)))
		first := g.MulMat(row, one)
		g.Run(first)
		g.Run(g.Copy(g.Float32s([]float32{30}, 1), g.Slice(row, 0, 2, 1)))
		return g.Concat(first, g.MulMat(row, one), 0)
	})
	if err != nil {
		t.Fatal(err)
	}
	near(t, "sums", got, []float64{6, 33}, 0)
}

// TestApart compares rows of a product with those of products of one row.
func TestApart(t *testing.T) {
	const k, n, rows = 1024, 64, 5
	e := newBackend(t)
	w, x := random(k*n, 1), random(k*rows, 2)
	product := func(o GraphOptions, x []float32) []float32 {
		g := e.NewGraph(o)
		defer g.Close()
		y := g.MulWeights(g.Float32s(w, k, n), g.Float32s(x, k, int64(len(x)/k)))
		g.Output(y)
		if err := g.Compute(t.Context()); err != nil {
			t.Fatal(err)
		}
		if y.shape() != [4]int64{n, int64(len(x) / k), 1, 1} {
			t.Errorf("the product is %v", y)
		}
		got, err := g.Read(y)
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	all := product(GraphOptions{Exact: true, Apart: true}, x)
	for r := range rows {
		if alone := product(GraphOptions{}, x[r*k:(r+1)*k]); !slices.Equal(all[r*n:(r+1)*n], alone) {
			t.Errorf("row %d differs from the same row alone", r)
		}
	}
}

func TestFirstErrorSticks(t *testing.T) {
	e := newBackend(t)
	g := e.NewGraph(GraphOptions{})
	defer g.Close()
	x := g.Float32s(make([]float32, 6), 3, 2)
	g.Reshape(x, 5)
	first := g.Err()
	g.Output(g.Add(g.Scale(x, 2), x))
	if err := g.Compute(context.Background()); err == nil || err != first {
		t.Errorf("got %v, want %v", err, first)
	}
}

func TestTooManyOperations(t *testing.T) {
	e := newBackend(t)
	_, err := compute(t, e, func(g *Graph) Tensor {
		x := g.Float32s([]float32{1}, 1)
		for range 2 * MaxNodes {
			x = g.Scale(x, 1)
		}
		return x
	})
	if err == nil {
		t.Error("no error")
	}
}

// TestPlacement splits weights between a device and the CPU, as for types that
// the device cannot compute with.
// TestAfterOutOfMemory computes a graph that there is no memory for, twice: the
// second must fail as the first did, and others still work.
