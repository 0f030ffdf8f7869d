package cli

import (
	"bytes"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"paligemma/internal/safetensors"
)

// command runs a command line without input.
func command(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, err bytes.Buffer
	code = Run(t.Context(), args, Streams{In: strings.NewReader(""), Out: &out, Err: &err})
	return code, out.String(), err.String()
}

// No command that takes adapters ignores them: each opens what is named.
func TestAdaptersAreOpened(t *testing.T) {
	model, image := fixture(t, "MODEL"), filepath.Join(fixture(t, "IMAGES"), "scene.png")
	out := filepath.Join(t.TempDir(), "out")
	lines := map[string][]string{
		"caption":  {image, "-m", model},
		"vqa":      {image, "--prompt", "x", "-m", model},
		"ocr":      {image, "-m", model},
		"detect":   {"cat", image, "-m", model},
		"segment":  {"cat", image, "-m", model},
		"score":    {image, "--prompt", "x", "--suffix", "y", "-m", model},
		"generate": {image, "--prompt", "x", "-m", model},
		"look":     {image, "-m", model},
		"forward":  {image, "--prompt", "x", "-o", out, "-m", model},
		"bench":    {image, "--repetitions", "1", "--no-probe", "-m", model},
		"convert":  {fixture(t, "CHECKPOINT"), out},
		"quantize": {model, out, "--type", "f16"},
		"inspect":  {model, "--split", "auto", "--device", "cpu"},
		"serve":    {"--port", "0", "-m", model},
	}
	for _, cmd := range (&app{}).rootCommand().Commands() {
		if cmd.Flags().Lookup("lora") == nil || cmd.Name() == "pull" { // whose adapters are the hub's
			continue
		}
		t.Run(cmd.Name(), func(t *testing.T) {
			line, known := lines[cmd.Name()]
			if !known {
				t.Fatal("no command line that shows it")
			}
			code, stdout, stderr := command(t, slices.Concat([]string{cmd.Name()}, line, []string{"--lora", "missing"})...)
			if code != exitModel || stdout != "" || !strings.Contains(stderr, "adapter missing: no such file or folder") {
				t.Errorf("exit code %d, %q, %q", code, stdout, stderr)
			}
			code, _, stderr = command(t, slices.Concat([]string{cmd.Name()}, line, []string{"--lora", "missing:1e99"})...)
			if code != exitUsage || !strings.Contains(stderr, `the scale "1e99" is not a number in range`) {
				t.Errorf("exit code %d, %q", code, stderr)
			}
		})
	}
}

// logits runs forward and returns what it wrote.
func logits(t *testing.T, args ...string) []float32 {
	t.Helper()
	path := filepath.Join(t.TempDir(), "out.safetensors")
	image := filepath.Join(fixture(t, "IMAGES"), "scene.png")
	if code, _, stderr := command(t, slices.Concat([]string{"forward", image, "--prompt", "caption en", "-o", path}, args)...); code != exitOK {
		t.Fatalf("exit code %d: %s", code, stderr)
	}
	f, err := safetensors.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	tensor, _ := f.Lookup("logits")
	b, err := f.ReadAll(tensor)
	if err != nil {
		t.Fatal(err)
	}
	values, err := safetensors.Float32s(tensor.DType, b)
	if err != nil {
		t.Fatal(err)
	}
	return values
}

// distance is how far values are apart, in parts of the largest.
func distance(a, b []float32) float64 {
	var apart, largest float64
	for i := range a {
		apart = max(apart, math.Abs(float64(a[i])-float64(b[i])))
		largest = max(largest, math.Abs(float64(b[i])))
	}
	return apart / largest
}

// Adapters at run time give the logits of the merged file.
func TestForwardAdapters(t *testing.T) {
	adapters := fixture(t, "ADAPTERS")
	base := logits(t, "-m", fixture(t, "MODEL"))
	for name, flags := range map[string][]string{
		"one":       {"--lora", filepath.Join(adapters, "lora")},
		"two":       {"--lora", filepath.Join(adapters, "lora") + ":0.5", "--lora", filepath.Join(adapters, "rslora") + ":-1"},
		"the head":  {"--lora", filepath.Join(adapters, "head")},
		"embedding": {"--lora", filepath.Join(adapters, "embedding") + ":2"},
		"places":    {"--lora", filepath.Join(adapters, "places")},
		"norms":     {"--lora", filepath.Join(adapters, "norms")},
	} {
		t.Run(name, func(t *testing.T) {
			got := logits(t, slices.Concat([]string{"-m", fixture(t, "MODEL")}, flags)...)
			merged := filepath.Join(t.TempDir(), "merged.gguf")
			if code, _, stderr := command(t, slices.Concat([]string{"convert", fixture(t, "CHECKPOINT"), merged, "--type", "f32"}, flags)...); code != exitOK {
				t.Fatalf("exit code %d: %s", code, stderr)
			}
			if d := distance(got, logits(t, "-m", merged)); !(d <= 1e-5) {
				t.Errorf("apart by %g", d)
			}
			if d := distance(got, base); d < 1e-3 {
				t.Errorf("the adapter does nothing: %g", d)
			}
		})
	}
}

// A variable lists values of a flag that may be repeated.
func TestListVariable(t *testing.T) {
	for text, want := range map[string][]string{
		"a":                    {"a"},
		"a:0.5,b":              {"a:0.5", "b"},
		" a , b:-1 ,":          {"a", "b:-1"},
		"a\nb\r\nc,d\n":        {"a", "b", "c", "d"},
		`"a,b:0.5",c`:          {"a,b:0.5", "c"},
		`"a ""b"""`:            {`a "b"`},
		"with spaces/in it":    {"with spaces/in it"},
		",":                    nil,
		`C:\adapters\mine,x:1`: {`C:\adapters\mine`, "x:1"},
	} {
		t.Run(text, func(t *testing.T) {
			got, err := splitList(text)
			if err != nil || !slices.Equal(got, want) {
				t.Errorf("%q, %v, want %q", got, err, want)
			}
		})
	}
	for _, text := range []string{`"a`, `a"b`, `"a"b`} {
		if got, err := splitList(text); err == nil || !strings.Contains(err.Error(), "double quotes") {
			t.Errorf("%q: %q, %v", text, got, err)
		}
	}
}
