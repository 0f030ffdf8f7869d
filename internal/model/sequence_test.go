package model_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"paligemma/internal/model"
)

// TestSequencesAlone compares sequences that were computed together, forked,
// released and given the cells of others with each by itself: they have the same
// bits.
func TestSequencesAlone(t *testing.T) { testSequencesAlone(t, map[string]uint64{"f32": 6, "q8_0": 3}) }

// testSequencesAlone takes for each type of file the number of crowds that are drawn.
func testSequencesAlone(t *testing.T, crowds map[string]uint64) {
	for _, name := range checkpoints {
		for typ, seeds := range crowds {
			t.Run(name+" "+typ, func(t *testing.T) {
				m := load(t, name, typ)
				if !m.SameInCompany() {
					t.Log("this device or processor promises it for f32 only")
					return
				}
				prompts := promptsOf(t, m, name)
				for seed := range seeds {
					c := newCrowd(t, m, prompts, seed)
					for range 60 {
						c.act()
					}
					c.compare()
				}
			})
		}
	}
}

// TestMemoryIsFlat runs thousands of requests through one cache: it takes no more
// memory than a few times what is in use at most, and nothing is left in use.
func TestMemoryIsFlat(t *testing.T) {
	m := load(t, "pg1-tiny", "f32")
	c := newCrowd(t, m, promptsOf(t, m, "pg1-tiny"), 1)
	config := m.Config().Text
	cellBytes := int64(2 * 4 * config.Layers * config.KVHeads * config.HeadDim)
	most, requests := int64(0), 0
	for requests < 2000 {
		c.act()
		requests += len(c.done)
		c.done = nil
		for i := range c.texts {
			c.texts[i].steps, c.texts[i].logits = nil, nil
		}
		c.texts = slices.DeleteFunc(c.texts, func(x *text) bool {
			if x.seq.Len() < 50 {
				return false
			}
			x.seq.Release()
			requests++
			return true
		})
		most = max(most, int64(c.cache.Used())*cellBytes)
		if n := c.cache.Bytes(); n > 3*most+64*cellBytes {
			t.Fatalf("%d bytes after %d requests, of which %d were in use at most", n, requests, most)
		}
	}
	t.Logf("%d bytes after %d requests, of which %d were in use at most", c.cache.Bytes(), requests, most)
	for len(c.texts) > 0 {
		c.retire()
	}
	if n := c.cache.Used(); n != 0 {
		t.Errorf("%d cells are in use by nobody", n)
	}
}

// TestLongSequence appends far more tokens than a sequence has room for, and to its
// fork, while others lie around both.
func TestLongSequence(t *testing.T) {
	m := load(t, "pg2-tiny", "f32") // with a sliding window
	c := newCrowd(t, m, promptsOf(t, m, "pg2-tiny"), 3)
	c.admit()
	c.fork()
	c.admit()
	c.fork()
	for range 40 {
		c.step()
	}
	c.fork()
	for range 20 {
		c.step()
	}
	c.compare()
}

// TestForksInTurns steps forks of two prompts of one length in turns, whose shared
// cells are put together in one place.
func TestForksInTurns(t *testing.T) {
	m := load(t, "pg1-tiny", "f32")
	c := newCrowd(t, m, []model.Prompt{{IDs: []int{2, 14, 15}}, {IDs: []int{2, 90, 91}}}, 1)
	for i := range c.prompts {
		root := &text{prompt: i, seq: c.cache.NewSequence(8)}
		logits, err := m.Prefill(t.Context(), root.seq, c.prompts[i])
		if err != nil {
			t.Fatal(err)
		}
		root.logits = [][]float32{logits}
		c.texts = append(c.texts, root)
	}
	for i := range 8 {
		root := c.texts[i%2]
		fork, err := root.seq.Fork(t.Context(), 4)
		if err != nil {
			t.Fatal(err)
		}
		c.texts = append(c.texts, &text{seq: fork, prompt: root.prompt, logits: slices.Clone(root.logits)})
	}
	for range 3 {
		c.stepFirst(len(c.texts))
	}
	c.compare()
}

