package ggml

import (
	"context"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"paligemma/internal/gguf"
	"paligemma/internal/testdevice"
)

// testDevice is what the tests compute on (package testdevice).
func testDevice(t *testing.T) Options {
	t.Helper()
	d := testdevice.Chosen(t)
	return Options{Device: d.Name, Plain: d.Plain, Threads: 2, All: true}
}

func newBackend(t *testing.T) *Backend {
	t.Helper()
	e, err := NewBackend(testDevice(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Close)
	return e
}

// newHost is the CPU with the graphs of testDevice: for what other devices cannot do,
// which is to use memory of the host in place, and to count operations and stop midway.
func newHost(t *testing.T) *Backend {
	t.Helper()
	e, err := NewBackend(Options{Device: "cpu", Plain: !testdevice.Chosen(t).Kernels(), Threads: 2, All: true})
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

// refuses fails unless a graph does while it is built: ggml would end the process.
func refuses(t *testing.T, b *Backend, o GraphOptions, build func(*Graph) Tensor) {
	t.Helper()
	g := b.NewGraph(o)
	defer g.Close()
	if g.Output(build(g)); g.Err() == nil {
		t.Error("no error")
	}
}

func random(n int, seed uint64) []float32 {
	r := rand.New(rand.NewPCG(seed, 1))
	out := make([]float32, n)
	for i := range out {
		out[i] = float32(r.NormFloat64())
	}
	return out
}

func float64s(values []float32) []float64 {
	out := make([]float64, len(values))
	for i, v := range values {
		out[i] = float64(v)
	}
	return out
}

// randomWeights describes weights [k, n] of a type, made of random values; zeros pad rows to whole blocks.
func randomWeights(tb testing.TB, typ gguf.Type, k, n int64, seed uint64) Spec {
	tb.Helper()
	block := int64(typ.BlockSize())
	padded := (k + block - 1) / block * block
	values, rows := random(int(k*n), seed), make([]float32, padded*n)
	for i := range n {
		copy(rows[i*padded:], values[i*k:][:k])
	}
	return weightsOf(tb, typ, rows, padded, n)
}

// weightsOf describes weights [k, n] of a type, whose blocks divide k.
func weightsOf(tb testing.TB, typ gguf.Type, values []float32, k, n int64) Spec {
	tb.Helper()
	rowBytes, err := typ.RowBytes(k)
	if err != nil {
		tb.Fatal(err)
	}
	packed := make([]byte, rowBytes*n)
	if err := Quantize(typ, packed, values, int(k)); err != nil {
		tb.Fatal(err)
	}
	return Spec{Name: "w", Type: typ, Shape: []int64{k, n}, Data: packed}
}

// near fails unless got equals want to within tolerance of its largest value.
func near(t *testing.T, what string, got []float32, want []float64, tolerance float64) {
	t.Helper()
	tolerance = testdevice.Chosen(t).Tolerance(tolerance)
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
		near(t, typ.String(), got, float64s(src), tolerance)
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
		return g.rmsNorm(x, g.Float32s(ones, n), eps, rowFormat{Type: gguf.TypeF32, Len: n})
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
		"pad":       {func(g *Graph, x Tensor) Tensor { return g.convertRows(x, rowFormat{Type: gguf.TypeF32, Len: 4}) }, []float64{0, 1, 2, 0, 3, 4, 5, 0}},
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
