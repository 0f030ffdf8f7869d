package model_test

import (
	"context"
	"path/filepath"
	"slices"
	"testing"

	"paligemma/internal/convert"
	"paligemma/internal/model"
	"paligemma/internal/safetensors"
)

// TestForwardMatchesBigVision runs checkpoints of big_vision, converted, and compares
// with what its own modules computed of them (scripts/bigvision/goldens.py).
func TestForwardMatchesBigVision(t *testing.T) {
	folder := filepath.Join(testdata, "bigvision")
	for _, name := range []string{"gemma", "gemma2", "gemma2_mha"} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), name+".gguf")
			_, err := convert.Convert(context.Background(), filepath.Join(folder, name+".npz"), path, convert.Options{
				Type: "f32", Tokenizer: filepath.Join(testdata, "checkpoints", "pg1-tiny"),
			})
			if err != nil {
				t.Fatal(err)
			}
			m := open(t, path)
			tensors, err := safetensors.Open(filepath.Join(folder, name+".safetensors"))
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { tensors.Close() })
			g := golden{Case: "c00", tensors: tensors}
			g.readPixels(t)
			g.IDs = slices.Concat(slices.Repeat([]int{m.Config().Tokens.Image}, m.Config().Vision.ImageTokens), g.tokens(t))
			g.prefix = len(g.IDs)
			got, err := m.Trace(context.Background(), g.prompt(t, m), nil, model.TraceOptions{})
			if err != nil {
				t.Fatal(err)
			}
			want := g.get(t, "logits")
			compare(t, "logits", got.Logits[max(0, len(got.Logits)-len(want)):], want, f32Tolerance)
		})
	}
}

// tokens reads the ids after the image.
func (g *golden) tokens(t *testing.T) []int {
	t.Helper()
	entry, _ := g.tensors.Lookup(g.Case + ".tokens")
	data, err := g.tensors.ReadAll(entry)
	if err != nil {
		t.Fatal(err)
	}
	ids, err := safetensors.Int64s(entry.DType, data)
	if err != nil {
		t.Fatal(err)
	}
	all := make([]int, len(ids))
	for i, id := range ids {
		all[i] = int(id)
	}
	return all
}
