package result

import (
	"cmp"
	"math"
	"slices"
	"strings"
	"time"

	"paligemma/internal/engine"
	"paligemma/internal/model"
	"paligemma/internal/task"
	"paligemma/internal/tokenizer"
)

// AddTimings adds how long a generation took, and what came before it: load of the
// model, read of the images. images are those of the prompt, encoded.
func (r *Result) AddTimings(load, read time.Duration, images []*engine.Image, gen model.Generation) {
	var encode time.Duration
	for _, image := range images {
		encode += image.EncodeTime()
	}
	r.Timings = &Timings{
		Load: Milliseconds(load), Image: Milliseconds(read), Vision: Milliseconds(encode),
		Prefill: Milliseconds(gen.Prefill), Decode: Milliseconds(gen.Decode),
		PrefillTokens: gen.PrefillTokens, DecodeTokens: len(gen.Tokens) + gen.Dropped,
	}
}

// AddGeneration adds a text. Of beams the best numReturn are alternatives; logProbs
// above 0 adds the log-probabilities of the tokens.
func (r *Result) AddGeneration(tok *tokenizer.Tokenizer, gen engine.Result, numReturn, logProbs int) {
	tokens := append([]int{}, gen.Tokens...)
	r.Text, r.Tokens, r.FinishReason = &gen.Text, &tokens, gen.FinishReason
	r.Confidence = gen.Confidence()
	if gen.Beams != nil {
		r.Alternatives = NewAlternatives(tok, gen.Beams, numReturn)
	}
	if logProbs > 0 {
		steps := newLogProbs(tok, gen.LogProbs)
		r.LogProbs = &steps
	}
}

// AddScores adds the scores of texts, the best first. With pick the best is the text
// of the result.
func (r *Result) AddScores(found []engine.Score, pick bool) {
	scores := make([]Score, len(found))
	for i, s := range found {
		scores[i] = newScore(s)
	}
	slices.SortStableFunc(scores, func(a, b Score) int { return cmp.Compare(b.Sum, a.Sum) })
	r.Scores = &scores
	if pick {
		best := &scores[0]
		tokens := best.Tokens[:len(best.Tokens)-1]
		r.Text, r.Tokens, r.FinishReason = &best.Suffix, &tokens, model.FinishStop
		r.Confidence = engine.Confidence(best.Mean, 1)
	}
}

// AddObjects adds the objects in a text, with a list of masks even if it is empty
// where masks are asked for. maskFiles are those of the masks, by the object's index.
func (r *Result) AddObjects(found *engine.Objects, maskFiles map[int]string, masks bool) {
	list, pieces := found.List(), found.Pieces()
	for i, path := range maskFiles {
		list[i].Mask.MaskFile = path
	}
	boxList, maskList := task.Lists(list)
	r.Objects, r.Boxes, r.Dropped = &list, &boxList, &pieces
	if found.DroppedCount > len(pieces) {
		r.DroppedCount = found.DroppedCount
	}
	if masks || found.Codes > 0 {
		r.Masks = &maskList
	}
}

func newScore(s engine.Score) Score {
	return Score{
		Suffix: s.Text, Tokens: s.IDs, LogProbs: s.LogProbs,
		Sum: s.Sum, Mean: s.Mean, Loss: -s.Mean,
		Perplexity: min(math.Exp(-s.Mean), math.MaxFloat64), // JSON has no infinity
	}
}

// NewAlternatives describes the best n beams.
func NewAlternatives(tok *tokenizer.Tokenizer, beams []model.Beam, n int) []Alternative {
	out := []Alternative{}
	for _, b := range beams[:min(n, len(beams))] {
		reason := model.FinishLength
		if b.Stop {
			reason = model.FinishStop
		}
		out = append(out, Alternative{tok.Decode(b.Tokens), append([]int{}, b.Tokens...), b.Score, reason})
	}
	return out
}

// newLogProbs describes the tokens of a generation.
func newLogProbs(tok *tokenizer.Tokenizer, steps []model.StepLogProbs) []LogProb {
	out := make([]LogProb, len(steps))
	for i, step := range steps {
		out[i] = NewLogProb(tok, step)
	}
	return out
}

// NewLogProb describes a token of a generation.
func NewLogProb(tok *tokenizer.Tokenizer, step model.StepLogProbs) LogProb {
	describe := func(t model.TokenLogProb) LogProb {
		return LogProb{Token: t.ID, Text: tokenText(tok, t.ID), LogProb: t.LogProb, Bytes: tok.Bytes(t.ID)}
	}
	out := describe(step.TokenLogProb)
	for _, t := range step.Top {
		out.Top = append(out.Top, describe(t))
	}
	return out
}

// tokenText returns the text of a single token, or the vocabulary's spelling of
// one that has no text by itself (the end token, a byte of a longer character).
func tokenText(tok *tokenizer.Tokenizer, id int) string {
	text := tok.Decode([]int{id})
	if text == "" || strings.Contains(text, "\uFFFD") {
		return tok.Piece(id)
	}
	return text
}

// NamedWarnings puts an image's path before its warnings where there are several images.
func NamedWarnings(path string, several bool, warnings []string) []string {
	if !several {
		return warnings
	}
	var out []string
	for _, w := range warnings {
		out = append(out, path+": "+w)
	}
	return out
}
