package model_test

import (
	"testing"

	"paligemma/internal/ggml"
)

// TestInstructionSets runs the tests that compare with transformers, and sequences
// with themselves, with kernels for each instruction set below the highest that this
// processor has, which they are run with by themselves.
func TestInstructionSets(t *testing.T) {
	highest := ggml.ISA()
	t.Cleanup(func() { _ = ggml.LimitISA(highest) })
	for _, name := range []string{"baseline", "avx2", "avx512", "avx512_vnni"} {
		if err := ggml.LimitISA(name); err != nil {
			t.Fatal(err)
		}
		if ggml.ISA() == highest {
			break
		}
		t.Run(name, func(t *testing.T) {
			t.Run("Forward", TestForwardMatchesTransformers)
			t.Run("Tiles", TestTilesMatchTransformers)
			t.Run("Generate", TestGenerateMatchesTransformers)
			t.Run("Beams", TestBeamSearchMatchesTransformers)
			t.Run("Score", TestScoreMatchesTransformers)
			t.Run("Types", TestTypes)
			t.Run("EveryType", TestEveryTypeRuns)
			t.Run("Sequences", func(t *testing.T) { testSequencesAlone(t, map[string]uint64{"f32": 1, "q8_0": 2}) })
			t.Run("Masks", TestMaskDecoder)
		})
	}
}
