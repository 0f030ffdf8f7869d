package model_test

import (
	"context"
	"errors"
	"math"
	"slices"
	"testing"

	"paligemma/internal/ggml"
	"paligemma/internal/model"
	"paligemma/internal/testdevice"
)

// written is otherDevice with attention written out.
func written(t *testing.T) ggml.Options {
	t.Helper()
	o := otherDevice(t)
	o.Written = true
	return o
}

// TestFusedAsWritten compares attention in one operation with attention written out, on
// the same device: in one pass over a picture and 200 tokens, and in as many steps, whose
// likeliest tokens are the same where the choice is clear. In steps ggml's CPU backend adds
// up values of F16 in F16.
func TestFusedAsWritten(t *testing.T) {
	const steps, clear = 1e-2, 1e-2
	pass := 2e-3
	if !testdevice.Chosen(t).SameRows() {
		pass = 3e-3 // CUDA adds up values, of F16 cells, in F16 where attention is written out
	}
	for _, name := range []string{"", "pg1-tiny", "pg2-tiny"} { // "": the built-in model
		t.Run(name, func(t *testing.T) {
			opened := func(o ggml.Options) *model.Model {
				if name == "" {
					return openBuiltIn(t, o)
				}
				return openOn(t, convertTo(t, name, "f16"), o)
			}
			fused, parts := startPicture(t, opened(otherDevice(t))), startPicture(t, opened(written(t)))
			var text []int
			worst := 0.0
			for i := range longText {
				off := relativeL2(fused.logits, parts.logits)
				worst = max(worst, off)
				want, apart := parts.best()
				if got, _ := fused.best(); !(off <= steps) || got != want && apart > clear {
					t.Fatalf("token %d: %d, written out %d by %.2g; logits %.2g apart", i, got, want, apart, off)
				}
				text = append(text, want)
				fused.next(t, want)
				parts.next(t, want)
			}
			off := relativeL2(fused.trace(t, text), parts.trace(t, text))
			t.Logf("%.2g relative L2 in steps, %.2g in one pass", worst, off)
			if !(off <= pass) {
				t.Errorf("%.2g relative L2 in one pass, want %.2g", off, pass)
			}
		})
	}
}

