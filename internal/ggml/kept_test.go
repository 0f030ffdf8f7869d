package ggml

import (
	"context"
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
