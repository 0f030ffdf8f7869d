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
// prompt, which is computed once: the suffixes are its forks.
func (m *Model) Score(ctx context.Context, p Prompt, suffixes [][]int) ([]Score, error) {
	for _, s := range suffixes {
		if len(s) == 0 {
			return nil, errors.New("an empty suffix has no likelihood")
		}
	}
	cache, err := m.NewCache(len(p.IDs) + scoreTokens)
	if err != nil {
		return nil, err
	}
	defer cache.Close()
	prompt := cache.NewSequence(len(p.IDs))
	first, err := m.Prefill(ctx, prompt, p)
	if err != nil {
		return nil, err
	}
	scores := make([]Score, 0, len(suffixes))
	for len(scores) < len(suffixes) {
		group := scoreGroup(suffixes[len(scores):])
		found, err := m.scoreGroup(ctx, prompt, first, group)
		if err != nil {
			return nil, err
		}
		scores = append(scores, found...)
	}
	return scores, nil
}

// scoreGroup takes as many suffixes as fit in one step.
func scoreGroup(suffixes [][]int) [][]int {
	tokens := 0
	for i, s := range suffixes {
		if tokens += len(s); i > 0 && tokens > scoreTokens {
			return suffixes[:i]
		}
	}
	return suffixes
}

// scoreGroup scores suffixes after a prompt whose last logits are first. The last
// token of a suffix is predicted, never fed.
func (m *Model) scoreGroup(ctx context.Context, prompt *Sequence, first []float32, suffixes [][]int) ([]Score, error) {
	var tokens []Token
	for _, ids := range suffixes {
		fork, err := prompt.Fork(ctx, len(ids)-1)
		if err != nil {
			return nil, err
		}
		defer fork.Release()
		for _, id := range ids[:len(ids)-1] {
			tokens = append(tokens, Token{Sequence: fork, ID: id})
		}
	}
	logits, err := m.Step(ctx, tokens)
	if err != nil {
		return nil, err
	}
	scores := make([]Score, len(suffixes))
	for i, ids := range suffixes {
		n := len(ids) - 1
		if scores[i], err = newScore(ids, append([][]float32{first}, logits[:n]...)); err != nil {
			return nil, err
		}
		logits = logits[n:]
	}
	return scores, nil
}

// newScore rates ids, each by its row of logits.
func newScore(ids []int, logits [][]float32) (Score, error) {
	var s Score
	for i, id := range ids {
		if id < 0 || id >= len(logits[i]) {
			return s, errors.New("a suffix has a token outside the vocabulary")
		}
		p := logProb(logits[i], id)
		if p != p {
			return s, ErrNaN
		}
		s.LogProbs = append(s.LogProbs, p)
		s.Sum += p
	}
	s.Mean = s.Sum / float64(len(ids))
	return s, nil
}
