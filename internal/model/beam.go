package model

import (
	"cmp"
	"context"
	"fmt"
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
	stop     bool      // the model wrote a stop token
	seq      *Sequence // while it runs
}

// MaxBeams bounds a beam search.
const MaxBeams = 64

// BeamSearch continues a prompt by beam search as transformers does it
// (GenerationMixin._beam_search: length penalty 1, early_stopping False, no
// sampling). The beams are in the Generation.
func (m *Model) BeamSearch(ctx context.Context, p Prompt, beams, maxTokens int) (Generation, error) {
	run := Generation{PrefillTokens: len(p.IDs), FinishReason: FinishLength}
	if beams < 1 || beams > MaxBeams {
		return run, fmt.Errorf("%d beams: want 1 to %d", beams, MaxBeams)
	}
	if maxTokens < 1 {
		return run, fmt.Errorf("%d tokens to generate: want 1 or more", maxTokens)
	}
	cache, err := m.NewCache(len(p.IDs) + beams*min(maxTokens, beamRoom))
	if err != nil {
		return run, err
	}
	defer cache.Close()
	prompt, start := cache.NewSequence(len(p.IDs)+min(maxTokens, beamRoom)), time.Now()
	first, err := m.Prefill(ctx, prompt, p)
	if err != nil {
		return run, err
	}
	run.Prefill = time.Since(start)
	start = time.Now()
	logits, running := [][]float32{first}, []hypothesis{{seq: prompt}}
	var finished []hypothesis
	for length := 1; ; length++ {
		// Enough to go on with, should the best ones all be stop tokens.
		candidates, err := expand(running, logits, (1+m.config.Tokens.ends())*beams)
		if err != nil {
			return run, err
		}
		var next []hypothesis
		next, finished = m.sift(candidates, finished, beams, length, length == maxTokens)
		if len(next) == 0 || !canImprove(next, finished, beams, length) {
			break
		}
		if running, err = advance(ctx, running, next); err != nil {
			return run, err
		}
		if logits, err = m.Step(ctx, lastTokens(running)); err != nil {
			return run, err
		}
	}
	run.Decode = time.Since(start)
	run.setBeams(finished)
	return run, nil
}

// beamRoom is how many tokens a beam has room for at first.
const beamRoom = 32

// sift takes from the candidates, best first, those that end here and those that
// run on. At the last length all end.
func (m *Model) sift(candidates, finished []hypothesis, beams, length int, last bool) (running, ended []hypothesis) {
	for i, c := range candidates {
		c.stop = m.config.Tokens.Ends(c.tokens[len(c.tokens)-1])
		switch {
		case c.stop || last:
			if i < beams { // only the best may finish: the others are there to go on
				c.score = c.sum / float64(length)
				finished = append(finished, c)
			}
		case len(running) < beams:
			running = append(running, c)
		}
	}
	slices.SortStableFunc(finished, func(a, b hypothesis) int { return cmp.Compare(b.score, a.score) })
	return running, finished[:min(beams, len(finished))]
}

// expand continues every running beam by every token and keeps the best n.
func expand(running []hypothesis, logits [][]float32, n int) ([]hypothesis, error) {
	type candidate struct {
		sum, logProb float64
		beam, tok    int
	}
	var best []candidate // sorted, best first
	for i, h := range running {
		row := logits[i]
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

// advance gives the next beams their sequences: the last child of a beam takes
// over its sequence, the others fork it, and what has no child is released.
func advance(ctx context.Context, running, next []hypothesis) ([]hypothesis, error) {
	children := make([]int, len(running))
	for _, h := range next {
		children[h.parent]++
	}
	for i, h := range running {
		if children[i] == 0 {
			h.seq.Release()
		}
	}
	for i := range next {
		h := &next[i]
		h.seq = running[h.parent].seq
		if children[h.parent]--; children[h.parent] > 0 {
			var err error
			if h.seq, err = h.seq.Fork(ctx, beamRoom); err != nil {
				return nil, err
			}
		}
	}
	return next, nil
}

// lastTokens are what the next step takes.
func lastTokens(running []hypothesis) []Token {
	tokens := make([]Token, len(running))
	for i, h := range running {
		tokens[i] = Token{Sequence: h.seq, ID: h.tokens[len(h.tokens)-1]}
	}
	return tokens
}

// canImprove reports whether the best running beam, if it ended now, would beat
// the worst finished one (transformers' heuristic for early_stopping=False).
func canImprove(running, finished []hypothesis, beams, length int) bool {
	if len(finished) < beams {
		return true
	}
	return running[0].sum/float64(length) > finished[len(finished)-1].score
}

// setBeams makes the finished hypotheses the result; the best is the generation, too.
func (g *Generation) setBeams(finished []hypothesis) {
	for _, h := range finished {
		b := Beam{Tokens: h.tokens, Score: h.score, Stop: h.stop}
		if h.stop {
			b.Tokens = h.tokens[:len(h.tokens)-1]
		}
		g.Beams = append(g.Beams, b)
	}
	if len(g.Beams) > 0 {
		g.Tokens = g.Beams[0].Tokens
		for i, p := range finished[0].logProbs {
			g.LogProbs = append(g.LogProbs, StepLogProbs{TokenLogProb: TokenLogProb{finished[0].tokens[i], p}})
		}
		if g.Beams[0].Stop {
			g.FinishReason = FinishStop
		}
	}
}