// TestManySequences makes a step of more sequences than fit in a graph: forks of one
// prompt, forks of two in turns, and sequences of their own.
func TestManySequences(t *testing.T) {
	for _, c := range []struct {
		name, kind string
		sequences  int
	}{{"pg1-tiny", "f32", 700}, {"pg2-tiny", "f32", 700}, {"pg1-tiny", "bf16", 2500}} {
		for roots := range 3 {
			t.Run(fmt.Sprintf("%s %s, %d prompts", c.name, c.kind, roots), func(t *testing.T) {
				m := load(t, c.name, c.kind)
				cache, err := m.NewCache(64)
				if err != nil {
					t.Fatal(err)
				}
				defer cache.Close()
				begin := func() *model.Sequence {
					s := cache.NewSequence(8)
					if _, err := m.Prefill(t.Context(), s, model.Prompt{IDs: []int{2, 14, 15}}); err != nil {
						t.Fatal(err)
					}
					return s
				}
				first := []*model.Sequence{begin(), begin()}
				var tokens []model.Token
				for i := range c.sequences {
					var s *model.Sequence
					if roots == 0 {
						s = begin()
					} else if s, err = first[i%roots].Fork(t.Context(), 1); err != nil {
						t.Fatal(err)
					}
					tokens = append(tokens, model.Token{Sequence: s, ID: 20 + i%3})
				}
				logits, err := m.Step(t.Context(), tokens)
				if err != nil {
					t.Fatal(err)
				}
				for i := range logits {
					alike(t, fmt.Sprintf("sequence %d next to sequence %d", i, i%3), c.kind, logits[i], logits[i%3])
					if t.Failed() || tokens[i].Sequence.Len() != 4 {
						t.Fatalf("sequence %d has %d tokens, want 4", i, tokens[i].Sequence.Len())
					}
				}
			})
		}
	}
}

// TestStepRefuses gives steps what they cannot compute: each is an error, and the
// sequences are as before.
func TestStepRefuses(t *testing.T) {
	m, other := load(t, "pg1-tiny", "f32"), load(t, "pg1-tiny", "f32")
	cache, err := m.NewCache(64)
	if err != nil {
		t.Fatal(err)
	}
	defer cache.Close()
	prompt := model.Prompt{IDs: []int{2, 14}}
	begin := func() *model.Sequence {
		s := cache.NewSequence(4)
		if _, err := m.Prefill(t.Context(), s, prompt); err != nil {
			t.Fatal(err)
		}
		return s
	}
	a, b, released := begin(), begin(), begin()
	released.Release()
	released.Release() // does nothing
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	for name, c := range map[string]struct {
		m      *model.Model
		ctx    context.Context
		tokens []model.Token
	}{
		"released":         {m, t.Context(), []model.Token{{Sequence: a, ID: 5}, {Sequence: released, ID: 5}}},
		"another model's":  {other, t.Context(), []model.Token{{Sequence: a, ID: 5}}},
		"apart":            {m, t.Context(), []model.Token{{Sequence: a, ID: 5}, {Sequence: b, ID: 5}, {Sequence: a, ID: 6}}},
		"not in the vocab": {m, t.Context(), []model.Token{{Sequence: a, ID: 5}, {Sequence: b, ID: 1 << 30}}},
		"none":             {m, t.Context(), []model.Token{{ID: 5}}},
		"negative":         {m, t.Context(), []model.Token{{Sequence: a, ID: -1}}},
		"canceled":         {m, canceled, []model.Token{{Sequence: a, ID: 5}, {Sequence: b, ID: 6}}},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := c.m.Step(c.ctx, c.tokens); err == nil {
				t.Error("no error")
			}
			if a.Len() != 2 || b.Len() != 2 {
				t.Errorf("%d and %d tokens", a.Len(), b.Len())
			}
		})
	}
	if _, err := m.Prefill(t.Context(), a, prompt); err == nil {
		t.Error("a second prompt: no error")
	}
	if _, err := m.Prefill(t.Context(), released, prompt); err == nil {
		t.Error("a prompt for a released sequence: no error")
	}
	if _, err := released.Fork(t.Context(), 1); err == nil {
		t.Error("a fork of a released sequence: no error")
	}
	logits, err := m.Step(t.Context(), []model.Token{{Sequence: a, ID: 5}, {Sequence: b, ID: 5}})
	if err != nil || !slices.Equal(logits[0], logits[1]) {
		t.Errorf("afterwards: %v", err)
	}
	cache.Close()
	if _, err := m.Step(t.Context(), []model.Token{{Sequence: a, ID: 5}}); err == nil {
		t.Error("a step after the cache was closed: no error")
	}
	if _, err := a.Fork(t.Context(), 1); err == nil {
		t.Error("a fork after the cache was closed: no error")
	}
	if _, err := m.Prefill(t.Context(), cache.NewSequence(1), prompt); err == nil {
		t.Error("a prompt after the cache was closed: no error")
	}
	a.Release() // of cells that the canceled step may have spoiled, and that are gone
}

