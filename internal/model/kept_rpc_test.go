//go:build rpc

package model_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"paligemma/internal/ggml"
	"paligemma/internal/gguf"
	"paligemma/internal/model"
	"paligemma/internal/testdevice"
)

// onFake are options for a device that tests make.
func onFake(t *testing.T, name string) ggml.Options {
	t.Helper()
	o := onCPU(t)
	o.Device, o.Plain = testdevice.Named(t, name).Name, false
	t.Cleanup(func() { testdevice.Room(-1) })
	return o
}

// openPasses is newPasses on a device that tests make.
func openPasses(t *testing.T, checkpoint, typ string, o ggml.Options) *passes {
	t.Helper()
	path := convertTo(t, checkpoint, typ)
	f, err := gguf.Open(path, gguf.Options{})
	if err != nil {
		t.Fatal(err)
	}
	m, backend := loadOn(t, f, o)
	return &passes{t, path, m, backend}
}

// TestDeviceRefusesToKeepTower has a device refuse memory for the graph of a pass of the tower:
// the one that is kept is given up, the pass is computed all the same, and the next one after
// there is memory again is kept.
func TestDeviceRefusesToKeepTower(t *testing.T) {
	o := onFake(t, "fake0")
	p := openPasses(t, "pg1-tiny", "f16", o)
	want := p.encode(openOn(t, p.path, o), nil, 1, 2)
	long := model.Prompt{IDs: slices.Repeat([]int{9}, 600)} // for the memory of a pass
	if _, err := p.m.Trace(t.Context(), long, nil, model.TraceOptions{LogitsToKeep: 1}); err != nil {
		t.Fatal(err)
	}
	p.encode(p.m, nil, 1)
	p.backend.TakeCounts()
	testdevice.Room(0)
	for range 2 {
		if got := p.encode(p.m, nil, 1, 2); !slices.Equal(got, want) {
			t.Error("other features where no graph can be kept")
		}
	}
	testdevice.Room(-1)
	if got := p.encode(p.m, nil, 1, 2); !slices.Equal(got, want) {
		t.Error("other features once there is memory")
	}
	p.built(5, 1)
}

// TestKeptGraphsMakeRoom has a device without any more memory asked for some: graphs that are
// kept are given up for it, and kept again once there is memory.
func TestKeptGraphsMakeRoom(t *testing.T) {
	o := onFake(t, "fake0")
	for _, c := range []struct {
		name string
		ask  func(p *passes, cache *model.Cache) error
	}{
		{"a cache", func(p *passes, _ *model.Cache) error {
			cache, err := p.m.NewCache(32)
			if err == nil {
				cache.Close()
			}
			return err
		}},
		{"cells", func(p *passes, cache *model.Cache) error {
			s := cache.NewSequence(300) // of 256
			defer s.Release()
			return s.Reserve(p.Context())
		}},
		{"adapters", func(p *passes, _ *model.Cache) error {
			const name = "blk.0.attn_q.weight"
			d := dice{rand.New(rand.NewPCG(3, 4))}
			a, err := p.m.NewAdapters([]model.Change{{Tensor: name, LowRank: []model.LowRank{d.update(specsOf(p.T, p.path)[name], 3, 0.7)}}})
			if err != nil {
				return err
			}
			defer a.Close()
			return a.Place()
		}},
		{"a prompt", func(p *passes, cache *model.Cache) error {
			s := cache.NewSequence(250)
			defer s.Release()
			_, err := p.m.Prefill(p.Context(), s, model.Prompt{IDs: slices.Repeat([]int{7}, 250)})
			return err
		}},
		{"a pass of the tower", func(p *passes, _ *model.Cache) error {
			_, err := p.m.EncodeAll(p.Context(), [][]float32{picture(p.m, 1), picture(p.m, 2)}, nil)
			return err
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := openPasses(t, "pg1-tiny", "f32", o)
			cache := newCache(t, p.m, 256)
			features := p.encode(p.m, nil, 5)
			var logits []float32
			keep := func() {
				if got := p.encode(p.m, nil, 5); !slices.Equal(got, features) {
					t.Error("other features")
				}
				for range 2 {
					got := prefill(t, p.m, cache, model.Prompt{IDs: slices.Repeat([]int{9}, 200)})
					if logits == nil {
						logits = got
					}
					if !slices.Equal(got, logits) {
						t.Error("other logits")
					}
				}
				if p.m.Encodings() != 1 || cache.Prompts() != 1 {
					t.Errorf("the graphs of %d passes and %d prompts are kept, want one each", p.m.Encodings(), cache.Prompts())
				}
			}
			keep()
			testdevice.Room(0)
			if err := c.ask(p, cache); err != nil {
				t.Error(err)
			}
			if p.m.Encodings() > 0 || cache.Prompts() > 0 {
				t.Errorf("the graphs of %d passes and %d prompts are kept", p.m.Encodings(), cache.Prompts())
			}
			testdevice.Room(-1)
			keep()
		})
	}
}

