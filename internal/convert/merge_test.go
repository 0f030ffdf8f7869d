package convert

import (
	"context"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"testing"

	"paligemma/internal/adapter"
	"paligemma/internal/ggml"
	"paligemma/internal/gguf"
	"paligemma/internal/model"
	"paligemma/internal/safetensors"
)

// adapterDir returns the folder of a test adapter.
func adapterDir(name string) string {
	return filepath.Join("..", "..", "testdata", "adapters", name)
}

// openAdapter opens an adapter until the test ends.
func openAdapter(t testing.TB, dir string, scale float64) adapter.Loaded {
	t.Helper()
	a, err := adapter.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Close() })
	return adapter.Loaded{Adapter: a, Scale: scale}
}

// mergeCase is one run of PEFT, unmerged.
type mergeCase struct {
	Checkpoint string
	Adapters   []struct {
		Name  string
		Scale float64
	}
}

func (c mergeCase) open(t testing.TB) []adapter.Loaded {
	t.Helper()
	var all []adapter.Loaded
	for _, a := range c.Adapters {
		all = append(all, openAdapter(t, adapterDir(a.Name), a.Scale))
	}
	return all
}

// mergeCases reads testdata/adapters/cases.json.
func mergeCases(t testing.TB) map[string]mergeCase {
	t.Helper()
	b, err := os.ReadFile(adapterDir("cases.json"))
	if err != nil {
		t.Fatal(err)
	}
	var cases map[string]mergeCase
	if err := json.Unmarshal(b, &cases); err != nil {
		t.Fatal(err)
	}
	return cases
}

// tensorIn reads a tensor of a file of goldens.
func tensorIn(t testing.TB, path, name string) []float32 {
	t.Helper()
	f, err := safetensors.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	entry, ok := f.Lookup(name)
	if !ok {
		t.Fatalf("%s has no %s", path, name)
	}
	b, err := f.ReadAll(entry)
	if err != nil {
		t.Fatal(err)
	}
	if entry.DType == safetensors.U8 { // pixels
		values := make([]float32, len(b))
		for i, v := range b {
			values[i] = float32(v)/127.5 - 1
		}
		return values
	}
	values, err := safetensors.Float32s(entry.DType, b)
	if err != nil {
		t.Fatal(err)
	}
	return values
}

// nearly compares values, in parts of the largest.
func nearly(t *testing.T, what string, got, want []float32, tolerance float64) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s: %d values, want %d", what, len(got), len(want))
	}
	var largest, apart float64
	for i := range want {
		largest = max(largest, math.Abs(float64(want[i])))
		apart = max(apart, math.Abs(float64(got[i])-float64(want[i])))
	}
	if !(apart <= tolerance*largest) {
		t.Errorf("%s: apart by %g, of %g", what, apart, largest)
	}
}

// TestMergedAnswersAsPEFT compares merged models with the unmerged ones of PEFT.
func TestMergedAnswersAsPEFT(t *testing.T) {
	for name, c := range mergeCases(t) {
		if name == "lora_bias_text" {
			continue // cannot be merged: TestMergeRefuses
		}
		t.Run(name, func(t *testing.T) {
			f, _ := run(t, tinyDir(c.Checkpoint), Options{Type: "f32", Adapters: c.open(t)})
			answersAsPEFT(t, f, name, c.Checkpoint)
		})
	}
}

// answersAsPEFT compares image features and logits with those of a case.
func answersAsPEFT(t *testing.T, f *gguf.File, name, checkpoint string) {
	t.Helper()
	backend, err := ggml.NewBackend(ggml.Options{Device: "cpu", Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer backend.Close()
	m, err := model.Load(f, backend)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	goldens := filepath.Join("..", "..", "testdata", "goldens", checkpoint)
	features, err := m.Encode(context.Background(), tensorIn(t, goldens+".safetensors", "c00.pixels"))
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(goldens + ".json")
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Cases []struct {
			IDs []int `json:"input_ids"`
		}
	}
	if err := json.Unmarshal(b, &file); err != nil {
		t.Fatal(err)
	}
	got, err := m.Trace(context.Background(), model.Prompt{IDs: file.Cases[0].IDs, Images: []model.Features{features}}, nil, model.TraceOptions{})
	if err != nil {
		t.Fatal(err)
	}
	want := adapterDir("goldens.safetensors")
	nearly(t, "image features", features.Values, tensorIn(t, want, name+".image_features"), 1e-5)
	logits := tensorIn(t, want, name+".logits")
	nearly(t, "logits", got.Logits[len(got.Logits)-len(logits):], logits, 1e-5)
}
