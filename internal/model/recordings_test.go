package model

import (
	"testing"

	"paligemma/internal/ggml"
)

// TestRecordings keeps two graphs: a third one closes that which was used the longest ago, and
// to forget them closes all.
func TestRecordings(t *testing.T) {
	b, err := ggml.NewBackend(ggml.Options{Device: "cpu", Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	var kept recordings[int, *encoding]
	all := make([]*encoding, 3)
	closed := func(when string, want ...bool) {
		t.Helper()
		for i, e := range all {
			if e != nil && e.graph.Closed() != want[i] {
				t.Errorf("%s: graph %d is closed: %t", when, i, !want[i])
			}
		}
	}
	for i := range all {
		if i == 2 {
			if e, ok := kept.find(0); !ok || e != all[0] {
				t.Fatalf("graph 0 is not found: %v", e)
			}
		}
		all[i] = &encoding{graph: b.NewGraph(ggml.GraphOptions{})}
		defer all[i].graph.Close()
		kept.keep(i, all[i], 2)
	}
	closed("a third one", false, true, false)
	kept.forget()
	closed("forgotten", true, true, true)
	if _, ok := kept.find(0); ok {
		t.Error("a forgotten graph is found")
	}
}
