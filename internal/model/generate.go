package model

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// GenerateOptions say how to continue a prompt.
type GenerateOptions struct {
	MaxTokens   int
	Sampling    Sampling
	LogProbs    bool               // keep the log-probability of every token, before temperature, top-k and top-p
	TopLogProbs int                // the same, and of every step those of the N most likely tokens; 0: none
	IgnoreEOS   bool               // a stop token is a token like any other: for measuring, where the number of tokens counts
	OnToken     func(id int) error // called for every token but a stop token, also for those that a repeat drops; an error ends the generation

	// NewRepeats, if set, makes for each sequence what is told every token, a stop
	// token too, and says when the model has begun to repeat itself: the generation
	// then ends, with its first keep tokens.
	NewRepeats func() func(id int) (keep int, repeated bool)
}

// TokenLogProb is the natural logarithm of a token's probability.
type TokenLogProb struct {
	ID      int
	LogProb float64
}

// StepLogProbs is what the model thought of one generated token.
type StepLogProbs struct {
	TokenLogProb                // the token that was written
	Top          []TokenLogProb // the most likely ones, best first
}

// Reasons why a generation ended.
const (
	FinishStop   = "stop"   // the model wrote a stop token (TokenConfig.Stop)
	FinishLength = "length" // MaxTokens were written
	FinishRepeat = "repeat" // the model repeated itself (GenerateOptions.NewRepeats)
)

// Generation is the continuation of a prompt.
type Generation struct {
	Tokens        []int // without the stop token
	Dropped       int   // tokens written after those: a repeat
	FinishReason  string
	LogProbs      []StepLogProbs // if asked for: of each of Tokens, and of the stop token at the end
	PrefillTokens int
	Prefill       time.Duration // the prompt, up to the first logits
	Decode        time.Duration // all after it
}

// Generate continues a prompt until a stop token or MaxTokens. What was generated
// before an error is returned with it.
func (m *Model) Generate(ctx context.Context, p Prompt, o GenerateOptions) (Generation, error) {
	var onToken func(int, int) error
	if o.OnToken != nil {
		onToken = func(_, id int) error { return o.OnToken(id) }
	}
	out, err := m.GenerateBatch(ctx, []Prompt{p}, o, onToken)
	return out[0], err
}

// GenerateBatch continues several prompts, 64 at most, each as if it were alone.
// They are computed one by one and then decoded together, so that every step
// reads the weights once for all. onToken, which may be nil, is called in place
// of o.OnToken, with the prompt's number; sampling draws from a generator of
// its own for each. What was generated before an error is returned with it.
func (m *Model) GenerateBatch(ctx context.Context, prompts []Prompt, o GenerateOptions, onToken func(sequence, id int) error) ([]Generation, error) {
	out := make([]Generation, max(1, len(prompts)))
	if len(prompts) < 1 || len(prompts) > maxSequences {
		return out, fmt.Errorf("%d prompts in a batch: want 1 to %d", len(prompts), maxSequences)
	}
	if o.MaxTokens < 0 {
		return out, errors.New("a negative number of tokens to generate")
	}
	room := 0
	sequences := make([]sequence, len(prompts))
	for i, p := range prompts {
		room += len(p.IDs) + o.MaxTokens
		out[i] = Generation{PrefillTokens: len(p.IDs), FinishReason: FinishLength}
		sample, err := newSampler(o.Sampling, uint64(i))
		if err != nil {
			return out, err
		}
		sequences[i] = sequence{out: &out[i], sample: sample, last: len(p.IDs)}
		if o.NewRepeats != nil {
			sequences[i].repeats = o.NewRepeats()
		}
		if onToken != nil {
			sequences[i].onToken = func(id int) error { return onToken(i, id) }
		}
	}
	cache, err := m.NewCache(room)
	if err != nil {
		return out, err
	}
	defer cache.Close()
	for i, p := range prompts {
		start := time.Now()
		b, err := m.prefix(p, 1<<i)
		if err != nil {
			return out, err
		}
		b.outputs = []int{len(b.cells) - 1}
		result, err := m.forward(ctx, cache, b, tracing{})
		if err != nil {
			return out, err
		}
		out[i].Prefill = time.Since(start)
		if err := m.accept(&sequences[i], result.logits, o); err != nil {
			return out, err
		}
	}
	return out, m.decode(ctx, cache, sequences, o)
}

