package ggml

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"paligemma/internal/gguf"
)

// TestProduct compares our products with ggml's of the same rows: only how
// sums are ordered and rounded may differ. Sizes are such
// that panels, tiles, blocks and groups of rows remain over; the matrix is a part
// of a larger one.
func TestProduct(t *testing.T) {
	if !multiplies(gguf.TypeQ4_K, 256) {
		t.Log("this processor leaves products to ggml")
	}
	for _, threads := range []int{1, 3} {
		e, err := NewBackend(Options{Device: "cpu", Threads: threads, All: true})
		if err != nil {
			t.Fatal(err)
		}
		defer e.Close()
		for _, typ := range productTypes {
			for _, size := range [][3]int64{{6, 9, 5}, {1101, 3, 2}, {1114, 33, 1}, {2090, 40, 8}, {32, 5, 1}, {96, 40, 7}, {2400, 70, 1}, {2080, 37, 9}, {256, 1, 1}, {2560, 77, 1}, {512, 31, 2}, {2304, 96, 3}, {4352, 45, 8}, {256, 33, 601}, {2048, 64, 23}} {
				if size[0]%int64(typ.BlockSize()) == 0 {
					checkProduct(t, e, typ, size[0], size[1], size[2])
				}
			}
		}
	}
}

// checkProduct compares products of weights [k, n] and some rows with ggml's.
func checkProduct(t *testing.T, e *Backend, typ gguf.Type, k, n, rows int64) {
	t.Helper()
	store, err := e.NewWeights([]Spec{randomWeights(t, typ, k, n+3, 3)}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	product := func() []float32 {
		got, err := compute(t, e, func(g *Graph) Tensor {
			w := g.Slice(store.Tensors()[0], 1, 2, n)
			x := g.Float32s(random(int(2*k*rows), 1), k, rows, 2)
			if rows == 1 {
				x = g.Float32s(random(int(k), 1), k)
			}
			quantized := g.rowsFor(k, w)
			if quantized.Type == gguf.TypeF32 {
				t.Errorf("rows for %v are %v", w, quantized)
			}
			return g.MulMat(w, g.convertRows(x, quantized))
		})
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	ours := product()
	e.ggmlProducts = true
	theirs := product()
	e.ggmlProducts = false
	if len(ours) != len(theirs) {
		t.Fatalf("%v: %d values, ggml has %d", typ, len(ours), len(theirs))
	}
	var largest float64
	for _, v := range theirs {
		largest = max(largest, math.Abs(float64(v)))
	}
	for i := range theirs {
		if d := math.Abs(float64(ours[i] - theirs[i])); !(d <= 2e-6*largest) {
			t.Errorf("%v, %d threads, %d columns of %d, %d rows: value %d is %v, ggml's is %v", typ, e.Threads(), n, k, rows, i, ours[i], theirs[i])
			break
		}
	}
}

// productTypes are the types of weights whose products have kernels.
var productTypes = []gguf.Type{
	gguf.TypeQ2_K, gguf.TypeQ3_K, gguf.TypeQ4_K, gguf.TypeQ5_K, gguf.TypeQ6_K, gguf.TypeIQ4_XS,
	gguf.TypeQ8_0, gguf.TypeQ5_0, gguf.TypeQ4_0, gguf.TypeIQ4_NL, gguf.TypeBF16,
}

// TestProductRowsAlone multiplies rows together and alone: the same bits, so that an answer does not depend on
// what is computed with it. Products of BF16 promise it for up to 16 rows.
func TestProductRowsAlone(t *testing.T) {
	backends := []*Backend{}
	for _, threads := range []int{1, 3} {
		e, err := NewBackend(Options{Device: "cpu", Threads: threads, All: true})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(e.Close)
		backends = append(backends, e)
	}
	r := rand.New(rand.NewPCG(7, 7))
	for _, typ := range productTypes {
		if !multiplies(typ, 256) {
			t.Logf("this processor leaves products with %v to ggml", typ)
			continue
		}
		t.Run(typ.String(), func(t *testing.T) {
			block := max(typ.BlockSize(), 2)
			for i, most := range []int{256, 1400, 10000} { // the last is more than are multiplied at once
				k := most - r.IntN(most/2)
				checkRowsAlone(t, backends[i%2], typ, int64((k+block-1)/block*block), 20+r.Int64N(60))
			}
		})
	}
}

// checkRowsAlone compares products of weights [k, n] and some rows with those of each row.
func checkRowsAlone(t *testing.T, b *Backend, typ gguf.Type, k, n int64) {
	t.Helper()
	const distinct = 19
	store, err := b.NewWeights([]Spec{randomWeights(t, typ, k, n, uint64(k))}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	product := func(x []float32) []float32 {
		got, err := compute(t, b, func(g *Graph) Tensor {
			w := store.Tensors()[0]
			return g.MulMat(w, g.convertRows(g.Float32s(x, k, int64(len(x))/k), g.rowsFor(k, w)))
		})
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	x := random(int(k)*distinct, uint64(n))
	for i := range int(k) { // sums of one row are as large as can be; rows side by side end with zeros
		x[int(k)+i] = float32(1 - i%2*2)
		for r := 5; i > int(k)/2 && r < distinct; r++ {
			x[r*int(k)+i] = 0
		}
	}
	var alone []float32
	for i := range distinct {
		alone = append(alone, product(x[i*int(k):(i+1)*int(k)])...)
	}
	counts := []int{2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}
	if typ != gguf.TypeBF16 {
		counts = append(counts, 17, 19, 40, 301)
	}
	for _, rows := range counts {
		var many []float32
		for len(many) < rows*int(k) {
			many = append(many, x[:min(len(x), rows*int(k)-len(many))]...)
		}
		for i, got := range product(many) {
			if want := alone[i%len(alone)]; math.Float32bits(got) != math.Float32bits(want) {
				t.Errorf("%d columns of %d, %d rows: value %d is %v, alone %v", n, k, rows, i, got, want)
				break
			}
		}
	}
}

// BenchmarkProduct multiplies matrices of two shapes with rows, quantizing them included: in turns as many as caches
// cannot hold, so that weights come from memory as in a model.
func BenchmarkProduct(b *testing.B) {
	e, err := NewBackend(Options{Device: "cpu", All: true})
	if err != nil {
		b.Fatal(err)
	}
	defer e.Close()
	for _, typ := range productTypes {
		for _, shape := range [][2]int64{{2048, 16384}, {16384, 2048}} {
			b.Run(fmt.Sprintf("%v/k=%d", typ, shape[0]), func(b *testing.B) { benchmarkProduct(b, e, typ, shape[0], shape[1]) })
		}
	}
}

func benchmarkProduct(b *testing.B, e *Backend, typ gguf.Type, k, n int64) {
	const caches = 256 << 20
	row := randomWeights(b, typ, k, 1, 1).Data
	rowBytes := int64(len(row))
	var specs []Spec
	for size := int64(0); size < caches; size += rowBytes * n {
		specs = append(specs, Spec{Name: fmt.Sprint(len(specs)), Type: typ, Shape: []int64{k, n}, Data: bytes.Repeat(row, int(n))})
	}
	store, err := e.NewWeights(specs, nil)
	if err != nil {
		b.Fatal(err)
	}
	defer store.Close()
	for _, rows := range []int64{1, 2, 3, 4, 8, 12, 16, 264} {
		b.Run(fmt.Sprintf("rows=%d", rows), func(b *testing.B) {
			x, weights := random(int(k*rows), 2), store.Tensors()
			for i := 0; b.Loop(); i++ {
				g, w := e.NewGraph(GraphOptions{}), weights[i%len(weights)]
				g.Output(g.MulMat(w, g.convertRows(g.Float32s(x, k, rows), g.rowsFor(k, w))))
				if err := g.Compute(b.Context()); err != nil {
					b.Fatal(err)
				}
				g.Close()
			}
			b.ReportMetric(2*float64(k*n*rows*int64(b.N))/b.Elapsed().Seconds()/1e9, "GOPS")
			b.ReportMetric(float64(rowBytes*n*int64(b.N))/b.Elapsed().Seconds()/1e9, "GB/s")
		})
	}
}
