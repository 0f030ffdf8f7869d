package model_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"paligemma/internal/model"
)

// text is what a test did with a sequence, and what came of it.
type text struct {
	seq    *model.Sequence
	prompt int
	steps  [][]int     // the tokens of each
	logits [][]float32 // after the prompt, and after each token of each step
}

// crowd does all kinds of things with sequences of one cache, in random order.
type crowd struct {
	*testing.T
	m       *model.Model
	cache   *model.Cache
	prompts []model.Prompt
	lone    []lone // what computes each prompt alone; nil: m computes all
	random  *rand.Rand
	texts   []*text
	done    []*text
}

// lone is a model that computes a text by itself, and its prompt as that model takes it.
type lone struct {
	m      *model.Model
	prompt model.Prompt
}

func newCrowd(t *testing.T, m *model.Model, prompts []model.Prompt, seed uint64) *crowd {
	t.Helper()
	cache, err := m.NewCache(64) // too few: it has to grow
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cache.Close)
	return &crowd{T: t, m: m, cache: cache, prompts: prompts, random: rand.New(rand.NewPCG(seed, 5))}
}

// admit begins a text.
func (c *crowd) admit() {
	x := &text{prompt: c.random.IntN(len(c.prompts)), seq: c.cache.NewSequence(c.random.IntN(90))}
	logits, err := c.m.Prefill(context.Background(), x.seq, c.prompts[x.prompt])
	if err != nil {
		c.Fatal(err)
	}
	x.logits = append(x.logits, logits)
	c.texts = append(c.texts, x)
}

// fork doubles a text.
func (c *crowd) fork() {
	x := c.texts[c.random.IntN(len(c.texts))]
	seq, err := x.seq.Fork(context.Background(), c.random.IntN(20))
	if err != nil {
		c.Fatal(err)
	}
	c.texts = append(c.texts, &text{seq, x.prompt, slices.Clone(x.steps), slices.Clone(x.logits)})
}

// retire ends a text, wherever it is.
func (c *crowd) retire() {
	i := c.random.IntN(len(c.texts))
	c.texts[i].seq.Release()
	c.done = append(c.done, c.texts[i])
	c.texts = slices.Delete(c.texts, i, i+1)
}

// step appends some tokens to some texts.
func (c *crowd) step() {
	var texts []*text
	var ids [][]int
	for _, i := range c.random.Perm(len(c.texts))[:1+c.random.IntN(len(c.texts))] {
		texts, ids = append(texts, c.texts[i]), append(ids, nil)
		for range 1 + max(0, c.random.IntN(6)-3) {
			ids[len(ids)-1] = append(ids[len(ids)-1], 5+c.random.IntN(200))
		}
	}
	c.stepOf(texts, ids)
}

// stepOf appends tokens to each of some texts.
func (c *crowd) stepOf(texts []*text, ids [][]int) {
	c.Helper()
	var tokens []model.Token
	var to []*text
	for i, x := range texts {
		x.steps = append(x.steps, ids[i])
		for _, id := range ids[i] {
			tokens, to = append(tokens, model.Token{Sequence: x.seq, ID: id}), append(to, x)
		}
	}
	logits, err := c.m.Step(context.Background(), tokens)
	if err != nil {
		c.Fatal(err)
	}
	for i, x := range to {
		x.logits = append(x.logits, logits[i])
	}
}

// stepFirst appends a token to each of the first n texts, another to each.
func (c *crowd) stepFirst(n int) {
	c.Helper()
	var ids [][]int
	for i := range n {
		ids = append(ids, []int{30 + i})
	}
	c.stepOf(c.texts[:n], ids)
}

// act does one of these.
func (c *crowd) act() {
	switch n := c.random.IntN(10); {
	case len(c.texts) == 0 || n == 0 && len(c.texts) < 12:
		c.admit()
	case n <= 2 && len(c.texts) < 12:
		c.fork()
	case n == 3:
		c.retire()
	default:
		c.step()
	}
}

// alone computes a text with nothing else in the cache, nor ever forked.
func (c *crowd) alone(x *text) [][]float32 {
	by := lone{c.m, c.prompts[x.prompt]}
	if c.lone != nil {
		by = c.lone[x.prompt]
	}
	cache, err := by.m.NewCache(1024)
	if err != nil {
		c.Fatal(err)
	}
	defer cache.Close()
	seq := cache.NewSequence(1024)
	first, err := by.m.Prefill(context.Background(), seq, by.prompt)
	if err != nil {
		c.Fatal(err)
	}
	all := [][]float32{first}
	for _, ids := range x.steps {
		var tokens []model.Token
		for _, id := range ids {
			tokens = append(tokens, model.Token{Sequence: seq, ID: id})
		}
		logits, err := by.m.Step(context.Background(), tokens)
		if err != nil {
			c.Fatal(err)
		}
		all = append(all, logits...)
	}
	return all
}

// compare fails unless every text is what it is alone: to the last bit on the CPU, nearly
// so on other devices, which take the cells of all together. Logits that a test did not get
// are nil.
func (c *crowd) compare() {
	c.Helper()
	for _, x := range append(c.done, c.texts...) {
		for i, want := range c.alone(x) {
			if x.logits[i] == nil {
				continue
			}
			if c.m.KeepsGraphs() {
				compare(c.T, fmt.Sprintf("prompt %d, steps %v, token %d", x.prompt, x.steps, i), x.logits[i], want, f32Tolerance)
			} else if !slices.Equal(x.logits[i], want) {
				c.Fatalf("prompt %d, steps %v: the logits of token %d differ", x.prompt, x.steps, i)
			}
		}
	}
}

// promptsOf are the prompts of a checkpoint's goldens.
func promptsOf(t *testing.T, m *model.Model, name string) (prompts []model.Prompt) {
	for _, g := range goldens(t, name) {
		prompts = append(prompts, g.prompt(t, m))
	}
	return prompts
}
