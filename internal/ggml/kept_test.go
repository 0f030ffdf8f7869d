package ggml

import (
	"context"
	"errors"
	"os"
	"testing"
)

// faultVariable has TestKeptRows read beyond its table at the end: scripts/gpu_check makes
// sure with it that compute-sanitizer finds such a read.
const faultVariable = "PALIGEMMA_TEST_FAULT"

// TestKeptRows reads one row after the other of a table with a graph that is kept. CUDA
// computes all but the first two with a graph of its own.
func TestKeptRows(t *testing.T) {
	const width, rows, beyond = 64, 8, 1 << 24
	b := newBackend(t)
	table := random(width*rows, 1)
	store, err := b.NewWeights([]Spec{NewSpec("table", table, width, rows)}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	g := b.NewGraph(GraphOptions{})
	defer g.Close()
	g.Keep()
	row := []int32{0}
	y := g.GetRows(store.Tensors()[0], g.Int32s(row, 1))
	g.Output(y)
	for i := range rows {
		if row[0] = int32(i); i == rows-1 && os.Getenv(faultVariable) != "" {
			row[0] = beyond
		}
		if err := g.Compute(context.Background()); err != nil {
			t.Fatal(err)
		}
		got, err := g.Read(y)
		if err != nil {
			t.Fatal(err)
		}
		near(t, "row", got, float64s(table[i*width:(i+1)*width]), 0)
	}
}

// TestKept follows a graph that is kept: it has one scheduler, is released without being
// closed, and forgotten once it is.
func TestKept(t *testing.T) {
	b := newBackend(t)
	once := b.NewGraph(GraphOptions{})
	if once.Release(); !once.Closed() {
		t.Error("a graph that is not kept is not closed when it is released")
	}
	g := b.NewGraph(GraphOptions{})
	defer g.Close()
	g.Keep()
	x := g.Float32s([]float32{1}, 1)
	g.Output(g.Add(x, x))
	if err := g.Compute(t.Context()); err != nil {
		t.Fatal(err)
	}
	first := g.kept.sched
	g.Keep()
	g.Release()
	if err := g.Compute(t.Context()); err != nil {
		t.Fatal(err)
	}
	if g.Closed() || g.kept.sched != first || len(b.kept) != 1 {
		t.Errorf("closed: %t, another scheduler: %t, %d graphs are kept", g.Closed(), g.kept.sched != first, len(b.kept))
	}
	if g.Close(); !g.Closed() || g.kept != nil || len(b.kept) > 0 {
		t.Errorf("closed: %t, %d graphs are kept", g.Closed(), len(b.kept))
	}
}

// TestMakeRoom gives up graphs for memory, and for nothing else.
func TestMakeRoom(t *testing.T) {
	other := errors.New("another error")
	for _, c := range []struct {
		name      string
		kept      bool
		err       error
		calls     int
		left      int
		wantError bool
	}{
		{"memory", true, ErrMemory, 2, 0, false},
		{"memory, and nothing to give up", false, ErrMemory, 1, 0, true},
		{"another error", true, other, 1, 1, true},
		{"no error", true, nil, 1, 1, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBackend(t)
			if c.kept {
				g := b.NewGraph(GraphOptions{})
				defer g.Close()
				g.Keep()
			}
			calls := 0
			err := b.MakeRoom(func() error {
				if calls++; calls == 1 {
					return c.err
				}
				return nil
			})
			if calls != c.calls || len(b.kept) != c.left || (err != nil) != c.wantError {
				t.Errorf("%d calls, %d graphs are kept, %v", calls, len(b.kept), err)
			}
		})
	}
}

func TestAligned(t *testing.T) {
	for size, want := range map[int64]int64{0: 0, 1: bufferAlignment, bufferAlignment: bufferAlignment, bufferAlignment + 1: 2 * bufferAlignment} {
		if got := aligned(size); got != want {
			t.Errorf("%d bytes: %d, want %d", size, got, want)
		}
	}
}
