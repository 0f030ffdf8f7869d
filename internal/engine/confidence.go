package engine

import (
	"math"

	"paligemma/internal/model"
	"paligemma/internal/tokenizer"
)

// Confidence returns e to the mean log-probability of tokens, given the sum. It is
// between 0 and 1, and nil if there are no tokens.
func Confidence(sum float64, tokens int) *float64 {
	if tokens == 0 {
		return nil
	}
	c := min(math.Exp(sum/float64(tokens)), 1)
	return &c
}

// Confidence returns the confidence of the whole text, the stop token included. It
// is nil unless the request asked for log-probabilities.
func (r *Result) Confidence() *float64 {
	sum := 0.0
	for _, step := range r.LogProbs {
		sum += step.LogProb
	}
	return Confidence(sum, len(r.LogProbs))
}

// TokenSpan is a token of a text: where it lies, in bytes, and its log-probability.
type TokenSpan struct {
	tokenizer.Span
	LogProb float64
}

// Spans returns the tokens of a generation's text. It is nil unless the request
// asked for log-probabilities.
func (e *Engine) Spans(g model.Generation) []TokenSpan {
	if len(g.LogProbs) < len(g.Tokens) {
		return nil
	}
	spans := make([]TokenSpan, len(g.Tokens))
	for i, span := range e.tok.Spans(g.Tokens) {
		spans[i] = TokenSpan{span, g.LogProbs[i].LogProb}
	}
	return spans
}

// spanConfidence returns the confidence of the part of a text between two bytes:
// that of the tokens which have a character there.
func spanConfidence(spans []TokenSpan, start, end int) *float64 {
	sum, tokens := 0.0, 0
	for _, s := range spans {
		if s.Start < end && s.End > start && s.Start < s.End {
			sum += s.LogProb
			tokens++
		}
	}
	return Confidence(sum, tokens)
}
