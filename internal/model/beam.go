package model

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"time"
)

// Beam is one of the continuations that a beam search found.
type Beam struct {
	Tokens []int   // without the stop token
	Score  float64 // sum of log-probabilities over the number of tokens, the stop token included in both
	Stop   bool    // the model wrote a stop token
}

// hypothesis is a beam while it grows.
type hypothesis struct {
	tokens   []int
	logProbs []float64 // of each of tokens
	sum      float64   // of logProbs
	score    float64   // sum over the length, once finished
	parent   int       // the running beam it continues
	finished bool
	stop     bool
}

// BeamSearch continues a prompt by beam search as transformers does it
// (GenerationMixin._beam_search: length penalty 1, early_stopping False, no
// sampling) and returns the beams, best first, with the timings in Generation.
func (m *Model) BeamSearch(ctx context.Context, p Prompt, beams, maxTokens int) ([]Beam, Generation, error) {
	run := Generation{PrefillTokens: len(p.IDs), FinishReason: FinishLength}
	if beams < 1 || beams > maxSequences {
		return nil, run, fmt.Errorf("%d beams: want 1 to %d", beams, maxSequences)
	}
	if maxTokens < 1 {
		return nil, run, fmt.Errorf("%d tokens to generate: want 1 or more", maxTokens)
	}
	cache, err := m.NewCache(len(p.IDs) + beams*maxTokens)
	if err != nil {
		return nil, run, err
	}
	defer cache.Close()
	b, err := m.prefix(p, ^uint64(0))
	if err != nil {
		return nil, run, err
	}
	b.outputs = []int{len(b.cells) - 1}
	start := time.Now()
	running := []hypothesis{{}}
	var finished []hypothesis
	for length := 1; ; length++ {
		out, err := m.forward(ctx, cache, b, tracing{})
		if err != nil {
			return nil, run, err
		}
		if length == 1 {
			run.Prefill = time.Since(start)
			start = time.Now()
		}
		// Enough to go on with, should the best ones all be stop tokens.
		candidates, err := m.expand(running, out.logits, (1+m.config.Tokens.ends())*beams)
		if err != nil {
			return nil, run, err
		}
		running = running[:0:0]
		for i, c := range candidates {
			c.stop = m.config.Tokens.Ends(c.tokens[len(c.tokens)-1])
			switch {
			case c.stop || length == maxTokens:
				if i < beams { // only the best may finish: the others are there to go on
					c.finished = true
					c.score = c.sum / float64(length)
					finished = append(finished, c)
				}
			case len(running) < beams:
				running = append(running, c)
			}
		}
		slices.SortStableFunc(finished, func(a, b hypothesis) int { return cmp.Compare(b.score, a.score) })
		finished = finished[:min(beams, len(finished))]
		if len(running) == 0 || length == maxTokens || !canImprove(running, finished, beams, length) {
			break
		}
		if b, err = m.advance(cache, running, len(p.IDs)+length-1); err != nil {
			return nil, run, err
		}
	}
	run.Decode = time.Since(start)
	return m.beams(finished, &run), run, nil
}

// expand continues every running beam by every token and keeps the best n.
func (m *Model) expand(running []hypothesis, logits []float32, n int) ([]hypothesis, error) {
	vocab := m.config.Text.Vocab
	type candidate struct {
		sum, logProb float64
		beam, tok    int
	}
	var best []candidate // sorted, best first
	for i, h := range running {
		row := logits[i*vocab : (i+1)*vocab]
		if _, err := argmax(row); err != nil {
			return nil, err
		}
		norm := logSumExp(row)
		for id, v := range row {
			sum := h.sum + float64(v) - norm
			if len(best) == n && sum <= best[n-1].sum {
				continue
			}
			at, _ := slices.BinarySearchFunc(best, sum, func(c candidate, sum float64) int {
				if c.sum >= sum { // equal ones stay in the order in which they came
					return -1
				}
				return 1
			})
			best = slices.Insert(best, at, candidate{sum, float64(v) - norm, i, id})
			best = best[:min(n, len(best))]
		}
	}
	out := make([]hypothesis, len(best))
	for i, c := range best {
		from := running[c.beam]
		out[i] = hypothesis{
			tokens:   append(slices.Clone(from.tokens), c.tok),
			logProbs: append(slices.Clone(from.logProbs), c.logProb),
			sum:      c.sum,
			parent:   c.beam,
		}
	}
	return out, nil
}

// advance makes the running beams' last tokens the next batch, at position
// last+1, and gives each its parent's part of the cache.
func (m *Model) advance(cache *Cache, running []hypothesis, last int) (batch, error) {
	var b batch
	parents := make([]int, len(running))
	for i, h := range running {
		parents[i] = h.parent
		if err := m.suffix(&b, h.tokens[len(h.tokens)-1:], last, 1<<i); err != nil {
			return b, err
		}
		b.outputs = append(b.outputs, i)
	}
	cache.Select(parents)
	return b, nil
}

// canImprove tells whether the best running beam, if it ended now, would beat
// the worst finished one (transformers' heuristic for early_stopping=False).
func canImprove(running, finished []hypothesis, beams, length int) bool {
	if len(finished) < beams {
		return true
	}
	return running[0].sum/float64(length) > finished[len(finished)-1].score
}

// beams converts the finished hypotheses; the best is the generation, too.
func (m *Model) beams(finished []hypothesis, run *Generation) []Beam {
	var out []Beam
	for _, h := range finished {
		b := Beam{Tokens: h.tokens, Score: h.score, Stop: h.stop}
		if h.stop {
			b.Tokens = h.tokens[:len(h.tokens)-1]
		}
		out = append(out, b)
	}
	if len(out) > 0 {
		run.Tokens = out[0].Tokens
		for i, p := range finished[0].logProbs {
			run.LogProbs = append(run.LogProbs, StepLogProbs{TokenLogProb: TokenLogProb{finished[0].tokens[i], p}})
		}
		if out[0].Stop {
			run.FinishReason = FinishStop
		}
	}
	return out
}

// logSumExp is log Σ exp(logits), in float64.
func logSumExp(logits []float32) float64 {
	top := math.Inf(-1)
	for _, v := range logits {
		top = max(top, float64(v))
	}
	sum := 0.0
	for _, v := range logits {
		sum += math.Exp(float64(v) - top)
	}
	return top + math.Log(sum)
}