// trace computes the decoder's prompt and a text in one pass.
func (d *decoder) trace(t *testing.T, text []int) []float32 {
	t.Helper()
	got, err := d.m.Trace(t.Context(), d.prompt, text, model.TraceOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return got.Logits
}

// startPicture begins a text about a made-up picture.
func startPicture(t *testing.T, m *model.Model) *decoder {
	t.Helper()
	image, err := m.Encode(t.Context(), picture(m, 1))
	if err != nil {
		t.Fatal(err)
	}
	ids := slices.Repeat([]int{m.Config().Tokens.Image}, image.Tokens)
	return newDecoder(t, m, model.Prompt{IDs: append(ids, m.Config().Tokens.BOS), Images: []model.Features{image}})
}

// TestGraphsOfSteps decodes 200 tokens of one text and of several: the graph of a step is
// built once, and again where the cells pass a multiple of 256. Logits that are asked for
// after some of the tokens are those of the same graph.
func TestGraphsOfSteps(t *testing.T) {
	m, backend := loadOn(t, zeros(t, narrow(18, 8, 1)), otherDevice(t))
	for _, c := range []struct{ texts, prompt, built int }{{1, 3, 1}, {1, 200, 2}, {3, 3, 2}} {
		room := c.prompt + longText
		cache, err := m.NewCache(c.texts * (room + 32))
		if err != nil {
			t.Fatal(err)
		}
		var tokens []model.Token
		for range c.texts {
			s := cache.NewSequence(room)
			if _, err := m.Prefill(t.Context(), s, model.Prompt{IDs: slices.Repeat([]int{14}, c.prompt)}); err != nil {
				t.Fatal(err)
			}
			tokens = append(tokens, model.Token{Sequence: s, ID: 20})
		}
		backend.TakeCounts()
		for i := range longText {
			for j := range tokens {
				tokens[j].Greedy = i%2 == 0
			}
			next, err := m.Next(t.Context(), tokens)
			if err != nil {
				t.Fatal(err)
			}
			for _, n := range next {
				if (n.Logits == nil) != (i%2 == 0) || n.Best != next[0].Best {
					t.Fatalf("%d logits, and token %d", len(n.Logits), n.Best)
				}
			}
		}
		if got, want := backend.TakeCounts(), (ggml.Counts{Computed: longText, Built: c.built, Splits: 1}); got != want || cache.Steps() != c.built {
			t.Errorf("%+v: %+v, want %+v; %d graphs kept", c, got, want, cache.Steps())
		}
		cache.Close()
	}
}

// TestKeptGraphsAreFew makes steps of different numbers of texts, in turns: few graphs are
// kept, none of a released slab, and all are right.
func TestKeptGraphsAreFew(t *testing.T) {
	m := openOn(t, convertTo(t, "pg2-tiny", "f32"), otherDevice(t))
	c := newCrowd(t, m, []model.Prompt{{IDs: []int{2, 14, 15}}, {IDs: []int{2, 90}}}, 7)
	step := func(n int) {
		t.Helper()
		c.stepFirst(n)
		if kept := c.cache.Steps(); kept < 1 || kept > 4 {
			t.Fatalf("%d graphs are kept", kept)
		}
	}
	for range 12 { // until the slab has grown, more than once
		c.admit()
		step(1)
	}
	for range 3 {
		for n := 1; n <= len(c.texts); n++ {
			step(n)
		}
	}
	c.compare()
	for len(c.texts) > 0 {
		c.retire()
	}
	c.cache.Close()
	if kept := c.cache.Steps(); kept != 0 {
		t.Errorf("%d graphs are kept of a closed cache", kept)
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
			sound := model.Prompt{IDs: []int{9, 8}} // fewer cells than the bad one leaves behind
			_, want := begin(sound)
			nan := model.Features{Values: slices.Repeat([]float32{float32(math.NaN())}, m.Config().Text.Hidden), Tokens: 1}
			bad, logits := begin(model.Prompt{IDs: []int{m.Config().Tokens.Image, 2, 9}, Images: []model.Features{nan}})
			if logits[0] == logits[0] {
				t.Fatal("a number comes of NaN")
			}
			greedy, err := m.Next(t.Context(), []model.Token{{Sequence: bad, ID: 5, Greedy: true}})
			if err != nil || greedy[0].Logits == nil || greedy[0].Logits[0] == greedy[0].Logits[0] {
				t.Errorf("a greedy step after NaN: token %d, %v", greedy[0].Best, err)
			}
			bad.Release()
			next, got := begin(sound)
			compare(t, "logits after NaN", got, want, testdevice.Chosen(t).TypeTolerance(typ, f32Tolerance))
			after, err := m.Step(t.Context(), []model.Token{{Sequence: next, ID: 5}})
			if err != nil || after[0][0] != after[0][0] {
				t.Errorf("%v after a step (%v)", after[0][0], err)
			}
		})
	}
}

// TestCanceledNaN cancels a prompt with an image of NaN at every operation it has: what
// comes after it in its cells is as if it had never been.
func TestCanceledNaN(t *testing.T) {
	o := onCPU(t)
	o.Plain = true
	m := openOn(t, convertTo(t, "pg1-tiny", "f32"), o)
	cache, err := m.NewCache(64)
	if err != nil {
		t.Fatal(err)
	}
	defer cache.Close()
	image := m.Config().Tokens.Image
	nan := model.Features{Values: slices.Repeat([]float32{float32(math.NaN())}, 2*m.Config().Text.Hidden), Tokens: 2}
	for range 200 {
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); cancel() }()
		bad := cache.NewSequence(8)
		_, err := m.Prefill(ctx, bad, model.Prompt{IDs: []int{2, 9, image, image}, Images: []model.Features{nan}})
		<-done
		if err != nil && !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
		bad.Release()
		sound := cache.NewSequence(8)
		logits, err := m.Prefill(t.Context(), sound, model.Prompt{IDs: []int{2, 9}})
		if err != nil || logits[0] != logits[0] {
			t.Fatalf("logits of %v after a canceled prompt (%v)", logits[0], err)
		}
		sound.Release()
	}
}
