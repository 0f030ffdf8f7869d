package ggml

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"math"
	"os"
	"slices"
	"testing"
	"time"

	"paligemma/internal/gguf"
)

// TestPlanIsNotReused computes two graphs with as many tensors of the same sizes
// but other connections: ggml would lay the second's result over its input.
func TestPlanIsNotReused(t *testing.T) {
	e := newBackend(t)
	x := []float32{0, 1, 2, 3, 4, 5}
	for range 3 {
		got, err := compute(t, e, func(g *Graph) Tensor { return g.Scale(g.Scale(g.Float32s(x, 3, 2), 2), 2) })
		if err != nil {
			t.Fatal(err)
		}
		near(t, "scaled", got, []float64{0, 4, 8, 12, 16, 20}, 0)
		got, err = compute(t, e, func(g *Graph) Tensor { return g.Cont(g.Transpose(g.Float32s(x, 3, 2))) })
		if err != nil {
			t.Fatal(err)
		}
		near(t, "transposed", got, []float64{0, 3, 1, 4, 2, 5}, 0)
	}
}

func TestWeightsInPlaceAndCopied(t *testing.T) {
	e := newHost(t)
	path := t.TempDir() + "/w.gguf"
	var w gguf.Writer
	if err := w.AddTensor("w", gguf.TypeF32, 2, 2); err != nil {
		t.Fatal(err)
	}
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	err = w.Encode(file, func(_ gguf.Tensor, dst io.Writer) error {
		_, err := dst.Write([]byte{0, 0, 128, 63, 0, 0, 0, 64, 0, 0, 64, 64, 0, 0, 128, 64}) // 1 2 3 4
		return err
	})
	if err := errors.Join(err, file.Close()); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, open := range []func() (*gguf.File, error){
		func() (*gguf.File, error) { return gguf.Open(path, gguf.Options{}) },
		func() (*gguf.File, error) { return gguf.Open(path, gguf.Options{NoMmap: true}) },
		func() (*gguf.File, error) { return gguf.FromBytes("embedded", data) }, // in Go's heap: copied
	} {
		f, err := open()
		if err != nil {
			t.Fatal(err)
		}
		var mapping []byte
		if f.OffHeap() {
			mapping = f.Bytes()
		}
		tensor := f.Tensors[0]
		store, err := e.NewWeights([]Spec{{Name: "w", Type: tensor.Type, Shape: tensor.Shape, Data: f.Data(tensor)}}, mapping)
		if err != nil {
			t.Fatal(err)
		}
		if f.OffHeap() != (store.Bytes() == 0) {
			t.Errorf("mapped %v, but %d bytes were copied", f.OffHeap(), store.Bytes())
		}
		if f.OffHeap() { // of a mapping that ends before the data
			other, err := e.NewWeights([]Spec{{Name: "w", Type: tensor.Type, Shape: tensor.Shape, Data: f.Data(tensor)}}, mapping[:bufferAlignment])
			if err != nil || other.Bytes() == 0 {
				t.Errorf("data beyond a mapping are used in place (%v)", err)
			}
			other.Close()
		}
		got, err := compute(t, e, func(g *Graph) Tensor {
			return g.MulMat(store.Tensors()[0], g.Float32s([]float32{1, 10}, 2))
		})
		if err != nil {
			t.Fatal(err)
		}
		near(t, "product", got, []float64{21, 43}, 0)
		store.Close()
		f.Close()
	}
	if _, err := e.NewWeights([]Spec{{Name: "short", Type: gguf.TypeF32, Shape: []int64{4}, Data: make([]byte, 12)}}, nil); err == nil {
		t.Error("short data: no error")
	}
}

