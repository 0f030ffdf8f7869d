//go:build rpc

package model

import (
	"testing"

	"paligemma/internal/ggml"
	"paligemma/internal/testdevice"
)

// TestRefusedRecording computes a graph that a device has memory for only once a kept one is
// given up: what was recorded at first is closed.
func TestRefusedRecording(t *testing.T) {
	b, err := ggml.NewBackend(ggml.Options{Device: testdevice.Named(t, "fake0").Name, Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	t.Cleanup(func() { testdevice.Room(-1) })
	var graphs []*ggml.Graph
	record := func(keep bool) *encoding {
		g := b.NewGraph(ggml.GraphOptions{})
		x := g.Float32s(make([]float32, 1<<12), 1<<12)
		g.Output(g.Add(x, x))
		if keep && len(graphs) == 0 {
			g.Keep()
		}
		graphs = append(graphs, g)
		return &encoding{graph: g}
	}
	for range 2 {
		e, err := computeRecorded(t.Context(), b, record)
		if err != nil {
			t.Fatal(err)
		}
		defer e.graph.Close()
		testdevice.Room(0)
	}
	if len(graphs) != 3 || !graphs[0].Closed() || !graphs[1].Closed() || graphs[2].Closed() {
		t.Errorf("of %d graphs, the one that was kept and the one that was refused are not closed", len(graphs))
	}
}
