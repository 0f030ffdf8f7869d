package model

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"paligemma/internal/ggml"
)

// GenerateOptions say how to continue a prompt.
type GenerateOptions struct {
	MaxTokens   int
	Sampling    Sampling
	LogProbs    bool // keep the log-probability of every token, before temperature, top-k and top-p
	TopLogProbs int  // the same, and of every step those of the N most likely tokens; 0: none
	IgnoreEOS   bool // a stop token is a token like any other: for measuring, where the number of tokens counts

	// OnToken, if set, is told every token, a stop token too, and may end the generation: by
	// any error, which is then returned, or by a Repeat or ErrStop, which are not.
	OnToken func(id int) error
}

// Repeat ends a generation that has begun to repeat itself: GenerateOptions.OnToken
// returns it.
type Repeat struct {
	Keep int // tokens; those after them are dropped
}

// Error describes the repeat.
func (r Repeat) Error() string { return fmt.Sprintf("the text repeats itself after %d tokens", r.Keep) }

// ErrStop ends a generation as a stop token does: GenerateOptions.OnToken returns it.
var ErrStop = errors.New("the text has ended")

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
	FinishStop   = "stop"   // the model wrote a stop token (TokenConfig.Stop), or OnToken returned ErrStop
	FinishLength = "length" // MaxTokens were written
	FinishRepeat = "repeat" // the model repeated itself (Repeat)
)

// Generation is the continuation of a prompt.
type Generation struct {
	Tokens        []int // without the stop token
	Dropped       int   // tokens written after those: a repeat, a stop string
	FinishReason  string
	LogProbs      []StepLogProbs // if asked for: of each of Tokens, and of the stop token at the end
	Beams         []Beam         // of a beam search, best first; Tokens are the first one's
	PrefillTokens int
	Prefill       time.Duration // the prompt, up to the first logits
	Decode        time.Duration // all after it

	PrefillGraphs, DecodeGraphs ggml.Counts // steps of several generations count for each
}

// Decoding is a generation under way: it chooses tokens by the logits of a
// sequence, and knows when to end. Who computes the logits, and for how many
// sequences at once, is the caller's affair.
type Decoding struct {
	Generation
	options GenerateOptions
	sampler *sampler
	tokens  TokenConfig
}

// NewDecoding begins a generation, before its first token.
func (m *Model) NewDecoding(o GenerateOptions) (*Decoding, error) {
	if o.MaxTokens < 0 {
		return nil, errors.New("a negative number of tokens to generate")
	}
	s, err := newSampler(o.Sampling)
	if err != nil {
		return nil, err
	}
	return &Decoding{Generation: Generation{FinishReason: FinishLength}, options: o, sampler: s, tokens: m.config.Tokens}, nil
}

// Greedy reports whether Accept needs to know no more than the likeliest token.
func (d *Decoding) Greedy() bool {
	return d.sampler.Temperature == 0 && !d.options.LogProbs && d.options.TopLogProbs == 0
}

// Accept chooses the next token by what is known of it. The generation
// is done with a stop token, a repeat, or the last token that may be written; if not, id is
// what the sequence's next step takes.
func (d *Decoding) Accept(next Next) (id int, done bool, err error) {
	if len(d.Tokens) == d.options.MaxTokens {
		return 0, true, nil
	}
	if id, err = d.sampler.choose(next); err != nil {
		return 0, true, err
	}
	if d.options.LogProbs || d.options.TopLogProbs > 0 {
		d.LogProbs = append(d.LogProbs, topLogProbs(next.Logits, id, d.options.TopLogProbs))
	}
	if d.tokens.Ends(id) && !d.options.IgnoreEOS {
		d.FinishReason, done = FinishStop, true
	} else {
		d.Tokens = append(d.Tokens, id)
		done = len(d.Tokens) == d.options.MaxTokens
	}
	if d.options.OnToken != nil {
		err = d.options.OnToken(id)
	}
	if repeat := (Repeat{}); errors.As(err, &repeat) {
		d.FinishReason = FinishRepeat
		d.Cut(repeat.Keep)
		return id, true, nil
	}
	if errors.Is(err, ErrStop) {
		d.FinishReason = FinishStop
		return id, true, nil
	}
	return id, done || err != nil, err
}

// Cut drops all tokens but the first keep.
func (g *Generation) Cut(keep int) {
	keep = min(keep, len(g.Tokens))
	g.Dropped += len(g.Tokens) - keep
	g.Tokens = g.Tokens[:keep]
	g.LogProbs = g.LogProbs[:min(keep, len(g.LogProbs))]
}

// Generate continues a prompt until a stop token or MaxTokens. What was generated
// before an error is returned with it.
func (m *Model) Generate(ctx context.Context, p Prompt, o GenerateOptions) (Generation, error) {
	d, err := m.NewDecoding(o)
	if err != nil {
		return Generation{}, err
	}
	room := len(p.IDs) + o.MaxTokens
	cache, err := m.NewCache(room)
	if err != nil {
		return d.Generation, err
	}
	defer cache.Close()
	seq, start := cache.NewSequence(room), time.Now()
	next, err := m.First(ctx, seq, p, d.Greedy())
	d.PrefillTokens, d.Prefill = len(p.IDs), time.Since(start)
	if err != nil {
		return d.Generation, err
	}
	for start := time.Now(); ; {
		id, done, err := d.Accept(next)
		if done || err != nil {
			return d.Generation, err
		}
		step, err := m.Next(ctx, []Token{{seq, id, d.Greedy()}})
		if err != nil {
			return d.Generation, err
		}
		next, d.Decode = step[0], time.Since(start)
	}
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
