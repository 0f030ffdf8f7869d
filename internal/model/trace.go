package model

import (
	"context"
	"fmt"
	"slices"
)

// TraceOptions say what a forward pass shall keep.
type TraceOptions struct {
	LogitsToKeep int // of the last positions; 0: all
	HiddenStates bool
	Attentions   bool
}

// Trace is a forward pass laid open, all arrays row-major.
type Trace struct {
	Logits       []float32 // [LogitRows, vocab], the last positions
	LogitRows    int
	HiddenStates [][]float32 // layers+1 of [T, hidden]: the embeddings, after each layer, the last after the final norm
	Attentions   [][]float32 // layers of [heads, T, T]
	Labels       []int64     // with a suffix: [T], IgnoreLabel on the prefix
	Loss         float64     // with a suffix: the mean of −log p over its tokens
}

// IgnoreLabel marks positions that do not count in the loss.
const IgnoreLabel = -100

// Trace runs a prompt and its suffix (which ends with EOS; nil: none) in one
// pass without generating.
func (m *Model) Trace(ctx context.Context, p Prompt, suffix []int, o TraceOptions) (Trace, error) {
	tokens := len(p.IDs) + len(suffix)
	if o.LogitsToKeep < 0 || o.LogitsToKeep > tokens {
		return Trace{}, fmt.Errorf("logits of %d positions of %d", o.LogitsToKeep, tokens)
	}
	keep := tokens
	if o.LogitsToKeep > 0 {
		keep = o.LogitsToKeep
	}
	cache, err := m.NewCache(max(1, tokens))
	if err != nil {
		return Trace{}, err
	}
	defer cache.Close()
	b, err := m.prefix(cache.NewSequence(tokens), p)
	if err != nil {
		return Trace{}, err
	}
	b.ids = slices.Concat(b.ids, suffix)
	b.parts[0].tokens = tokens
	// The loss needs the position before the suffix and all but the last of it.
	first := tokens - max(keep, min(tokens, len(suffix)+1))
	for i := first; i < tokens; i++ {
		b.outputs = append(b.outputs, i)
	}
	result, err := m.forward(ctx, b, m.options, tracing{o.HiddenStates, o.Attentions})
	if err != nil {
		return Trace{}, err
	}
	vocab := m.config.Text.Vocab
	out := Trace{
		Logits:       result.logits[(tokens-keep-first)*vocab:],
		LogitRows:    keep,
		HiddenStates: result.hidden,
		Attentions:   result.attentions,
	}
	if len(suffix) > 0 {
		out.Labels = make([]int64, tokens)
		sum := 0.0
		for i := range out.Labels {
			out.Labels[i] = IgnoreLabel
			if j := i - len(p.IDs); j >= 0 {
				out.Labels[i] = int64(suffix[j])
				row := result.logits[(i-1-first)*vocab:][:vocab]
				sum -= logProb(row, suffix[j])
			}
		}
		out.Loss = sum / float64(len(suffix))
	}
	return out, nil
}

// logProb is log softmax(logits)[id], in float64.
func logProb(logits []float32, id int) float64 { return float64(logits[id]) - logSumExp(logits) }
