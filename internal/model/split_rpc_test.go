//go:build rpc

package model_test

import (
	"testing"

	"paligemma/internal/ggml"
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