// TestJoin multiplies with matrices that lie side by side as with one.
func TestJoin(t *testing.T) {
	const width = 64 // rows of 256 bytes, which devices put one right behind the other
	e := newBackend(t)
	store, err := e.NewWeights([]Spec{
		randomWeights(t, gguf.TypeF32, width, 4, 1), randomWeights(t, gguf.TypeF32, width, 2, 2),
		randomWeights(t, gguf.TypeF32, width, 1, 3), randomWeights(t, gguf.TypeF16, width, 4, 4),
		randomWeights(t, gguf.TypeF32, width, 1, 5), randomWeights(t, gguf.TypeF32, width/2, 2, 6),
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	w := store.Tensors()
	joined, err := store.Join([][]Tensor{{w[0], w[1], w[2]}, {w[1], w[0]}, {w[0], w[2]}, {w[2], w[3]}, nil, {w[1], w[2]}, {w[4], w[5]}})
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []bool{true, false, false, false, false, true, false} {
		if joined[i].Valid() != want {
			t.Fatalf("group %d is joined: %v", i, !want)
		}
	}
	x := random(width*3, 9)
	product := func(w ...Tensor) []float32 {
		got, err := compute(t, e, func(g *Graph) Tensor {
			y := g.MulMat(w[0], g.Float32s(x, width, 3))
			for _, t := range w[1:] {
				y = g.Concat(y, g.MulMat(t, g.Float32s(x, width, 3)), 0)
			}
			return y
		})
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	var want []float64
	for _, v := range product(w[:3]...) {
		want = append(want, float64(v))
	}
	near(t, "joined", product(joined[0]), want, 1e-6)
}

// TestStoreRefuses makes stores of too many tensors, and of those that lie nowhere.
func TestStoreRefuses(t *testing.T) {
	e := newBackend(t)
	one := Spec{Name: "one", Shape: []int64{1}}
	before, beyond := one, one
	before.Place, beyond.Place = -1, len(e.Devices())
	for name, specs := range map[string][]Spec{
		"too many": slices.Repeat([]Spec{one}, MaxStored+1), "before the first device": {before}, "beyond the last": {beyond},
	} {
		if store, err := e.NewStore(specs); err == nil {
			t.Errorf("%s: no error", name)
			store.Close()
		}
	}
}

// TestPlacement splits weights between a device and the CPU, as for types that
// the device cannot compute with.
func TestPlacement(t *testing.T) {
	e := newBackend(t)
	var specs []Spec
	for i := range 5 {
		data := make([]byte, 8)
		binary.LittleEndian.PutUint32(data, math.Float32bits(float32(i)))
		binary.LittleEndian.PutUint32(data[4:], math.Float32bits(1))
		specs = append(specs, Spec{Name: "w", Type: gguf.TypeF32, Shape: []int64{2, 1}, Data: data})
	}
	n := 0
	s, err := e.place(specs, func(Spec) bool { n++; return n%2 == 0 }, func(s *Store, part []Spec, b backendHandle) ([]Tensor, error) {
		return s.addWeights(part, nil, b)
	})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if want := len(e.backends); len(s.buffers) != want {
		t.Errorf("%d buffers, want %d", len(s.buffers), want)
	}
	for i, w := range s.Tensors() {
		got, err := compute(t, e, func(g *Graph) Tensor { return g.MulMat(w, g.Float32s([]float32{10, 1}, 2)) })
		if err != nil {
			t.Fatal(err)
		}
		near(t, "product", got, []float64{float64(10*i + 1)}, 0)
	}
}

func TestStoreKeepsValues(t *testing.T) {
	e := newBackend(t)
	store, err := e.NewStore([]Spec{{Name: "cache", Type: gguf.TypeF16, Shape: []int64{2, 3}}})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	cache := store.Tensors()[0]
	for i, want := range [][]float64{{1, 2}, {1, 2, 3, 4}, {1, 2, 3, 4, 5, 6}} {
		got, err := compute(t, e, func(g *Graph) Tensor {
			g.Run(g.Copy(g.Float32s([]float32{float32(2*i + 1), float32(2*i + 2)}, 2, 1), g.Slice(cache, 1, int64(i), 1)))
			return g.GetRows(cache, g.Int32s([]int32{0, 1, 2}[:i+1], int64(i+1)))
		})
		if err != nil {
			t.Fatal(err)
		}
		near(t, "cache", got, want, 0)
	}
}

func TestCancel(t *testing.T) {
	e := newHost(t)
	g := e.NewGraph(GraphOptions{})
	defer g.Close()
	x := g.Float32s(random(512*512, 5), 512, 512)
	y := x
	for range 2000 {
		y = g.MulMat(x, y)
	}
	g.Output(y)
	ctx, cancel := context.WithCancel(context.Background())
	time.AfterFunc(30*time.Millisecond, cancel)
	if err := g.Compute(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	// The backend computes again afterwards.
	got, err := compute(t, e, func(g *Graph) Tensor { return g.Scale(g.Float32s([]float32{3}, 1), 2) })
	if err != nil {
		t.Fatal(err)
	}
	near(t, "after", got, []float64{6}, 0)
}

func TestBackendOptions(t *testing.T) {
	for _, o := range []Options{{Device: "cuda99"}, {Threads: -1}, {Threads: MaxThreads() + 1}} {
		if e, err := NewBackend(o); err == nil {
			e.Close()
			t.Errorf("%+v: no error", o)
		}
	}
	if n := DefaultThreads(); n < 1 {
		t.Errorf("%d threads", n)
	}
	devices := Devices()
	if len(devices) == 0 {
		t.Error("no devices")
	}
}

func TestPhysicalCores(t *testing.T) {
	// Eight threads of four cores, of which CPU 1 is offline.
	groups := map[int]string{0: "0,4", 2: "2,6", 3: "3,7", 4: "0,4", 5: "1,5", 6: "2,6", 7: "3,7"}
	siblings := func(cpu int) string { return groups[cpu] }
	for _, c := range []struct {
		cpus []int
		want int
	}{{[]int{0, 1, 2, 3, 4, 5, 6, 7}, 4}, {[]int{0, 4}, 1}, {[]int{1, 2, 3}, 2}, {[]int{1}, 0}, {nil, 0}} {
		if got := physicalCores(c.cpus, siblings); got != c.want {
			t.Errorf("%v: %d cores, want %d", c.cpus, got, c.want)
		}
	}
}

// TestAfterOutOfMemory computes a graph that there is no memory for, twice: the
// second must fail as the first did, and others still work.
func TestAfterOutOfMemory(t *testing.T) {
	e := newBackend(t)
	const n = 1 << 23
	for range 2 {
		_, err := compute(t, e, func(g *Graph) Tensor {
			x := g.Float32s(make([]float32, n), 1, n)
			return g.MulMat(x, x) // 2^48 bytes: beyond the address space
		})
		if err == nil {
			t.Fatal("no error")
		}
	}
	got, err := compute(t, e, func(g *Graph) Tensor { return g.Scale(g.Float32s([]float32{3}, 1), 2) })
	if err != nil {
		t.Fatal(err)
	}
	near(t, "after", got, []float64{6}, 0)
}

// Progress is seen from outside while a graph is computed, only grows, and is
// gone afterwards.
func TestProgress(t *testing.T) {
	e := newHost(t)
	const products, side = 1000, 128
	g := e.NewGraph(GraphOptions{})
	defer g.Close()
	x := g.Float32s(random(side*side, 5), side, side)
	y := x
	for range products {
		y = g.MulMat(x, g.Reshape(y, side, side)) // a view is not an operation
	}
	g.Output(y)
	if p := e.Progress(); p != (Progress{}) {
		t.Errorf("before: %+v", p)
	}
	stop, seen := make(chan struct{}), make(chan []Progress)
	go func() {
		var all []Progress
		for {
			if p := e.Progress(); p.Done > 0 {
				all = append(all, p)
			}
			select {
			case <-stop:
				seen <- all
				return
			case <-time.After(100 * time.Microsecond):
			}
		}
	}()
	err := g.Compute(t.Context())
	close(stop)
	all := <-seen
	if err != nil || len(all) == 0 {
		t.Fatalf("%v, seen %d times", err, len(all))
	}
	for i, p := range all {
		if p.Total != products || p.Done > products || i > 0 && (p.Done < all[i-1].Done || p.Elapsed < all[i-1].Elapsed) {
			t.Errorf("%+v after %+v", p, all[max(i-1, 0)])
		}
	}
	if p := e.Progress(); p != (Progress{}) {
		t.Errorf("after: %+v", p)
	}
	if done := e.watch.done(); done != products {
		t.Errorf("%d operations were counted, want %d", done, products)
	}
}

// One thread computes what is small, a team what custom operations compute, all
// threads the rest, by turns.
func TestStaff(t *testing.T) {
	g := newKernels(t).NewGraph(GraphOptions{})
	defer g.Close()
	custom := g.ownProduct(gguf.TypeQ8_0, 1024)
	for _, c := range []struct {
		name          string
		all           bool
		typ           gguf.Type
		in, out, rows int64
		threads       int
		team          bool
	}{
		{"small", false, gguf.TypeF32, 64, 64, 1, 1, false},
		{"many operations", false, gguf.TypeF32, 1024, 1024, 512, 2, false},
		{"much memory", false, gguf.TypeF32, 8192, 8192, 1, 2, false},
		{"small, by all", true, gguf.TypeF32, 64, 64, 1, 2, false},
		{"small and custom", false, gguf.TypeQ8_0, 64, 64, 1, 1, false},
		{"custom", false, gguf.TypeQ8_0, 1024, 1024, 512, 1, custom},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.typ == gguf.TypeQ8_0 && c.rows > 1 && !custom {
				c.threads = 2
			}
			e, err := NewBackend(Options{Device: "cpu", Threads: 2, All: c.all})
			if err != nil {
				t.Fatal(err)
			}
			defer e.Close()
			for range 2 {
				g := e.NewGraph(GraphOptions{})
				x := g.Float32s(make([]float32, c.in*c.rows), c.in, c.rows)
				g.Output(g.MulWeights(g.Scratch(c.typ, c.in, c.out), x))
				if s := e.staff(g); s.threads != c.threads || (s.team != nil) != c.team {
					t.Errorf("%d threads and a team %v, want %d and %v", s.threads, s.team != nil, c.threads, c.team)
				}
				if err := g.Compute(t.Context()); err != nil {
					t.Error(err)
				}
				g.Close()
				small := e.NewGraph(GraphOptions{}) // in between, on the other pool
				small.Output(small.Scale(small.Float32s([]float32{1}, 1), 2))
				if err := small.Compute(t.Context()); err != nil {
					t.Error(err)
				}
				small.Close()
			}
		})
	}
}
