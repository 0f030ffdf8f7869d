package model

import "math"

// cell is what the attention mask knows of a token in the cache.
type cell struct {
	pos    int32  // 1, 2, 3 … along its sequence
	seqs   uint64 // bit s: belongs to sequence s; beams share the cells of their common past
	prefix bool   // an image token or part of the prompt
}

// maxSequences is the number of sequences that share a cache.
const maxSequences = 64

// visible tells whether the query q may look at the key k: PaliGemma's
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
	case q.seqs&k.seqs == 0:
		return false
	case q.prefix:
		return k.prefix
	case k.pos > q.pos:
		return false
	}
	return window == 0 || int(q.pos-k.pos) < window
}

// allVisible tells whether every query sees every key in every layer, as in a
// prefix: then no mask is needed.
func allVisible(queries, keys []cell) bool {
	for _, q := range queries {
		if !q.prefix {
			return false
		}
		for _, k := range keys {
			if !visible(q, k, 0) {
				return false
			}
		}
	}
	return true
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
