package model_test

import (
	"context"
	"testing"

	"paligemma/internal/ggml"
	"paligemma/internal/model"
)

// TestCacheGrows reserves and releases cells: where attention takes those of one slab it
// grows by what is missing or by half, elsewhere others come, and the largest that is not used
// stays.
func TestCacheGrows(t *testing.T) {
	for _, plain := range []bool{true, false} {
		m := openOn(t, convertTo(t, "pg1-tiny", "f16"), ggml.Options{Device: "cpu", Threads: 1, Plain: plain})
		c := m.Config().Text
		cell := int64(2 * 2 * c.Layers * c.KVHeads * c.HeadDim) // keys and values of F16
		if n := m.SequenceMemory(33); n != 64*cell {
			t.Errorf("a sequence of 33 tokens takes %d bytes, want %d", n, 64*cell)
		}
		for _, tokens := range []int{0, 1<<24 + 1} {
			if _, err := m.NewCache(tokens); err == nil {
				t.Errorf("a cache of %d tokens: no error", tokens)
			}
		}
		cache := newCache(t, m, 300)
		var all []*model.Sequence
		for _, step := range []struct {
			tokens       int // 0: all are released
			plain, other int64
		}{
			{200, 512, 320},
			{400, 1024, 320 + 416},
			{0, 1024, 416},
			{2000, 2048, 416 + 2016},
			{32, 2048, 416 + 2016},
			{1, 3072, 416 + 2016},
			{352, 3072, 416 + 2016},
			{1, 3072, 416 + 2016 + 1216},
		} {
			if step.tokens == 0 {
				for _, s := range all {
					s.Release()
				}
			} else {
				s := cache.NewSequence(step.tokens)
				if err := s.Reserve(t.Context()); err != nil {
					t.Fatal(err)
				}
				all = append(all, s)
			}
			want := step.other
			if plain {
				want = step.plain
			}
			if got := cache.Bytes() / cell; got != want {
				t.Errorf("plain %t, %d tokens: %d cells, want %d", plain, step.tokens, got, want)
			}
		}
	}
}

// TestReleaseAfterClose releases a sequence whose cells a canceled prompt may have spoiled once
// its cache is closed.
func TestReleaseAfterClose(t *testing.T) {
	m := openOn(t, convertTo(t, "pg1-tiny", "f32"), ggml.Options{Device: "cpu", Threads: 1, Plain: true})
	cache := newCache(t, m, 64)
	s := cache.NewSequence(8)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := m.Prefill(ctx, s, model.Prompt{IDs: []int{2, 7}}); err == nil {
		t.Fatal("canceled: no error")
	}
	cache.Close()
	s.Release()
	if s.Len() > 0 {
		t.Error("a released sequence has tokens")
	}
}
