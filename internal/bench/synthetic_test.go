package bench

import (
	"context"
	"errors"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"

	"paligemma/internal/convert"
	"paligemma/internal/engine"
	"paligemma/internal/ggml"
	"paligemma/internal/gguf"
	"paligemma/internal/model"
	"paligemma/internal/preprocess"
)

// synthetic makes a model for the length of the test.
func synthetic(t *testing.T, name, typ string) *Synthetic {
	t.Helper()
	s, err := NewSynthetic(t.Context(), name, typ)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// open opens it on one thread of the CPU.
func open(t *testing.T, s *Synthetic) *engine.Engine {
	t.Helper()
	e, err := s.Open(engine.Options{Device: "cpu", Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Close)
	return e
}

// The number of weights of each release. Those of PaliGemma 3B and PaliGemma 2
// 3B at 224 pixels are transformers'. Those of the others are the published
// sizes of Gemma 2 9B (9,241,705,984) and 27B (27,227,128,320), and on top the
// 1,216 rows by which PaliGemma's vocabulary is larger, the projector, and the
// tower, whose 412,442,352 weights are what remains of the 3B. Larger pictures
// have more rows of position embeddings.
func TestSyntheticParameters(t *testing.T) {
	const tower = 412_442_352
	extra := func(hidden int64) int64 { return 1216*hidden + (1152+1)*hidden + tower }
	for family, at224 := range map[string]int64{
		"3b":      2_923_466_480,
		"pg2-3b":  3_032_242_416,
		"pg2-10b": 9_241_705_984 + extra(3584),
		"pg2-28b": 27_227_128_320 + extra(4608),
	} {
		for pixels, positions := range map[string]int64{"224": 256, "448": 1024, "896": 4096} {
			c, err := syntheticConfig(family + "-" + pixels)
			if err != nil {
				t.Fatal(err)
			}
			if err := c.Validate(); err != nil {
				t.Errorf("%s: %v", c.Name, err)
			}
			if got, want := parameters(c), at224+(positions-256)*1152; got != want {
				t.Errorf("%s has %d weights, want %d", c.Name, got, want)
			}
			if c.Tokens.Image != 257152 || c.Text.Vocab != 257216 || int64(c.Vision.ImageTokens) != positions {
				t.Errorf("%s: image token %d of %d, %d for an image", c.Name, c.Tokens.Image, c.Text.Vocab, c.Vision.ImageTokens)
			}
			v2, scale := strings.HasPrefix(family, "pg2"), float32(1.0/16)
			if family == "pg2-28b" {
				scale = 1.0 / 12
			}
			if (c.Arch == model.ArchPaliGemma2) != v2 || (c.Text.FinalSoftcap == 30) != v2 || c.Text.AttnScale != scale {
				t.Errorf("%s is a %s, caps logits at %v, scales scores by %v", c.Name, c.Arch, c.Text.FinalSoftcap, c.Text.AttnScale)
			}
		}
	}
	if got := len(SyntheticNames()); got != 12+2 {
		t.Errorf("%d names", got)
	}
}

// Every type makes a model that loads, is laid out as convert would, and
// computes numbers.
func TestSyntheticTypes(t *testing.T) {
	for _, typ := range convert.Types() {
		for _, name := range []string{"tiny", "pg2-tiny"} {
			s := synthetic(t, name, typ.Name)
			c, err := syntheticConfig(name)
			if err != nil {
				t.Fatal(err)
			}
			plan, err := convert.Plan(c, typ.Name)
			if err != nil {
				t.Fatal(err)
			}
			if len(plan) != len(s.file.Tensors) {
				t.Fatalf("%s %s has %d tensors, want %d", name, typ.Name, len(s.file.Tensors), len(plan))
			}
			for i, choice := range plan {
				tensor := s.file.Tensors[i]
				if tensor.Name != choice.Spec.Name || tensor.Type != choice.Type || !slices.Equal(tensor.Shape, choice.Stored) {
					t.Errorf("%s %s: tensor %v, want %v", name, typ.Name, tensor, choice)
				}
				checkValues(t, choice, s.file.Data(tensor))
			}
			if got := typeName(s.file); got != typ.Name {
				t.Errorf("%s %s calls itself %s", name, typ.Name, got)
			}
			e := open(t, s)
			if got := e.Config(); !reflect.DeepEqual(got, c) {
				t.Errorf("%s %s: the configuration %+v, want %+v", name, typ.Name, got, c)
			}
			source, err := preprocess.Open(syntheticPicture(), preprocess.Limits{})
			if err != nil {
				t.Fatal(err)
			}
			image, err := e.NewImage(source)
			if err != nil {
				t.Fatal(err)
			}
			ids := append(slices.Repeat([]int{c.Tokens.Image}, 16), 2, 100)
			gen, err := e.Generate(t.Context(), engine.Request{
				Prompt:    engine.Prompt{IDs: ids, Images: []*engine.Image{image}},
				MaxTokens: 3, IgnoreEOS: true, TopLogProbs: 1,
			})
			if err != nil {
				t.Errorf("%s %s: %v", name, typ.Name, err)
			}
			for _, step := range gen.LogProbs {
				if p := math.Exp(step.LogProb); !(p > 0 && p < 0.5) {
					t.Errorf("%s %s: a token of probability %v", name, typ.Name, p)
				}
			}
		}
	}
}

// checkValues wants norms of one, biases of zero, and random matrices of a
// variance of 1/width with zeros in the padding, where the type has an exact
// zero in every block.
func checkValues(t *testing.T, c convert.Choice, data []byte) {
	t.Helper()
	stored, width := int(c.Stored[0]), c.Spec.Shape[0]
	n := stored
	for _, d := range c.Stored[1:] {
		n *= int(d)
	}
	values := make([]float32, n)
	if err := ggml.Dequantize(c.Type, values, data, stored); err != nil {
		t.Fatal(err)
	}
	if len(c.Spec.Shape) == 1 {
		want := float32(1)
		if strings.HasSuffix(c.Spec.Name, ".bias") {
			want = 0
		}
		if slices.Min(values) != want || slices.Max(values) != want {
			t.Errorf("%s is %v to %v, want %v", c.Spec.Name, slices.Min(values), slices.Max(values), want)
		}
		return
	}
	sum := 0.0
	for i, v := range values {
		if i%stored >= width && v != 0 && c.Type == gguf.TypeQ8_0 {
			t.Fatalf("%s: %v in the padding", c.Spec.Name, v)
		}
		if i%stored < width {
			sum += float64(v) * float64(v)
		}
	}
	if got := sum / float64(n/stored); !(got > 0.8 && got < 1.2) {
		t.Errorf("%s as %v: rows have a squared length of %v, want 1", c.Spec.Name, c.Type, got)
	}
	if slices.Equal(values[:width], values[stored:stored+width]) {
		t.Errorf("%s: the first rows are equal", c.Spec.Name)
	}
}

// The same call gives the same weights.
func TestSyntheticRepeats(t *testing.T) {
	a, b := synthetic(t, "tiny", "q4_0"), synthetic(t, "TINY", "Q4_0")
	if !slices.Equal(a.file.Bytes(), b.file.Bytes()) {
		t.Error("other weights the second time")
	}
	if !a.file.OffHeap() {
		t.Log("the weights lie in Go's heap and are copied")
	}
}

func TestSyntheticRefuses(t *testing.T) {
	for _, c := range []struct{ name, typ, want string }{
		{"", "q8_0", `no synthetic model "": want one of 3b-224, `},
		{"4b-224", "q8_0", `no synthetic model "4b-224"`},
		{"tiny", "q9_0", `unknown type "q9_0"`},
	} {
		if _, err := NewSynthetic(t.Context(), c.name, c.typ); err == nil || !strings.HasPrefix(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s %s: %v", c.name, c.typ, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := NewSynthetic(ctx, "tiny", ""); !errors.Is(err, context.Canceled) {
		t.Errorf("canceled: %v", err)
	}
	var w gguf.Writer
	if err := w.AddTensor("huge", gguf.TypeF32, 1<<40, 1<<18); err != nil {
		t.Fatal(err)
	}
	if err := enoughMemory(&w); err == nil {
		t.Error("an exabyte of weights")
	}
	s := synthetic(t, "tiny", "")
	if got := typeName(s.file); got != "q8_0" {
		t.Errorf("without a type: %s", got)
	}
	s.Close()
	if _, err := s.Open(engine.Options{}); err == nil {
		t.Error("a closed model opens")
	}
}
