package model_test

import (
	"math"
	"slices"
	"testing"

	"paligemma/internal/demo"
	"paligemma/internal/ggml"
	"paligemma/internal/gguf"
	"paligemma/internal/model"
)

// written is otherDevice with attention written out.
func written(t *testing.T) ggml.Options {
	t.Helper()
	o := otherDevice(t)
	o.Written = true
	return o
}

// TestFusedAsWritten compares attention in one operation with attention written out, on
// the same device: logits after each of 200 tokens, whose likeliest ones are the same where
// the choice is clear.
func TestFusedAsWritten(t *testing.T) {
	const limit, clear = 2e-3, 1e-2
	for _, c := range []struct{ name, typ string }{{"", "f16"}, {"pg1-tiny", "bf16"}, {"pg2-tiny", "f16"}, {"pg2-tiny", "q8_0"}} {
		t.Run(c.name+" "+c.typ, func(t *testing.T) {
			opened := func(o ggml.Options) *model.Model {
				f, err := demo.Open()
				if c.name != "" {
					f, err = gguf.Open(convertTo(t, c.name, c.typ), gguf.Options{})
				}
				if err != nil {
					t.Fatal(err)
				}
				m, _ := loadOn(t, f, o)
				return m
			}
			fused, parts := startPicture(t, opened(otherDevice(t))), startPicture(t, opened(written(t)))
			worst := 0.0
			for i := range longText {
				off := relativeL2(fused.logits, parts.logits)
				worst = max(worst, off)
				want, apart := parts.best()
				if got, _ := fused.best(); !(off <= limit) || got != want && apart > clear {
					t.Fatalf("token %d: %d, written out %d by %.2g; logits %.2g apart", i, got, want, apart, off)
				}
				fused.next(t, want)
				parts.next(t, want)
			}
			t.Logf("%.2g relative L2", worst)
		})
	}
}

// startPicture begins a text about a made-up picture.
func startPicture(t *testing.T, m *model.Model) *decoder {
	t.Helper()
	v := m.Config().Vision
	pixels := make([]float32, 3*v.ImageSize*v.ImageSize)
	for i := range pixels {
		pixels[i] = float32(i%251)/125 - 1
	}
	image, err := m.Encode(t.Context(), pixels)
	if err != nil {
		t.Fatal(err)
	}
	ids := slices.Repeat([]int{m.Config().Tokens.Image}, image.Tokens)
	return newDecoder(t, m, model.Prompt{IDs: append(ids, m.Config().Tokens.BOS), Images: []model.Features{image}})
}

// TestGraphsOfSteps decodes 200 tokens of one text and of several: the graph of a step is
// built where the number of texts changes, or that of cells passes a multiple of 256.
func TestGraphsOfSteps(t *testing.T) {
	m, backend := loadOn(t, zeros(t, narrow(18, 8, 1)), otherDevice(t))
	for _, texts := range []int{1, 3} {
		cache, err := m.NewCache(64)
		if err != nil {
			t.Fatal(err)
		}
		var tokens []model.Token
		for range texts {
			s := cache.NewSequence(8)
			if _, err := m.Prefill(t.Context(), s, model.Prompt{IDs: []int{2, 14, 15}}); err != nil {
				t.Fatal(err)
			}
			tokens = append(tokens, model.Token{Sequence: s, ID: 20, Greedy: true})
		}
		backend.TakeCounts()
		for range longText {
			next, err := m.Next(t.Context(), tokens)
			if err != nil {
				t.Fatal(err)
			}
			for _, n := range next {
				if n.Logits != nil || n.Best != next[0].Best {
					t.Fatalf("%d logits, and token %d", len(n.Logits), n.Best)
				}
			}
		}
		counts := backend.TakeCounts()
		// Sequences that outgrow their cells are copied to others, by a graph of its own.
		t.Logf("%d texts: %+v", texts, counts)
		if texts == 1 && counts.Built > 2+7 || counts.Splits != 1 || cache.Steps() < 1 || cache.Steps() > 4 {
			t.Errorf("%d texts: %+v, and %d graphs kept", texts, counts, cache.Steps())
		}
		cache.Close()
	}
}

// TestSpoiledCells gives a prompt an image of NaN: what comes after it in its cells, or
// next to them, is as if it had never been.
func TestSpoiledCells(t *testing.T) {
	for _, typ := range []string{"f32", "f16"} {
		t.Run(typ, func(t *testing.T) {
			m := load(t, "pg1-tiny", typ)
			cache, err := m.NewCache(64)
			if err != nil {
				t.Fatal(err)
			}
			defer cache.Close()
			begin := func(p model.Prompt) (*model.Sequence, []float32) {
				s := cache.NewSequence(8)
				logits, err := m.Prefill(t.Context(), s, p)
				if err != nil {
					t.Fatal(err)
				}
				return s, logits
			}
			sound := model.Prompt{IDs: slices.Repeat([]int{9}, 40)}
			_, want := begin(sound)
			nan := model.Features{Values: slices.Repeat([]float32{float32(math.NaN())}, m.Config().Text.Hidden), Tokens: 1}
			bad, logits := begin(model.Prompt{IDs: []int{m.Config().Tokens.Image, 2, 9}, Images: []model.Features{nan}})
			if logits[0] == logits[0] {
				t.Fatal("a number comes of NaN")
			}
			bad.Release()
			next, got := begin(sound)
			compare(t, "logits after NaN", got, want, f32Tolerance)
			after, err := m.Step(t.Context(), []model.Token{{Sequence: next, ID: 5}})
			if err != nil || after[0][0] != after[0][0] {
				t.Errorf("%v after a step (%v)", after[0][0], err)
			}
		})
	}
}