// TestCanceled cancels a prompt and a step at every operation it has: whatever was
// computed of them, the sequence and the others go on as if nothing had been.
func TestCanceled(t *testing.T) {
	m := load(t, "pg1-tiny", "f32")
	c := newCrowd(t, m, promptsOf(t, m, "pg1-tiny"), 2)
	c.admit()
	c.fork()
	for range 50 {
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); cancel() }()
		seq := c.cache.NewSequence(32)
		_, err := c.m.Prefill(ctx, seq, c.prompts[0])
		if err == nil {
			_, err = c.m.Step(ctx, []model.Token{{Sequence: seq, ID: 9}, {Sequence: c.texts[0].seq, ID: 9}})
		}
		<-done
		if err == nil {
			c.texts[0].steps = append(c.texts[0].steps, []int{9})
			c.texts[0].logits = append(c.texts[0].logits, nil)
		} else if !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
		seq.Release()
		c.step()
	}
	c.compare()
}

// TestDecodingsTogether continues all cases of a checkpoint together, a step of all
// at a time: each must come out as transformers has it.
func TestDecodingsTogether(t *testing.T) {
	for _, name := range checkpoints {
		t.Run(name, func(t *testing.T) {
			m := load(t, name, "f32")
			cache, err := m.NewCache(64)
			if err != nil {
				t.Fatal(err)
			}
			defer cache.Close()
			type run struct {
				golden
				*model.Decoding
				seq    *model.Sequence
				logits []float32
			}
			var runs []*run
			for _, g := range goldens(t, name) {
				if g.Suffix != nil {
					continue
				}
				d, err := m.NewDecoding(model.GenerateOptions{MaxTokens: 20})
				if err != nil {
					t.Fatal(err)
				}
				r := &run{golden: g, Decoding: d, seq: cache.NewSequence(4)}
				if r.logits, err = m.Prefill(t.Context(), r.seq, g.prompt(t, m)); err != nil {
					t.Fatal(err)
				}
				runs = append(runs, r)
			}
			for len(runs) > 0 {
				var tokens []model.Token
				runs = slices.DeleteFunc(runs, func(r *run) bool {
					id, done, err := r.Accept(model.Next{Logits: r.logits})
					if err != nil {
						t.Fatal(err)
					}
					if !done {
						tokens = append(tokens, model.Token{Sequence: r.seq, ID: id})
						return false
					}
					r.seq.Release()
					want := r.Generated
					if r.StoppedByEOS {
						want = want[:len(want)-1]
					}
					if !sameInts(r.Tokens, want) || (r.FinishReason == model.FinishStop) != r.StoppedByEOS {
						t.Errorf("%s %s: %v (%s), want %v", name, r.Case, r.Tokens, r.FinishReason, want)
					}
					return true
				})
				logits, err := m.Step(t.Context(), tokens)
				if err != nil {
					t.Fatal(err)
				}
				for i, r := range runs {
					r.logits = logits[i]
				}
			}
			if n := cache.Used(); n != 0 {
				t.Error(fmt.Sprint(n, " cells are in use by nobody"))
			}
		})
	}
}

// TestForkRoom makes room for as many tokens as a fork was told of, however long what it
// shares is: none of them needs more.
func TestForkRoom(t *testing.T) {
	const room = 90
	m := load(t, "pg1-tiny", "f32")
	cache, err := m.NewCache(512)
	if err != nil {
		t.Fatal(err)
	}
	defer cache.Close()
	prompt := cache.NewSequence(60)
	if _, err := m.Prefill(t.Context(), prompt, model.Prompt{IDs: slices.Repeat([]int{2, 14}, 30)}); err != nil {
		t.Fatal(err)
	}
	before := cache.Used()
	fork, err := prompt.Fork(t.Context(), room)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := fork.Reserve(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	reserved := cache.Used() - before
	if reserved < room || reserved >= room+32 {
		t.Errorf("%d cells for %d tokens", reserved, room)
	}
	for range room {
		if _, err := m.Step(t.Context(), []model.Token{{Sequence: fork, ID: 20}}); err != nil {
			t.Fatal(err)
		}
	}
	if n := cache.Used() - before; n != reserved {
		t.Errorf("%d cells after %d tokens, %d were reserved", n, room, reserved)
	}
	fork.Release()
	if err := fork.Reserve(t.Context()); err == nil {
		t.Error("room for a fork that was released")
	}
}
