package model

import (
	"context"
	"errors"
	"slices"
	"time"
)

// GenerateOptions say how to continue a prompt.
type GenerateOptions struct {
	MaxTokens   int
	Sampling    Sampling
	TopLogProbs int                // of every step keep the log-probabilities of the N most likely tokens; 0: none
	OnToken     func(id int) error // called for every token but the last, EOS; an error ends the generation
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
	FinishStop   = "stop"   // the model wrote EOS
	FinishLength = "length" // MaxTokens were written
)

// Generation is the continuation of a prompt.
type Generation struct {
	Tokens        []int // without EOS
	FinishReason  string
	LogProbs      []StepLogProbs // if asked for: of each of Tokens, and of EOS at the end
	PrefillTokens int
	Prefill       time.Duration // the prompt, up to the first logits
	Decode        time.Duration // all after it
}

// Generate continues a prompt until EOS or MaxTokens. What was generated
// before an error is returned with it.
func (m *Model) Generate(ctx context.Context, p Prompt, o GenerateOptions) (Generation, error) {
	out := Generation{PrefillTokens: len(p.IDs), FinishReason: FinishLength}
	if o.MaxTokens < 0 {
		return out, errors.New("a negative number of tokens to generate")
	}
	b, err := m.prefix(p, 1)
	if err != nil {
		return out, err
	}
	cache, err := m.NewCache(len(p.IDs) + o.MaxTokens)
	if err != nil {
		return out, err
	}
	defer cache.Close()
	sample, err := newSampler(o.Sampling)
	if err != nil {
		return out, err
	}
	start := time.Now()
	for last := len(p.IDs); ; last++ {
		b.outputs = []int{len(b.cells) - 1}
		result, err := m.forward(ctx, cache, b, tracing{})
		if err != nil {
			return out, err
		}
		if out.Prefill == 0 {
			out.Prefill = time.Since(start)
			start = time.Now()
		}
		out.Decode = time.Since(start)
		if len(out.Tokens) == o.MaxTokens {
			return out, nil
		}
		id, err := sample.next(result.logits)
		if err != nil {
			return out, err
		}
		if o.TopLogProbs > 0 {
			out.LogProbs = append(out.LogProbs, topLogProbs(result.logits, id, o.TopLogProbs))
		}
		if id == m.config.Tokens.EOS {
			out.FinishReason = FinishStop
			return out, nil
		}
		out.Tokens = append(out.Tokens, id)
		if o.OnToken != nil {
			if err := o.OnToken(id); err != nil {
				return out, err
			}
		}
		if len(out.Tokens) == o.MaxTokens {
			out.Decode = time.Since(start)
			return out, nil
		}
		b = batch{}
		if err := m.suffix(&b, []int{id}, last, 1); err != nil {
			return out, err
		}
	}
}

// topLogProbs finds the n most likely tokens; of equal ones the first.
func topLogProbs(logits []float32, id, n int) StepLogProbs {
	norm := logSumExp(logits)
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
	return StepLogProbs{TokenLogProb{id, float64(logits[id]) - norm}, top}
}
