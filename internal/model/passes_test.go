package model_test

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"paligemma/internal/ggml"
	"paligemma/internal/model"
)

// TestKeptPrompts computes prompts of the same layout, of other pictures and words: from
// the second on one graph does, and all are as on a cache that keeps none.
func TestKeptPrompts(t *testing.T) {
	for _, name := range []string{"pg1-tiny", "pg2-tiny"} {
		t.Run(name, func(t *testing.T) {
			m := openOn(t, convertTo(t, name, "f32"), otherDevice(t))
			backend := m.Backend()
			cache := newCache(t, m, 600)
			tokens := m.Config().Tokens
			prompt := func(i, before, pictures int) (p model.Prompt) {
				p.IDs = append(p.IDs, slices.Repeat([]int{8}, before)...)
				for j := range pictures {
					f, err := m.Encode(t.Context(), picture(m, 2*i+j+1))
					if err != nil {
						t.Fatal(err)
					}
					p.Images = append(p.Images, f)
					p.IDs = append(p.IDs, slices.Repeat([]int{tokens.Image}, f.Tokens)...)
				}
				p.IDs = append(p.IDs, slices.Repeat([]int{5 + i}, 3-before)...)
				return p
			}
			for _, c := range []struct {
				what             string
				before, pictures int   // words before pictures, which others follow
				built            []int // graphs, of each prompt in turn
			}{
				{"words", 0, 0, []int{1, 1, 0, 0, 0}},
				{"a picture", 0, 1, []int{1, 1, 0, 0, 0, 0}},
				{"two pictures", 0, 2, []int{1, 1, 0, 0}},
				{"a picture again", 0, 1, []int{0, 0}},
				{"a picture among words", 1, 1, []int{1, 1, 0}},
				{"words, of which the graph is gone", 0, 0, []int{1, 1, 0}},
			} {
				for i, built := range c.built {
					p := prompt(i, c.before, c.pictures)
					want := prefill(t, m, newCache(t, m, 600), p)
					backend.TakeCounts()
					got := prefill(t, m, cache, p)
					if n := backend.TakeCounts(); n != (ggml.Counts{Computed: 1, Built: built, Splits: 1}) {
						t.Errorf("%s, prompt %d: %+v, want %d built", c.what, i, n, built)
					}
					if !slices.Equal(got, want) {
						t.Errorf("%s, prompt %d: other logits than on a new cache", c.what, i)
					}
				}
			}
		})
	}
}

// TestKeptPromptCanceled cancels prompts whose graph is kept: it is kept no longer, and those
// after them are right.
func TestKeptPromptCanceled(t *testing.T) {
	m := openOn(t, convertTo(t, "pg1-tiny", "f32"), otherDevice(t))
	cache := newCache(t, m, 64)
	want := prefill(t, m, newCache(t, m, 64), model.Prompt{IDs: []int{2, 8, 9}})
	for i := range 4 {
		for range 3 {
			if got := prefill(t, m, cache, model.Prompt{IDs: []int{2, 8, 9}}); !slices.Equal(got, want) {
				t.Fatalf("round %d: other logits", i)
			}
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		s := cache.NewSequence(8)
		if _, err := m.Prefill(ctx, s, model.Prompt{IDs: []int{2, 7, 7}}); err == nil {
			t.Fatal("canceled: no error")
		}
		s.Release()
		if n := cache.Prompts(); n > 0 {
			t.Errorf("round %d: the graphs of %d prompts are kept", i, n)
		}
	}
}

// TestFirstGreedy has the likeliest token after a prompt chosen where it is computed: it is
// that of the logits, and on devices no logits come with it.
func TestFirstGreedy(t *testing.T) {
	m := openOn(t, convertTo(t, "pg2-tiny", "f32"), otherDevice(t))
	cache := newCache(t, m, 64)
	for i := range 4 {
		p := model.Prompt{IDs: []int{2, 8 + i, 9}}
		logits := prefill(t, m, cache, p)
		s := cache.NewSequence(8)
		next, err := m.First(t.Context(), s, p, true)
		if err != nil || next.Logits != nil || next.Best != ggml.Largest(logits) {
			t.Errorf("prompt %d: token %d, %d logits (%v), want %d", i, next.Best, len(next.Logits), err, ggml.Largest(logits))
		}
		s.Release()
	}
}

// prefill returns the logits after a prompt, whose sequence is released.
func prefill(t *testing.T, m *model.Model, cache *model.Cache, p model.Prompt) []float32 {
	t.Helper()
	s := cache.NewSequence(len(p.IDs))
	defer s.Release()
	logits, err := m.Prefill(t.Context(), s, p)
	if err != nil {
		t.Fatal(fmt.Errorf("a prompt of %d tokens: %w", len(p.IDs), err))
	}
	return logits
}

// newCache makes a cache that is closed after the test.
func newCache(t *testing.T, m *model.Model, tokens int) *model.Cache {
	t.Helper()
	cache, err := m.NewCache(tokens)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cache.Close)
	return cache
}
