package ggml

import (
	"context"
	"math"
	"slices"
	"testing"

	"paligemma/internal/gguf"
)

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
		"geglu": func(g *Graph, x Tensor) Tensor {
			return g.geglu(x, g.Transpose(x), rowFormat{Type: gguf.TypeF32, Len: 3})
		},
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
		"pad":                func(g *Graph, x Tensor) Tensor { return g.convertRows(x, rowFormat{Type: gguf.TypeF32, Len: 2}) },
		"pad type":           func(g *Graph, x Tensor) Tensor { return g.convertRows(x, rowFormat{Type: gguf.TypeQ4_K, Len: 256}) },
		"pad part":           func(g *Graph, x Tensor) Tensor { return g.convertRows(x, rowFormat{Type: gguf.TypeQ8_K, Len: 300}) },
		"matmul rows": func(g *Graph, x Tensor) Tensor {
			x = g.convertRows(x, rowFormat{Type: gguf.TypeQ8_K, Len: 256})
			return g.MulMat(x, x)
		},
		"matmul plain": func(g *Graph, x Tensor) Tensor {
			return g.MulMat(g.convertRows(x, rowFormat{Type: gguf.TypeF32, Len: 256}), g.convertRows(x, rowFormat{Type: gguf.TypeQ8_K, Len: 256}))
		},
		"layer norm": func(g *Graph, x Tensor) Tensor { return g.layerNorm(x, x, x, 1, rowFormat{Type: gguf.TypeF32, Len: 3}) },
		"layer norm pad": func(g *Graph, x Tensor) Tensor {
			r := g.Cont(g.Slice(x, 1, 0, 1))
			return g.layerNorm(x, r, r, 1, rowFormat{Type: gguf.TypeF32, Len: 2})
		},
		"rms norm":       func(g *Graph, x Tensor) Tensor { return g.rmsNorm(x, x, 1, rowFormat{Type: gguf.TypeF32, Len: 3}) },
		"gelu bias":      func(g *Graph, x Tensor) Tensor { return g.geluBias(x, x, rowFormat{Type: gguf.TypeF32, Len: 3}) },
		"add bias":       func(g *Graph, x Tensor) Tensor { r := g.Cont(g.Slice(x, 1, 0, 1)); return g.AddBias(r, x, r) },
		"scratch shape":  func(g *Graph, x Tensor) Tensor { return g.Scratch(gguf.TypeF32, 4, 0) },
		"scratch type":   func(g *Graph, x Tensor) Tensor { return g.Scratch(gguf.TypeQ4_K, 4) },
		"input size":     func(g *Graph, x Tensor) Tensor { return g.Float32s(make([]float32, 5), 6) },
		"input shape":    func(g *Graph, x Tensor) Tensor { return g.Float32s(nil, 0) },
		"input no dims":  func(g *Graph, x Tensor) Tensor { return g.Float32s(make([]float32, 1)) },
		"input 5 dims":   func(g *Graph, x Tensor) Tensor { return g.Float32s(make([]float32, 1), 1, 1, 1, 1, 1) },
		"input overflow": func(g *Graph, x Tensor) Tensor { return g.Float32s(nil, 1<<40, 1<<40) },
		"conv channels":  func(g *Graph, x Tensor) Tensor { return g.Conv2D(g.Float32s(make([]float32, 8), 1, 1, 2, 4), x, 0) },
		"conv too small": func(g *Graph, x Tensor) Tensor { return g.Conv2D(g.Float32s(make([]float32, 25), 5, 5, 1, 1), x, 1) },
		"nothing":        func(g *Graph, x Tensor) Tensor { return Tensor{} },
	} {
		t.Run(name, func(t *testing.T) {
			refuses(t, e, GraphOptions{Exact: true}, func(g *Graph) Tensor { return op(g, g.Float32s(make([]float32, 6), 3, 2)) })
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

// TestReadRefuses computes nothing, and reads what is not F32.
func TestReadRefuses(t *testing.T) {
	b := newBackend(t)
	empty := b.NewGraph(GraphOptions{})
	defer empty.Close()
	if err := empty.Compute(t.Context()); err == nil {
		t.Error("a graph of nothing is computed")
	}
	g := b.NewGraph(GraphOptions{})
	defer g.Close()
	half := g.half(g.Float32s(make([]float32, 4), 4))
	g.Output(half)
	if err := g.Compute(t.Context()); err != nil {
		t.Fatal(err)
	}
	for name, x := range map[string]Tensor{"F16": half, "nothing": {}} {
		if got, err := g.Read(x); err == nil {
			t.Errorf("%s is read: %v", name, got)
		}
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

// TestGraphMemory: a graph takes the memory of one that was closed, and one is kept.
func TestGraphMemory(t *testing.T) {
	b := newBackend(t)
	first := b.NewGraph(GraphOptions{})
	second := b.NewGraph(GraphOptions{})
	p, q := first.memory, second.memory
	if p == nil || q == nil || p == q {
		t.Fatalf("two graphs at %p and %p", p, q)
	}
	first.Close()
	first.Close() // does nothing
	second.Close()
	if b.spare != p {
		t.Errorf("%p is kept, want %p", b.spare, p)
	}
	third := b.NewGraph(GraphOptions{})
	defer third.Close()
	if third.memory != p || b.spare != nil {
		t.Errorf("a graph at %p, want %p; %p is left", third.memory, p, b.spare)
	}
}

// TestScaleParts scales tensors without gaps, of which dimensions of one element have other
// strides than ggml asserts.
func TestScaleParts(t *testing.T) {
	b := newDevice(t)
	for name, part := range map[string]func(*Graph, Tensor) Tensor{ // the first six of x
		"rows":     func(g *Graph, x Tensor) Tensor { return g.Slice(g.Reshape(x, 3, 4), 1, 0, 2) },
		"matrices": func(g *Graph, x Tensor) Tensor { return g.Slice(g.Reshape(x, 3, 2, 2), 2, 0, 1) },
		"moved": func(g *Graph, x Tensor) Tensor {
			return g.Permute(g.Slice(g.Reshape(x, 6, 2), 1, 0, 1), [4]int{0, 2, 3, 1})
		},
	} {
		got, err := computeWith(t, b, GraphOptions{}, func(g *Graph) Tensor {
			return g.ScaleBias(g.Scale(part(g, g.Float32s([]float32{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}, 12)), 2), 3, 1)
		})
		if err != nil {
			t.Fatal(err)
		}
		near(t, name, got, []float64{7, 13, 19, 25, 31, 37}, 1e-6)
	}
}
