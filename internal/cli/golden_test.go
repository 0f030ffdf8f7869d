package cli

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"paligemma/internal/result"
	"paligemma/internal/safetensors"
)

// goldenCase is a case that transformers ran; images may be one name or several.
type goldenCase struct {
	Case       string          `json:"case"`
	Image      json.RawMessage `json:"image"`
	Prompt     string          `json:"prompt"`
	Suffix     *string         `json:"suffix"`
	IDs        []int64         `json:"input_ids"`
	Types      []int64         `json:"token_type_ids"`
	Labels     []int64         `json:"labels"`
	Loss       float64         `json:"loss"`
	Generated  []int           `json:"generated_ids"`
	Text       string          `json:"generated_text"`
	Stopped    bool            `json:"stopped_by_eos"`
	MinTop2Gap float64         `json:"min_top2_gap"`
}

func (c goldenCase) images() []string {
	var one string
	if json.Unmarshal(c.Image, &one) == nil {
		return []string{one}
	}
	var several []string
	_ = json.Unmarshal(c.Image, &several)
	return several
}

// From picture files to logits and text, through the command line, all is what
// transformers computed. JPEGs decode a little differently, so that only their
// ids are compared.
func TestGoldens(t *testing.T) {
	for _, name := range []string{"pg1-tiny", "pg1-odd", "pg2-tiny"} {
		dir := t.TempDir()
		model := filepath.Join(dir, "m.gguf")
		if code, _, errs := runArgs(t, t.Context(), false, "convert", "../../testdata/checkpoints/"+name, model, "--type", "f32", "-q"); code != 0 {
			t.Fatal(errs)
		}
		goldens, err := safetensors.Open("../../testdata/goldens/" + name + ".safetensors")
		if err != nil {
			t.Fatal(err)
		}
		defer goldens.Close()
		var file struct {
			Cases []goldenCase `json:"cases"`
		}
		data, err := os.ReadFile("../../testdata/goldens/" + name + ".json")
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(data, &file); err != nil {
			t.Fatal(err)
		}
		if len(file.Cases) < 16 {
			t.Errorf("%s: %d cases", name, len(file.Cases))
		}
		for _, c := range file.Cases {
			t.Run(name+"/"+c.Case, func(t *testing.T) { c.forward(t, model, goldens); c.generate(t, model) })
		}
	}
}

func (c goldenCase) args(t *testing.T, command, model string) (args []string, exact bool) {
	args, exact = []string{command, "-m", model, "--prompt", c.Prompt}, true
	for _, image := range c.images() {
		args = append(args, filepath.Join(fixture(t, "IMAGES"), image))
		exact = exact && strings.HasSuffix(image, ".png") && image != "gray16.png"
	}
	return args, exact
}

func (c goldenCase) forward(t *testing.T, model string, goldens *safetensors.File) {
	args, exact := c.args(t, "forward", model)
	out := filepath.Join(t.TempDir(), "out.safetensors")
	args = append(args, "--output", out)
	if c.Suffix != nil {
		args = append(args, "--suffix", *c.Suffix)
	}
	if code, _, errs := runArgs(t, t.Context(), false, args...); code != 0 {
		t.Fatal(errs)
	}
	f, err := safetensors.Open(out)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for tensor, want := range map[string][]int64{"input_ids": c.IDs, "token_type_ids": c.Types, "labels": c.Labels} {
		if want == nil {
			if _, ok := f.Lookup(tensor); ok {
				t.Errorf("there is a tensor %s", tensor)
			}
			continue
		}
		entry, data := read(t, f, tensor)
		got, err := safetensors.Int64s(entry.DType, data)
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: %v, %v; want %v", tensor, got, err, want)
		}
	}
	if !exact {
		return
	}
	for ours, theirs := range map[string]string{"image_hidden_states": "image_features", "logits": "logits"} {
		entry, data := read(t, goldens, c.Case+"."+theirs)
		want, err := safetensors.Float32s(entry.DType, data)
		if err != nil {
			t.Fatal(err)
		}
		entry, data = read(t, f, ours)
		got, err := safetensors.Float32s(entry.DType, data)
		if err != nil {
			t.Fatal(err)
		}
		near(t, ours, got[max(0, len(got)-len(want)):], want)
	}
	if c.Suffix != nil {
		entry, data := read(t, f, "loss")
		got, err := safetensors.Float32s(entry.DType, data)
		if err != nil || len(got) != 1 || math.Abs(float64(got[0])-c.Loss) > 1e-4*c.Loss {
			t.Errorf("loss %v, %v; want %v", got, err, c.Loss)
		}
	}
}

func read(t *testing.T, f *safetensors.File, name string) (safetensors.Tensor, []byte) {
	t.Helper()
	entry, ok := f.Lookup(name)
	if !ok {
		t.Fatalf("%s has no tensor %s", f.Path(), name)
	}
	data, err := f.ReadAll(entry)
	if err != nil {
		t.Fatal(err)
	}
	return entry, data
}

// near allows 1e-4 of the largest magnitude.
func near(t *testing.T, name string, got, want []float32) {
	t.Helper()
	if len(got) != len(want) || len(want) == 0 {
		t.Errorf("%s: %d values, want %d", name, len(got), len(want))
		return
	}
	largest, worst := 0.0, 0.0
	for i := range want {
		largest = max(largest, math.Abs(float64(want[i])))
		if d := math.Abs(float64(got[i]) - float64(want[i])); !(d <= worst) {
			worst = d
		}
	}
	if !(worst <= 1e-4*largest) {
		t.Errorf("%s: off by %g, the largest is %g", name, worst, largest)
	}
}

func (c goldenCase) generate(t *testing.T, model string) {
	args, exact := c.args(t, "generate", model)
	if c.Suffix != nil || !exact || c.MinTop2Gap < 0.001 {
		return
	}
	code, out, errs := runArgs(t, t.Context(), false, append(args, "--join", "--format", "json", "--max-tokens", "20")...)
	var got result.Result
	if err := json.Unmarshal([]byte(out), &got); code != 0 || err != nil {
		t.Fatalf("%d, %v, %s", code, err, errs)
	}
	want, reason := c.Generated, "length"
	if c.Stopped {
		want, reason = want[:len(want)-1], "stop"
	}
	if !slices.Equal(*got.Tokens, want) || *got.Text != c.Text || got.FinishReason != reason {
		t.Errorf("%v %q %s, want %v %q %s (the closest call was %g)", *got.Tokens, *got.Text, got.FinishReason, want, c.Text, reason, c.MinTop2Gap)
	}
	if *got.Prompt != c.Prompt {
		t.Errorf("prompt %q, want %q", *got.Prompt, c.Prompt)
	}
}