// TestCopiedCells moves the cells of sequences on devices without any more memory: that takes
// none, and graphs that are kept stay.
func TestCopiedCells(t *testing.T) {
	for _, devices := range []string{"fake0", "fake0,fake1", "cpu,fake0"} {
		t.Run(devices, func(t *testing.T) {
			p := openPasses(t, "pg1-tiny", "f32", onFake(t, devices))
			cache, other := newCache(t, p.m, 2*ggml.CellUnit), newCache(t, p.m, 2*ggml.CellUnit)
			texts := func(cache *model.Cache) (s, fork *model.Sequence) {
				s = cache.NewSequence(8)
				if _, err := p.m.Prefill(t.Context(), s, model.Prompt{IDs: []int{2, 8, 9}}); err != nil {
					t.Fatal(err)
				}
				fork, err := s.Fork(t.Context(), 8)
				if err != nil {
					t.Fatal(err)
				}
				return s, fork
			}
			step := func(s *model.Sequence, n int) (logits []float32) {
				for i := range n {
					all, err := p.m.Step(t.Context(), []model.Token{{Sequence: s, ID: 5 + i}})
					if err != nil {
						t.Fatal(err)
					}
					logits = all[0]
				}
				return logits
			}
			long, fork := texts(cache)
			step(fork, 3)
			kept := cache.Steps()
			testdevice.Room(0)
			defer testdevice.Room(-1)
			second, err := fork.Fork(t.Context(), 8) // copies what the fork wrote
			if err != nil {
				t.Fatal(err)
			}
			step(long, 29) // of the 32 cells that it had, 3 are its prompt's
			if err := long.Grow(t.Context(), 1); err != nil {
				t.Error(err)
			}
			if n := cache.Steps(); n != kept || n == 0 {
				t.Errorf("%d graphs are kept, before %d", n, kept)
			}
			got := [][]float32{step(long, 1), step(second, 1)}
			testdevice.Room(-1)
			alone, fork := texts(other)
			step(alone, 29)
			step(fork, 3)
			for i, s := range []*model.Sequence{alone, fork} {
				compare(t, fmt.Sprint("text ", i), got[i], step(s, 1), f32Tolerance)
			}
		})
	}
}

