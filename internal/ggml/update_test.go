package ggml

import (
	"fmt"
	"testing"

	"paligemma/internal/gguf"
)

// lowRankCase is a product of weights and rows, with an update of parts.
type lowRankCase struct {
	typ     gguf.Type
	k, n    int64
	rows    int64
	results []int64 // of each part
	ranks   []int64
}

func (c lowRankCase) String() string {
	return fmt.Sprintf("%v/%dx%d/%d rows/ranks %v", c.typ, c.k, c.n, c.rows, c.ranks)
}

// compute returns W·x and W·x + B·(A·x).
func (c lowRankCase) compute(t *testing.T, b *Backend, o GraphOptions, x []float32) (without, with []float32) {
	t.Helper()
	specs := []Spec{randomWeights(t, c.typ, c.k, c.n, 3)}
	specs = append(specs, NewSpec("a", random(int(c.k*sum(c.ranks)), 4), int(c.k), int(sum(c.ranks))))
	for i, n := range c.results {
		specs = append(specs, NewSpec("b", random(int(n*c.ranks[i]), uint64(5+i)), int(n), int(c.ranks[i])))
	}
	store, err := b.NewWeights(specs, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	s := store.Tensors()
	product := func(f func(*Graph, Tensor) Tensor) []float32 {
		got, err := computeWith(t, b, o, func(g *Graph) Tensor { return f(g, g.Float32s(x, c.k, int64(len(x))/c.k)) })
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	without = product(func(g *Graph, x Tensor) Tensor { return g.MulWeights(s[0], x) })
	with = product(func(g *Graph, x Tensor) Tensor {
		g.Update(RowUpdates{Updates: Updates{s[0]: {A: s[1], B: s[2:]}}})
		return g.MulWeights(s[0], x)
	})
	return without, with
}

// want is what the update adds, in float64.
func (c lowRankCase) want(x []float32) []float64 {
	rows := int64(len(x)) / c.k
	out := make([]float64, rows*c.n)
	a := random(int(c.k*sum(c.ranks)), 4)
	first, rank := int64(0), int64(0)
	for i, n := range c.results {
		b := random(int(n*c.ranks[i]), uint64(5+i))
		for row := range rows {
			for r := range c.ranks[i] {
				dot := 0.0
				for j := range c.k {
					dot += float64(a[(rank+r)*c.k+j]) * float64(x[row*c.k+j])
				}
				for j := range n {
					out[row*c.n+first+j] += dot * float64(b[r*n+j])
				}
			}
		}
		first, rank = first+n, rank+c.ranks[i]
	}
	return out
}

func sum(values []int64) (all int64) {
	for _, v := range values {
		all += v
	}
	return all
}

// lowRankCases have widths, ranks and rows that leave vectors, tiles and groups of rows
// over, and rows that weights pad.
var lowRankCases = []lowRankCase{
	{gguf.TypeF32, 96, 70, 1, []int64{70}, []int64{8}},
	{gguf.TypeF32, 37, 41, 5, []int64{41}, []int64{3}},
	{gguf.TypeF32, 64, 100, 300, []int64{60, 20, 20}, []int64{5, 1, 8}},
	{gguf.TypeF16, 64, 48, 3, []int64{48}, []int64{4}},
	{gguf.TypeBF16, 96, 100, 1, []int64{60, 20, 20}, []int64{4, 4, 9}},
	{gguf.TypeQ8_0, 112, 77, 40, []int64{77}, []int64{16}},
	{gguf.TypeQ4_K, 1152, 96, 1, []int64{96}, []int64{8}},
	{gguf.TypeQ4_K, 512, 131, 9, []int64{67, 33, 31}, []int64{6, 7, 1}},
	{gguf.TypeQ4_K, 4352, 131, 301, []int64{67, 33, 31}, []int64{6, 7, 1}},
	{gguf.TypeQ6_K, 4352, 65, 600, []int64{65}, []int64{2}},
}

// TestLowRank compares what updates add with their formula, by the kernels of products,
// after products of ggml, and in ggml's operations.
func TestLowRank(t *testing.T) {
	for name, o := range map[string]Options{
		"alone":   {Device: "cpu", Threads: 1},
		"team":    {Device: "cpu", Threads: 3, All: true},
		"plain":   {Device: "cpu", Threads: 1, Plain: true},
		"library": {Device: "cpu", Threads: 2, All: true},
	} {
		b, err := NewBackend(o)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(b.Close)
		b.ggmlProducts = name == "library"
		for _, c := range lowRankCases {
			t.Run(name+"/"+c.String(), func(t *testing.T) {
				x := random(int(c.k*c.rows), 1)
				without, with := c.compute(t, b, GraphOptions{Exact: c.typ == gguf.TypeF32}, x)
				want := c.want(x)
				for i := range want {
					want[i] += float64(without[i])
				}
				near(t, c.String(), with, want, 2e-6)
			})
		}
	}
}

// TestLowRankRowsAlone multiplies rows together and alone: the same bits.
func TestLowRankRowsAlone(t *testing.T) {
	b, err := NewBackend(Options{Device: "cpu", Threads: 2, All: true})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	for _, c := range lowRankCases {
		t.Run(c.String(), func(t *testing.T) {
			if c.typ == gguf.TypeF16 || c.typ != gguf.TypeF32 && !multiplies(c.typ, 256) {
				t.Log("ggml multiplies one row otherwise than several")
				return
			}
			o := GraphOptions{Exact: c.typ == gguf.TypeF32, Apart: true}
			const rows = 7
			x := random(int(c.k*rows), 1)
			_, all := c.compute(t, b, o, x)
			for i := range int64(rows) {
				_, alone := c.compute(t, b, o, x[i*c.k:(i+1)*c.k])
				sameBits(t, fmt.Sprintf("row %d", i), all[i*c.n:(i+1)*c.n], alone)
			}
		})
	}
}

// TestLowRankRefuses gives each shape that does not fit.
func TestLowRankRefuses(t *testing.T) {
	b := newBackend(t)
	zeros := func(g *Graph, shape ...int64) Tensor {
		n := int64(1)
		for _, d := range shape {
			n *= d
		}
		return g.Float32s(make([]float32, n), shape...)
	}
	for name, build := range map[string]func(*Graph) (w Tensor, u LowRank, x Tensor){
		"narrow A": func(g *Graph) (Tensor, LowRank, Tensor) {
			return zeros(g, 8, 6), LowRank{A: zeros(g, 7, 2), B: []Tensor{zeros(g, 6, 2)}}, zeros(g, 8, 3)
		},
		"short B": func(g *Graph) (Tensor, LowRank, Tensor) {
			return zeros(g, 8, 6), LowRank{A: zeros(g, 8, 2), B: []Tensor{zeros(g, 5, 2)}}, zeros(g, 8, 3)
		},
		"ranks": func(g *Graph) (Tensor, LowRank, Tensor) {
			return zeros(g, 8, 6), LowRank{A: zeros(g, 8, 2), B: []Tensor{zeros(g, 6, 3)}}, zeros(g, 8, 3)
		},
		"no B": func(g *Graph) (Tensor, LowRank, Tensor) {
			return zeros(g, 8, 6), LowRank{A: zeros(g, 8, 2), B: nil}, zeros(g, 8, 3)
		},
		"four parts": func(g *Graph) (Tensor, LowRank, Tensor) {
			b := zeros(g, 2, 1)
			return zeros(g, 8, 8), LowRank{A: zeros(g, 8, 4), B: []Tensor{b, b, b, b}}, zeros(g, 8, 3)
		},
		"whole rows": func(g *Graph) (Tensor, LowRank, Tensor) {
			return zeros(g, 8, 6), LowRank{A: zeros(g, 8, 2), B: []Tensor{zeros(g, 6, 2)}}, g.Int32s(make([]int32, 8), 8)
		},
		"long rows": func(g *Graph) (Tensor, LowRank, Tensor) {
			return zeros(g, 8, 6), LowRank{A: zeros(g, 9, 2), B: []Tensor{zeros(g, 6, 2)}}, zeros(g, 9, 3)
		},
		"transposed": func(g *Graph) (Tensor, LowRank, Tensor) {
			return zeros(g, 8, 6), LowRank{A: g.Transpose(zeros(g, 2, 8)), B: []Tensor{zeros(g, 6, 2)}}, zeros(g, 8, 3)
		},
		"three-dim x": func(g *Graph) (Tensor, LowRank, Tensor) {
			return zeros(g, 8, 6), LowRank{A: zeros(g, 8, 2), B: []Tensor{zeros(g, 6, 2)}}, zeros(g, 8, 3, 2)
		},
	} {
		t.Run(name, func(t *testing.T) {
			g := b.NewGraph(GraphOptions{})
			defer g.Close()
			w, u, x := build(g)
			for _, groups := range [][]RowUpdates{{{Updates: Updates{w: u}}}, {{Rows: 1}, {2, Updates{w: u}}}} {
				g.err = nil
				g.Update(groups...)
				if y := g.MulWeights(w, x); y.Valid() || g.Err() == nil {
					t.Errorf("%d groups: %v, no error", len(groups), y)
				}
			}
		})
	}
}
