package model

import (
	"context"
	"errors"
	"time"
)

// GenerateOptions say how to continue a prompt.
type GenerateOptions struct {
	MaxTokens int
	Sampling  Sampling
	OnToken   func(id int) error // called for every token but the last, EOS; an error ends the generation
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
