//go:build rpc

package ggml

import (
	"context"
	"slices"
	"testing"
	"unsafe"

	"paligemma/internal/testdevice"
)

// on opens a backend of test devices.
func on(t *testing.T, names string) *Backend {
	t.Helper()
	b, err := NewBackend(Options{Device: testdevice.Named(t, names).Name, Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	return b
}

// TestUpload sends weights of some pieces, and of a part of one, through pinned memory, of
// which nothing may be used again too early.
func TestUpload(t *testing.T) {
	b := on(t, "fake0")
	var specs []Spec
	pieces := 0
	for i, n := range []int{1, 7<<18 + 3, 1 << 18, 5, 9 << 18} {
		specs = append(specs, NewSpec("w", random(n, uint64(i)), n))
		pieces += (4*n + 1<<20 - 1) >> 20
	}
	before := testdevice.Sent()
	store, err := b.NewWeights(specs, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	if got := testdevice.Sent() - before; got != pieces {
		t.Errorf("%d pieces were sent, want %d", got, pieces)
	}
	for i, w := range store.Tensors() {
		g := b.NewGraph(GraphOptions{})
		y := g.Scale(w, 1)
		g.Output(y)
		if err := g.Compute(context.Background()); err != nil {
			t.Fatal(err)
		}
		got, err := g.Read(y)
		if err != nil {
			t.Fatal(err)
		}
		if want := unsafe.Slice((*float32)(unsafe.Pointer(&specs[i].Data[0])), len(got)); !slices.Equal(got, want) {
			t.Errorf("tensor %d came otherwise", i)
		}
		g.Close()
	}
}

// TestDownload reads what a search found from a device that copies late, again and again into
// the same memory.
func TestDownload(t *testing.T) {
	const n, rows = 512, 3
	b := on(t, "fake0")
	for i := range 4 {
		x, want := make([]float32, n*rows), make([]int32, rows)
		for r := range want {
			want[r] = int32((100*i + 37*r + 1) % n)
			x[r*n+int(want[r])] = float32(1 + i + r)
		}
		if got, err := likeliest(t, b, x, n); err != nil || !slices.Equal(got, want) {
			t.Errorf("search %d: %v, %v, want %v", i, got, err, want)
		}
	}
}

// TestInPlace has a device use mapped weights where they are, and copy those that it cannot.
func TestInPlace(t *testing.T) {
	b := on(t, "fake1")
	mapping := unsafe.Slice((*byte)(b.graphMemory(1<<20)), 1<<20) // outside Go's heap
	defer b.keepMemory(unsafe.Pointer(&mapping[0]))
	at := (bufferAlignment - int(uintptr(unsafe.Pointer(&mapping[0]))%bufferAlignment)) % bufferAlignment
	mapping = mapping[at : len(mapping)-bufferAlignment]
	spec := func(offset int) Spec { return Spec{Name: "w", Shape: []int64{8, 2}, Data: mapping[offset : offset+64]} }
	for _, c := range []struct {
		name  string
		specs []Spec
		want  int
	}{
		{"in place", []Spec{spec(0), spec(64), spec(192)}, 1},
		{"not aligned", []Spec{spec(0), spec(68)}, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			before := testdevice.Adopted()
			store, err := b.NewWeights(c.specs, mapping)
			if err != nil {
				t.Fatal(err)
			}
			defer store.Close()
			if got := testdevice.Adopted() - before; got != c.want || (store.Bytes() == 0) != (c.want == 1) {
				t.Errorf("%d buffers of the mapping, %d bytes copied", got, store.Bytes())
			}
			joined, err := store.Join([][]Tensor{store.Tensors()[:2]})
			if err != nil {
				t.Fatal(err)
			}
			if !joined[0].Valid() {
				t.Error("neighbors were not joined")
			}
		})
	}
}

// TestKeepStaged has one device fetch the inputs of a kept graph from pinned memory.
func TestKeepStaged(t *testing.T) {
	for names, want := range map[string]bool{"fake0": true, "fake0,fake1": false} {
		t.Run(names, func(t *testing.T) {
			b, before := on(t, names), testdevice.Sent()
			staged := testKeep(t, b)
			if got := testdevice.Sent() - before; (got > 0) != want || staged != want {
				t.Errorf("%d inputs were sent, changed where they are fetched from: %v", got, staged)
			}
		})
	}
}

// TestNear has operations without weights follow a tensor to its device.
func TestNear(t *testing.T) {
	b := on(t, "fake0,fake1,cpu")
	var specs []Spec
	for place := range 3 {
		spec := NewSpec("w", []float32{float32(place + 1)}, 1)
		spec.Place = place
		specs = append(specs, spec)
	}
	store, err := b.NewWeights(specs, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	for place, w := range store.Tensors() {
		if b.Place(w) != place {
			t.Errorf("tensor %d lies on device %d", place, b.Place(w))
		}
	}
	for _, c := range []struct {
		name   string
		places []int
		splits int
	}{{"one", []int{1, 1, 1}, 1}, {"back", []int{1, 0, 2, 2}, 3}, {"in turns", []int{0, 1, 0, 1}, 4}} {
		t.Run(c.name, func(t *testing.T) {
			g := b.NewGraph(GraphOptions{})
			defer g.Close()
			x, want := g.Float32s([]float32{1}, 1), float32(1)
			for _, place := range c.places {
				w := store.Tensors()[place]
				g.Near(w)
				x, want = g.Scale(g.Add(g.Sqr(x), w), 0.5), (want*want+float32(place+1))/2
			}
			g.Output(x)
			b.TakeCounts()
			if err := g.Compute(context.Background()); err != nil {
				t.Fatal(err)
			}
			if got, err := g.Read(x); err != nil || got[0] != want {
				t.Errorf("%v, %v, want %v", got, err, want)
			}
			if got := b.TakeCounts().Splits; got != c.splits {
				t.Errorf("%d splits, want %d", got, c.splits)
			}
		})
	}
	if _, err := b.NewStore([]Spec{{Name: "w", Shape: []int64{1}, Place: 3}}); err == nil {
		t.Error("a fourth device of three: no error")
	}
}