// TestUnusedCells has a device without memory for more cells than there are, and these unused:
// they are given up for others.
func TestUnusedCells(t *testing.T) {
	p := openPasses(t, "pg1-tiny", "f32", onFake(t, "fake0"))
	cache := newCache(t, p.m, 4*ggml.CellUnit)
	prompt := model.Prompt{IDs: []int{2, 8, 9}}
	want := prefill(t, p.m, cache, prompt)
	for _, c := range []struct {
		name  string
		used  int // cells
		cells int
		fails bool
	}{
		{"in use", 32, 4 * ggml.CellUnit, true},
		{"too many", 0, 7 * ggml.CellUnit, true},
		{"unused", 0, 5 * ggml.CellUnit, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			cache := newCache(t, p.m, 4*ggml.CellUnit)
			used, s := cache.NewSequence(c.used), cache.NewSequence(c.cells)
			if c.used > 0 {
				if err := used.Reserve(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			testdevice.Room(p.m.SequenceMemory(2 * ggml.CellUnit))
			defer testdevice.Room(-1)
			err := s.Reserve(t.Context())
			if errors.Is(err, ggml.ErrMemory) != c.fails || !c.fails && err != nil {
				t.Errorf("%v, want a refusal: %v", err, c.fails)
			}
			testdevice.Room(-1)
			s.Release()
			if got := prefill(t, p.m, cache, prompt); !slices.Equal(got, want) {
				t.Error("other logits afterwards")
			}
		})
	}
}

// TestStepsOfFewer has a device without any more memory compute more than it has memory for:
// steps of texts, with different adapters and without, and choices of a prompt.
// Fewer are computed together, and the results are the same.
func TestStepsOfFewer(t *testing.T) {
	o := onFake(t, "fake0")
	prompt := model.Prompt{IDs: []int{2, 8, 9}}
	texts := func(p *passes, sets ...*model.Adapters) func() []float32 {
		cache := newCache(p.T, p.m, 256)
		var tokens []model.Token
		for i := range 12 {
			s := cache.NewSequence(8)
			q := prompt
			q.Adapters = sets[i%len(sets)]
			if _, err := p.m.Prefill(p.Context(), s, q); err != nil {
				p.Fatal(err)
			}
			tokens = append(tokens, model.Token{Sequence: s, ID: 5 + i})
		}
		return func() []float32 {
			logits, err := p.m.Step(p.Context(), tokens)
			if err != nil {
				p.Fatal(err)
			}
			return slices.Concat(logits...)
		}
	}
	for _, c := range []struct {
		name    string
		prepare func(p *passes) func() []float32
	}{
		{"texts", func(p *passes) func() []float32 { return texts(p, nil) }},
		{"texts with adapters", func(p *passes) func() []float32 {
			sets := []*model.Adapters{nil}
			for _, changes := range adapterSets(p.T, p.path) {
				sets = append(sets, placed(p.T, p.m, changes))
			}
			return texts(p, sets...)
		}},
		{"choices", func(p *passes) func() []float32 {
			return func() (all []float32) {
				scores, err := p.m.Score(p.Context(), prompt, [][]int{slices.Repeat([]int{7}, 40), slices.Repeat([]int{8}, 40), slices.Repeat([]int{9}, 40)})
				if err != nil {
					p.Fatal(err)
				}
				for _, s := range scores {
					all = append(all, float32(s.Sum))
				}
				return all
			}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			want := c.prepare(openPasses(t, "pg1-tiny", "f32", o))()
			p := openPasses(t, "pg1-tiny", "f32", o)
			compute := c.prepare(p)
			defer testdevice.Room(-1)
			testdevice.Room(0)
			if c.name == "choices" {
				testdevice.Room(p.m.SequenceMemory(ggml.CellUnit) + 1_200_000) // for its cells, and for passes of one or two choices
			}
			got := compute()
			testdevice.Room(-1)
			compare(t, c.name, got, want, f32Tolerance)
		})
	}
}

// TestLittleRoom computes passes and prompts on a device that has little memory left: their
// graphs are not kept.
func TestLittleRoom(t *testing.T) {
	p := openPasses(t, "pg1-tiny", "f32", onFake(t, "fake2"))
	cache := newCache(t, p.m, 64)
	for range 3 {
		p.encode(p.m, nil, 5)
		prefill(t, p.m, cache, model.Prompt{IDs: []int{2, 8, 9}})
	}
	if p.m.Encodings() > 0 || cache.Prompts() > 0 {
		t.Errorf("the graphs of %d passes and %d prompts are kept", p.m.Encodings(), cache.Prompts())
	}
}

// TestKeptGraphsInACrowd does all kinds of things with sequences whose prompts are of few
// layouts, of pictures that come and go, while passes are canceled and the device refuses
// memory: all texts are what they are on another model, alone.
func TestKeptGraphsInACrowd(t *testing.T) {
	o := onFake(t, "fake0")
	for _, name := range []string{"pg1-tiny", "pg2-tiny"} {
		for seed := range uint64(3) {
			p := openPasses(t, name, "f32", o)
			other := openOn(t, p.path, o)
			c := &faulty{newCrowd(t, p.m, picturePrompts(t, p.m), seed), 0}
			for _, prompt := range picturePrompts(t, other) {
				c.lone = append(c.lone, lone{other, prompt})
			}
			for range 200 {
				c.act()
			}
			c.compare()
			if c.refused == 0 {
				t.Errorf("%s, seed %d: memory was never refused", name, seed)
			}
		}
	}
}

// picturePrompts are prompts of few layouts, of more pictures than a device keeps.
func picturePrompts(t *testing.T, m *model.Model) (all []model.Prompt) {
	tokens := m.Config().Tokens
	for i := range 24 {
		var p model.Prompt
		for j := range i % 3 {
			f, err := m.Encode(t.Context(), picture(m, 2*i+j+1))
			if err != nil {
				t.Fatal(err)
			}
			p.Images = append(p.Images, f)
			p.IDs = append(p.IDs, slices.Repeat([]int{tokens.Image}, f.Tokens)...)
		}
		words := []int{tokens.BOS, 5 + i, 9}
		if i%4 == 1 { // as many tokens, the pictures elsewhere
			p.IDs = append(words, p.IDs...)
		} else {
			p.IDs = append(p.IDs, words...)
		}
		all = append(all, p)
	}
	return all
}

// faulty is a crowd on a device with faults.
type faulty struct {
	*crowd
	refused int
}

// act does what a crowd does, or lets it fail.
func (c *faulty) act() {
	switch n := c.random.IntN(16); {
	case n < 3:
		c.try(c.canceled())
	case n < 6:
		testdevice.Room(int64(c.random.IntN(20_000)))
		c.try(c.Context())
		testdevice.Room(-1)
	case n < 10 && len(c.texts) < 12:
		c.admit()
	default:
		c.crowd.act()
	}
}

func (c *faulty) canceled() context.Context {
	ctx, cancel := context.WithCancel(c.Context())
	cancel()
	return ctx
}

// try computes a step of all texts, a prompt, or a picture.
func (c *faulty) try(ctx context.Context) {
	var err error
	switch n := c.random.IntN(3); {
	case n == 0 && len(c.texts) > 0:
		var tokens []model.Token
		for _, x := range c.texts {
			tokens = append(tokens, model.Token{Sequence: x.seq, ID: 8})
		}
		var logits [][]float32
		if logits, err = c.m.Step(ctx, tokens); err == nil {
			for i, x := range c.texts {
				x.steps, x.logits = append(x.steps, []int{8}), append(x.logits, logits[i])
			}
		}
	case n == 1:
		_, err = c.m.Encode(ctx, picture(c.m, 1+c.random.IntN(200)))
	default:
		s := c.cache.NewSequence(c.random.IntN(90))
		_, err = c.m.Prefill(ctx, s, c.prompts[c.random.IntN(len(c.prompts))])
		s.Release()
	}
	switch {
	case errors.Is(err, ggml.ErrMemory):
		c.refused++
	case err != nil && !errors.Is(err, context.Canceled):
		c.Fatal(err)
	}
}