// sequence is one of the texts that grow in a batch.
type sequence struct {
	out     *Generation
	sample  *sampler
	last    int // position of the last token in the cache
	done    bool
	onToken func(id int) error                     // may be nil
	repeats func(id int) (keep int, repeated bool) // may be nil
}

// decode continues all sequences, a token of each at a time.
func (m *Model) decode(ctx context.Context, cache *Cache, sequences []sequence, o GenerateOptions) error {
	start := time.Now()
	for {
		var b batch
		var active []*sequence
		for i := range sequences {
			s := &sequences[i]
			if s.done {
				continue
			}
			if err := m.suffix(&b, s.out.Tokens[len(s.out.Tokens)-1:], s.last, 1<<i); err != nil {
				return err
			}
			s.last++
			b.outputs = append(b.outputs, len(active))
			active = append(active, s)
		}
		if len(active) == 0 {
			return nil
		}
		result, err := m.forward(ctx, cache, b, tracing{})
		if err != nil {
			return err
		}
		vocab := m.config.Text.Vocab
		for i, s := range active {
			s.out.Decode = time.Since(start)
			if err := m.accept(s, result.logits[i*vocab:(i+1)*vocab], o); err != nil {
				return err
			}
		}
	}
}

// accept chooses the next token of a sequence by its logits.
func (m *Model) accept(s *sequence, logits []float32, o GenerateOptions) error {
	if o.MaxTokens == 0 {
		s.done = true
		return nil
	}
	id, err := s.sample.next(logits)
	if err != nil {
		return err
	}
	if o.LogProbs || o.TopLogProbs > 0 {
		s.out.LogProbs = append(s.out.LogProbs, topLogProbs(logits, id, o.TopLogProbs))
	}
	stop := m.config.Tokens.Ends(id) && !o.IgnoreEOS
	if stop {
		s.out.FinishReason, s.done = FinishStop, true
	} else {
		s.out.Tokens = append(s.out.Tokens, id)
		s.done = len(s.out.Tokens) == o.MaxTokens
	}
	if s.repeats != nil {
		if keep, repeated := s.repeats(id); repeated {
			s.out.cut(keep)
			s.done = true
		}
	}
	if s.onToken != nil && !stop {
		return s.onToken(id)
	}
	return nil
}

// cut ends a generation before a repeat.
func (g *Generation) cut(keep int) {
	g.FinishReason, g.Dropped = FinishRepeat, len(g.Tokens)-keep
	g.Tokens = g.Tokens[:keep]
	g.LogProbs = g.LogProbs[:min(keep, len(g.LogProbs))]
}

// topLogProbs finds the n most likely tokens; of equal ones the first.
func topLogProbs(logits []float32, id, n int) StepLogProbs {
	norm := logSumExp(logits)
	step := StepLogProbs{TokenLogProb: TokenLogProb{id, float64(logits[id]) - norm}}
	if n == 0 {
		return step
	}
	top := make([]TokenLogProb, 0, n+1)
	for i, v := range logits {
		p := float64(v) - norm
		if len(top) == n && p <= top[n-1].LogProb {
			continue
		}
		at, _ := slices.BinarySearchFunc(top, p, func(t TokenLogProb, p float64) int {
			if t.LogProb >= p {
				return -1
			}
			return 1
		})
		top = slices.Insert(top, at, TokenLogProb{i, p})
		top = top[:min(n, len(top))]
	}
	step.Top = top
	return step
}
