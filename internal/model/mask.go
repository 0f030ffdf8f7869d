package model

import (
	"math"
	"slices"

	"paligemma/internal/ggml"
)

// cell is what the attention mask knows of a token of a sequence.
type cell struct {
	pos    int32 // 1, 2, 3 … along its sequence
	prefix bool  // an image token or part of the prompt
}

// visible reports whether the query q may look at the key k: PaliGemma's
// prefix-LM mask (https://arxiv.org/abs/2407.07726, figure 2). The prefix
// sees all of itself and nothing of the suffix; the suffix is causal.
//
//	           i i p p s s s     i image, p prompt, s suffix or generated
//	query  i   x x x x . . .
//	       p   x x x x . . .
//	       s   x x x x x . .
//	       s   x x x x x x .
//
// In Gemma 2's layers with a sliding window of w keys a suffix token sees the
// last w, itself included; the prefix is not cut (window 3 here; 0 is none):
//
//	           i i p p s s s
//	query  i   x x x x . . .
//	       s   . . x x x . .
//	       s   . . . x x x .
func visible(q, k cell, window int) bool {
	switch {
	case q.prefix:
		return k.prefix
	case k.pos > q.pos:
		return false
	}
	return window == 0 || int(q.pos-k.pos) < window
}

// visibleRange returns the cells that the query sees: visible as a range, for the
// query's sequence begins with prompt tokens of prefix.
func visibleRange(q cell, prompt, window int) ggml.CellRange {
	if q.prefix {
		return ggml.CellRange{From: 0, To: int32(prompt)}
	}
	from := int32(0)
	if window > 0 {
		from = max(0, q.pos-int32(window))
	}
	return ggml.CellRange{From: from, To: q.pos}
}

// visibleRanges returns those of several queries.
func visibleRanges(queries []cell, prompt, window int) []ggml.CellRange {
	ranges := make([]ggml.CellRange, len(queries))
	for i, q := range queries {
		ranges[i] = visibleRange(q, prompt, window)
	}
	return ranges
}

// allVisible reports whether every query sees every key, as in a prefix: then no
// mask is needed.
func allVisible(queries, keys []cell, window int) bool {
	suffix := func(c cell) bool { return !c.prefix }
	if !slices.ContainsFunc(queries, suffix) && !slices.ContainsFunc(keys, suffix) {
		return true
	}
	for _, q := range queries {
		for _, k := range keys {
			if !visible(q, k, window) {
				return false
			}
		}
	}
	return true
}

// seenFor is what the part's tokens see in layers of a kind.
func (p *part) seenFor(a attention) []ggml.CellRange {
	if a.sliding {
		return p.near
	}
	return p.seen
}

// maskFor is the part's mask in layers of a kind.
func (p *part) maskFor(a attention) ggml.Tensor {
	if a.sliding {
		return p.window
	}
	return p.mask
}

// attentionMask is what is added to the scores, [keys, queries] innermost
// first: 0 where a query sees a key, −Inf where not.
func attentionMask(queries, keys []cell, window int) []float32 {
	mask := make([]float32, len(queries)*len(keys))
	hidden := float32(math.Inf(-1))
	for i, q := range queries {
		row := mask[i*len(keys) : (i+1)*len(keys)]
		for j, k := range keys {
			if !visible(q, k, window) {
				row[j] = hidden
			}
		}
	}
	return mask
}
