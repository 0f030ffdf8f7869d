package convert

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"paligemma/internal/adapter"
	"paligemma/internal/ggml"
	"paligemma/internal/gguf"
	"paligemma/internal/layout"
	"paligemma/internal/limits"
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

// tensorOf returns a tensor of a file of type f32.
func tensorOf(t testing.TB, f *gguf.File, name string) []float32 {
	t.Helper()
	tensor, ok := f.Lookup(name)
	if !ok || tensor.Type != gguf.TypeF32 {
		t.Fatalf("no f32 tensor %s", name)
	}
	values := make([]float32, tensor.Elements())
	if err := ggml.Dequantize(gguf.TypeF32, values, f.Data(tensor), int(tensor.Shape[0])); err != nil {
		t.Fatal(err)
	}
	return values
}

// TestMergedWeights compares with the weights that PEFT's merge_and_unload gives.
func TestMergedWeights(t *testing.T) {
	merged, err := safetensors.Open(adapterDir("merged.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	defer merged.Close()
	f, _ := run(t, tinyDir("pg1-tiny"), Options{Type: "f32", Adapters: []adapter.Loaded{openAdapter(t, adapterDir("lora"), 1)}})
	names := map[string]string{}
	c, err := model.ReadConfig(f.Header)
	if err != nil {
		t.Fatal(err)
	}
	for name, n := range layout.Names(c) {
		names[n.HF] = name
	}
	if len(merged.Tensors) < 8 {
		t.Fatalf("%d tensors", len(merged.Tensors))
	}
	for _, tensor := range merged.Tensors {
		want := tensorIn(t, adapterDir("merged.safetensors"), tensor.Name)
		nearly(t, tensor.Name, tensorOf(t, f, names[layout.Canonical(tensor.Name)]), want, 1e-6)
	}
}

// TestScaleZero gives the file of the base, to the last byte.
func TestScaleZero(t *testing.T) {
	for _, typ := range []string{"f32", "q4_k_m"} {
		base, _ := run(t, tinyDir("pg1-tiny"), Options{Type: typ})
		f, report := run(t, tinyDir("pg1-tiny"), Options{Type: typ, Adapters: []adapter.Loaded{openAdapter(t, adapterDir("places"), 0)}})
		sameFile(t, f, base)
		if notes := strings.Join(report.Notes, "\n"); !strings.Contains(notes, "scale 0") {
			t.Errorf("notes %q", notes)
		}
		g, _ := again(t, base, QuantizeOptions{Type: typ, Adapters: []adapter.Loaded{openAdapter(t, adapterDir("dora"), 0)}})
		sameFile(t, g, base)
	}
}

// TestMergeIsTheSame makes the same bytes whatever the number of workers, wherever
// tensors are cut, and whether checkpoint and file come first.
func TestMergeIsTheSame(t *testing.T) {
	for name, c := range mergeCases(t) {
		if name == "lora_bias_text" {
			continue
		}
		t.Run(name, func(t *testing.T) {
			adapters := c.open(t)
			want, _ := run(t, tinyDir(c.Checkpoint), Options{Type: "q8_0", Threads: 1, Adapters: adapters})
			cut, _ := run(t, tinyDir(c.Checkpoint), Options{Type: "q8_0", Threads: 3, chunk: 100, Adapters: adapters})
			sameFile(t, cut, want)
			base, _ := run(t, tinyDir(c.Checkpoint), Options{Type: "f32"})
			quantized, _ := again(t, base, QuantizeOptions{Type: "q8_0", Adapters: adapters})
			sameTensors(t, quantized, want)
		})
	}
}

// TestMergeRounded merges into a checkpoint of 16 bits in F32: as into its copy in F32.
func TestMergeRounded(t *testing.T) {
	for _, dtype := range []safetensors.DType{safetensors.BF16, safetensors.F16} {
		adapters := []adapter.Loaded{openAdapter(t, adapterDir("lora"), 1), openAdapter(t, adapterDir("norms"), 1)}
		small := load(t, "pg1-tiny")
		small.round(dtype)
		wide := load(t, "pg1-tiny")
		wide.round(dtype)
		for i := range wide.tensors {
			wide.widen(&wide.tensors[i])
		}
		got, _ := run(t, small.save(), Options{Type: "f32", Adapters: adapters})
		want, _ := run(t, wide.save(), Options{Type: "f32", Adapters: adapters})
		sameTensors(t, got, want)
	}
}

// savedHead is an adapter that saves a head of its own.
func savedHead(t *testing.T, scale float32) (dir string, head []float32) {
	t.Helper()
	base := load(t, "pg1-tiny")
	head = floats(t, *base.find("embed_tokens.weight"))
	for i := range head {
		head[i] *= scale
	}
	dir = t.TempDir()
	var b bytes.Buffer
	tensors := []safetensors.Data{safetensors.NewFloat32("base_model.model.lm_head.weight", []int64{2240, 64}, head)}
	if err := safetensors.Write(&b, tensors, nil); err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string]string{
		"adapter_model.safetensors": b.String(),
		"adapter_config.json":       `{"peft_type": "LORA", "target_modules": ["q_proj"], "modules_to_save": ["lm_head"]}`,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir, head
}

// TestSavedHead gives what a checkpoint gives that has that head.
func TestSavedHead(t *testing.T) {
	dir, head := savedHead(t, 1.5)
	for _, typ := range []string{"f32", "q4_k_m"} {
		got, report := run(t, tinyDir("pg1-tiny"), Options{Type: typ, Adapters: []adapter.Loaded{openAdapter(t, dir, 1)}})
		untied := load(t, "pg1-tiny")
		untied.config()["tie_word_embeddings"] = false
		untied.add("lm_head.weight", []int64{2240, 64}, head)
		want, _ := run(t, untied.save(), Options{Type: typ})
		sameTensors(t, got, want)
		if notes := strings.Join(report.Notes, "\n"); !strings.Contains(notes, "a matrix of its own") {
			t.Errorf("notes %q", notes)
		}
	}
}

// TestMergeQuantized refuses to round a second time what the adapter changes, unless
// it may; what it replaces was not rounded.
func TestMergeQuantized(t *testing.T) {
	base, _ := run(t, tinyDir("pg1-tiny"), Options{Type: "q8_0"})
	lora := []adapter.Loaded{openAdapter(t, adapterDir("lora"), 1)}
	err := refuses(t, base, QuantizeOptions{Type: "q8_0", Adapters: lora}, "--allow-requantize")
	if !errors.Is(err, ErrQuantized) {
		t.Errorf("%v is not an ErrQuantized", err)
	}
	f, report := again(t, base, QuantizeOptions{Type: "q8_0", AllowRequantize: true, Adapters: lora})
	if notes := strings.Join(report.Notes, "\n"); !strings.Contains(notes, "18 tensors were quantized before") {
		t.Errorf("notes %q", notes)
	}
	x, _ := f.Lookup("blk.0.ffn_up.weight")
	y, _ := base.Lookup("blk.0.ffn_up.weight")
	if !bytes.Equal(f.Data(x), base.Data(y)) {
		t.Error("a tensor that stays was changed")
	}
	dir, _ := savedHead(t, 2)
	again(t, base, QuantizeOptions{Type: "q8_0", Adapters: []adapter.Loaded{openAdapter(t, dir, 1)}})
}

// TestMergeRefuses leaves no file.
func TestMergeRefuses(t *testing.T) {
	text := []adapter.Loaded{openAdapter(t, adapterDir("lora_bias_text"), 1)}
	fails(t, tinyDir("pg1-tiny"), Options{Type: "f32", Adapters: text}, "lora_bias", "blk.0.ffn_down", "--lora")
	other := []adapter.Loaded{openAdapter(t, adapterDir("pg2_lora"), 1)}
	fails(t, tinyDir("pg1-tiny"), Options{Type: "f32", Adapters: other}, "adapter", "pg2_lora", "lora_")
	base, _ := run(t, tinyDir("pg2-tiny"), Options{Type: "f32"})
	refuses(t, base, QuantizeOptions{Type: "f32", Adapters: text}, "adapter", "lora_bias_text")
}

// TestMergeHuge names what an update makes infinite.
func TestMergeHuge(t *testing.T) {
	fails(t, tinyDir("pg1-tiny"), Options{Type: "f32", Adapters: []adapter.Loaded{openAdapter(t, adapterDir("lora"), 1e38), openAdapter(t, adapterDir("lora"), 3e38)}},
		"tensor", "Inf")
}

// TestMergeChanged notices an adapter that is replaced after it was opened, though what
// was opened can still be read.
func TestMergeChanged(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{adapter.ConfigName, adapter.WeightsName} {
		copyFiles(t, [][2]string{{filepath.Join(adapterDir("lora"), name), filepath.Join(dir, name)}})
	}
	base, _ := run(t, tinyDir("pg1-tiny"), Options{Type: "f32"})
	adapters := []adapter.Loaded{openAdapter(t, dir, 1)}
	weights, other := filepath.Join(dir, adapter.WeightsName), filepath.Join(dir, "other")
	copyFiles(t, [][2]string{{weights, other}})
	if err := os.Rename(other, weights); err != nil {
		t.Fatal(err)
	}
	fails(t, tinyDir("pg1-tiny"), Options{Type: "f32", Adapters: adapters}, adapter.WeightsName, "changed")
	refuses(t, base, QuantizeOptions{Type: "f32", Adapters: adapters}, adapter.WeightsName, "changed")
}

// TestMergeMemory refuses updates that do not fit, whichever limit there is.
func TestMergeMemory(t *testing.T) {
	adapters := []adapter.Loaded{openAdapter(t, adapterDir("rslora"), 1), openAdapter(t, adapterDir("rslora"), 2)}
	const needs = 2 * 4 * 5952
	for _, free := range []limits.Memory{{Physical: needs - 1, Address: needs, Data: needs}, {Physical: needs, Address: needs - 1, Data: needs}, {Physical: needs, Address: needs, Data: needs - 1}} {
		if err := checkMemory(adapters, free); err == nil || !strings.Contains(err.Error(), "need 47.6 kB of memory") {
			t.Errorf("%+v: %v", free, err)
		}
	}
	if err := checkMemory(adapters, limits.Memory{Physical: needs, Address: needs, Data: needs}); err != nil {
		t.Error(err)
	}
}

// TestProvenance says in the file which adapters were merged, one after the other.
func TestProvenance(t *testing.T) {
	first, _ := run(t, tinyDir("pg1-tiny"), Options{Type: "f32", Adapters: []adapter.Loaded{openAdapter(t, adapterDir("lora"), 0.5), openAdapter(t, adapterDir("head"), 0)}})
	second, _ := again(t, first, QuantizeOptions{Type: "f32", Adapters: []adapter.Loaded{openAdapter(t, adapterDir("rslora"), -1)}})
	third, _ := again(t, second, QuantizeOptions{Type: "f16"})
	for _, test := range []struct {
		file  *gguf.File
		names []string
		want  []float32
	}{{first, []string{"lora"}, []float32{0.5}}, {second, []string{"lora", "rslora"}, []float32{0.5, -1}}, {third, []string{"lora", "rslora"}, []float32{0.5, -1}}} {
		merged := MergedAdapters(test.file.Header)
		if len(merged) != len(test.names) {
			t.Fatalf("%v, want %v", merged, test.names)
		}
		for i, m := range merged {
			if m.Name != test.names[i] || m.Scale != test.want[i] || m.Base != "pg1-tiny" {
				t.Errorf("%+v, want %s × %v", m, test.names[i], test.want[i])
			}
		}
	}
	none, _ := run(t, tinyDir("pg1-tiny"), Options{Type: "f32"})
	if none.Has(keyAdapters) || MergedAdapters(none.Header) != nil {
		t.Error("a file without adapters names some")
	}
}
