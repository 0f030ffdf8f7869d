package model

import (
	"context"
	"errors"
)

// Score is the likelihood of one suffix.
type Score struct {
	LogProbs []float64 // natural logarithm of the probability of each token, EOS included
	Sum      float64
	Mean     float64 // Sum over the number of tokens; −Mean is the loss, exp(−Mean) the perplexity
}

// scoreTokens bounds the rows of logits that are held at once: a row of
// PaliGemma's is a megabyte.
const scoreTokens = 128

// Score computes the likelihood of every suffix (each ends with EOS) after one
// prompt, which is computed once: it does not see the suffixes, so they can
// share its part of the cache.
func (m *Model) Score(ctx context.Context, p Prompt, suffixes [][]int) ([]Score, error) {
	longest := 0
	for _, s := range suffixes {
		if len(s) == 0 {
			return nil, errors.New("an empty suffix has no likelihood")
		}
		longest = max(longest, len(s))
	}
	cache, err := m.NewCache(len(p.IDs) + max(scoreTokens, longest))
	if err != nil {
		return nil, err
	}
	defer cache.Close()
	b, err := m.prefix(p, ^uint64(0))
	if err != nil {
		return nil, err
	}
	b.outputs = []int{len(b.cells) - 1}
	out, err := m.forward(ctx, cache, b, tracing{})
	if err != nil {
		return nil, err
	}
	scores := make([]Score, 0, len(suffixes))
	for len(scores) < len(suffixes) {
		group := scoreGroup(suffixes[len(scores):])
		cache.Truncate(len(p.IDs))
		found, err := m.scoreGroup(ctx, cache, out.logits, group)
		if err != nil {
			return nil, err
		}
		scores = append(scores, found...)
	}
	return scores, nil
}

// scoreGroup takes as many suffixes as fit in one batch.
func scoreGroup(suffixes [][]int) [][]int {
	tokens := 0
	for i, s := range suffixes {
		if tokens += len(s); i > 0 && (tokens > scoreTokens || i == maxSequences) {
			return suffixes[:i]
		}
	}
	return suffixes
}

// scoreGroup scores suffixes after a prefix in the cache whose last logits are
// first. The last token of a suffix is predicted, never fed.
func (m *Model) scoreGroup(ctx context.Context, cache *Cache, first []float32, suffixes [][]int) ([]Score, error) {
	var b batch
	prefix := cache.Len()
	for s, ids := range suffixes {
		if err := m.suffix(&b, ids[:len(ids)-1], prefix, 1<<s); err != nil {
			return nil, err
		}
	}
	var logits []float32
	if len(b.cells) > 0 { // not where every suffix is a single token
		for i := range b.cells {
			b.outputs = append(b.outputs, i)
		}
		out, err := m.forward(ctx, cache, b, tracing{})
		if err != nil {
			return nil, err
		}
		logits = out.logits
	}
	vocab := m.config.Text.Vocab
	scores := make([]Score, len(suffixes))
	for i, ids := range suffixes {
		row := first
		for j, id := range ids {
			if j > 0 {
				row, logits = logits[:vocab], logits[vocab:]
			}
			if id < 0 || id >= vocab {
				return nil, errors.New("a suffix has a token outside the vocabulary")
			}
			p := logProb(row, id)
			if p != p {
				return nil, ErrNaN
			}
			scores[i].LogProbs = append(scores[i].LogProbs, p)
			scores[i].Sum += p
		}
		scores[i].Mean = scores[i].Sum / float64(len(ids))
	}
	return scores, nil
}
