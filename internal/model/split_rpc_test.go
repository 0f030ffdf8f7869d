//go:build rpc

package model_test

import (
	"testing"

	"paligemma/internal/ggml"
	"paligemma/internal/model"
	"paligemma/internal/testdevice"
)

// TestSplits has layers on several devices, whose texts are the CPU's, with adapters and
// without, and which compute one piece each of a graph.
func TestSplits(t *testing.T) {
	for _, names := range []string{"rpc0,rpc1", "rpc0,cpu", "cpu,rpc0", "rpc1,cpu,rpc0"} {
		t.Run(names, func(t *testing.T) {
			o := ggml.Options{Device: testdevice.Named(t, names).Name, Threads: 1}
			textsOfTheCPU(t, o)
			adaptersOfTheCPU(t, o)
			if names == "rpc0,cpu" {
				builtInTextOfTheCPU(t, o)
			}
			for _, name := range checkpoints {
				for _, typ := range []string{"f32", "f16", "q4_k_m"} {
					oneSplit(t, name, typ, o)
					adaptedSplits(t, name, typ, o)
				}
			}
		})
	}
}

// adaptedSplits makes sure that updates lie on the device of the weights that they are of,
// and that steps with them are computed in one piece by each device.
func adaptedSplits(t *testing.T, checkpoint, typ string, o ggml.Options) {
	t.Helper()
	path := convertTo(t, checkpoint, typ)
	m := openOn(t, path, o)
	cache, err := m.NewCache(64)
	if err != nil {
		t.Fatal(err)
	}
	defer cache.Close()
	var tokens []model.Token
	for i, changes := range append(adapterSets(t, path), nil) {
		p := model.Prompt{IDs: []int{2, 14, 15}}
		if changes != nil {
			p.Adapters = placed(t, m, changes)
			if w := p.Adapters.Astray(); w != nil {
				t.Errorf("set %d: updates lie on other devices than %v", i, w)
			}
		}
		s := cache.NewSequence(8)
		if _, err := m.Prefill(t.Context(), s, p); err != nil {
			t.Fatal(err)
		}
		tokens = append(tokens, model.Token{Sequence: s, ID: 20})
	}
	m.Backend().TakeCounts()
	if _, err := m.Step(t.Context(), tokens); err != nil {
		t.Fatal(err)
	}
	want := ggml.Counts{Computed: 1, Built: 1, Splits: len(m.Backend().Devices())}
	if got := m.Backend().TakeCounts(); got != want {
		t.Errorf("a step with adapters: %+v, want %+v", got, want)
	}
}
