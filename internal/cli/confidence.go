package cli

import (
	"math"
	"strconv"

	"paligemma/internal/engine"
	"paligemma/internal/model"
)

// confidence returns e to the mean log-probability of tokens, which is between 0
// and 1, and nil if there are none.
func confidence(steps []model.StepLogProbs) *float64 {
	sum := 0.0
	for _, step := range steps {
		sum += step.LogProb
	}
	return confidenceOf(sum, len(steps))
}

func confidenceOf(sum float64, tokens int) *float64 {
	if tokens == 0 {
		return nil
	}
	c := min(math.Exp(sum/float64(tokens)), 1)
	return &c
}

// rater returns the confidence of the part of a text between two bytes: that of
// the tokens which have a character there. It is nil if there are none.
type rater func(start, end int) *float64

// newRater returns the rater of a generation's text.
func newRater(e *engine.Engine, gen model.Generation) rater {
	if len(gen.LogProbs) < len(gen.Tokens) {
		return nil
	}
	spans := e.Tokenizer().Spans(gen.Tokens)
	return func(start, end int) *float64 {
		sum, tokens := 0.0, 0
		for i, span := range spans {
			if span.Start < end && span.End > start && span.Start < span.End {
				sum += gen.LogProbs[i].LogProb
				tokens++
			}
		}
		return confidenceOf(sum, tokens)
	}
}

// confidenceColumn formats a confidence for a table.
func confidenceColumn(c *float64) string {
	if c == nil {
		return ""
	}
	return strconv.FormatFloat(*c, 'f', 4, 64)
}
