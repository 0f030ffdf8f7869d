package cli

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"

	"github.com/spf13/pflag"

	"paligemma/internal/model"
)

// Most that --beams and --logprobs take.
const (
	maxBeams    = 64
	maxLogProbs = 100
)

// samplingOptions are the flags of commands that generate text.
type samplingOptions struct {
	MaxTokens int
	Beams     int // 1: none
	NumReturn int // of the beams
	LogProbs  int
	Scores    bool // confidences are wanted: as a column of text, or by JSON
	model.Sampling
	StopRepeats bool
}

func (o *samplingOptions) flags(f *pflag.FlagSet, maxTokens int) {
	f.IntVar(&o.MaxTokens, "max-tokens", maxTokens, "write at most `N` tokens")
	f.Float64Var(&o.Temperature, "temperature", 0, "sample at temperature `T`; 0 takes the most likely token")
	f.IntVar(&o.TopK, "top-k", 0, "sample from the `K` most likely tokens; 0: from all")
	f.Float64Var(&o.TopP, "top-p", 1, "sample from the most likely tokens that make up probability `P`")
	f.Uint64Var(&o.Seed, "seed", 0, "`SEED` of sampling: the same gives the same text (default random)")
	f.IntVar(&o.Beams, "beams", 1, "search with `N` beams for the most likely text")
	f.IntVar(&o.NumReturn, "num-return", 1, "give the best `N` texts of the beams")
	f.BoolVar(&o.Scores, "scores", false, "add a column to text: the confidence, 0 to 1 (JSON has it anyway)")
	f.IntVar(&o.LogProbs, "logprobs", 0, "with JSON, give the log-probability of each token and of the `N` most likely ones")
}

// repeatFlag adds the flag of commands whose text may be of objects.
func (o *samplingOptions) repeatFlag(f *pflag.FlagSet) {
	f.BoolVar(&o.StopRepeats, "stop-repeats", false, "end the text before an object that is in it already: same box, codes and label")
}

// check validates the flags, and draws a seed if none was given.
func (o *samplingOptions) check(a *app, f *pflag.FlagSet) error {
	if err := o.combination(); err != nil {
		return usageError{err}
	}
	if err := o.Sampling.Validate(); err != nil {
		return usageError{err}
	}
	if o.LogProbs > 0 && a.common.Format == formatText {
		return usageError{errors.New("--logprobs needs --format json or jsonl")}
	}
	if o.Temperature == 0 {
		for _, name := range []string{"top-k", "top-p", "seed"} {
			if f.Changed(name) {
				a.note("--%s does nothing without --temperature", name)
			}
		}
	} else if !f.Changed("seed") {
		o.Seed = rand.Uint64()
		a.detail("seed %d", o.Seed)
	}
	return nil
}

// combination finds values that no run can have, and flags that exclude each other.
func (o *samplingOptions) combination() error {
	switch {
	case o.MaxTokens < 1:
		return fmt.Errorf("--max-tokens %d: want 1 or more", o.MaxTokens)
	case o.TopP == 0:
		return errors.New("--top-p 0: want more than 0, up to 1")
	case o.Beams < 1 || o.Beams > maxBeams:
		return fmt.Errorf("--beams %d: want 1 to %d", o.Beams, maxBeams)
	case o.NumReturn < 1 || o.NumReturn > o.Beams:
		return fmt.Errorf("--num-return %d: want 1 to the number of --beams, %d", o.NumReturn, o.Beams)
	case o.LogProbs < 0 || o.LogProbs > maxLogProbs:
		return fmt.Errorf("--logprobs %d: want 0 (none) to %d", o.LogProbs, maxLogProbs)
	case o.Beams > 1 && o.Temperature != 0:
		return errors.New("--beams and --temperature exclude each other: a beam search does not sample")
	case o.Beams > 1 && o.LogProbs > 0:
		return errors.New("--beams and --logprobs exclude each other: the score of a beam is in its alternatives")
	case o.Beams > 1 && o.StopRepeats:
		return errors.New("--beams and --stop-repeats exclude each other: beams are compared when all have ended")
	}
	return nil
}

// Alternative is one of the texts of a beam search.
type Alternative struct {
	Text         string  `json:"text"`
	Tokens       []int   `json:"tokens"`
	Score        float64 `json:"score"` // mean log-probability, the end token counted
	FinishReason string  `json:"finish_reason"`
}

// LogProb is a token and the natural logarithm of its probability.
type LogProb struct {
	Token   int       `json:"token"`
	Text    string    `json:"text"`
	LogProb float64   `json:"logprob"`
	Top     []LogProb `json:"top,omitempty"` // the most likely tokens in its place, best first
}

// logProbs describes the tokens of a generation.
func (q *inquiry) logProbs(steps []model.StepLogProbs) []LogProb {
	describe := func(t model.TokenLogProb) LogProb {
		return LogProb{Token: t.ID, Text: q.tokenText(t.ID), LogProb: t.LogProb}
	}
	out := make([]LogProb, len(steps))
	for i, step := range steps {
		out[i] = describe(step.TokenLogProb)
		for _, t := range step.Top {
			out[i].Top = append(out[i].Top, describe(t))
		}
	}
	return out
}

// alternatives describes the best n beams.
func (q *inquiry) alternatives(beams []model.Beam, n int) []Alternative {
	out := []Alternative{}
	for _, b := range beams[:min(n, len(beams))] {
		reason := model.FinishLength
		if b.Stop {
			reason = model.FinishStop
		}
		out = append(out, Alternative{q.e.Tokenizer().Decode(b.Tokens), append([]int{}, b.Tokens...), b.Score, reason})
	}
	return out
}

// tokenText is the text of a single token; of one that has no text of its own
// (the end token, a byte of a longer character) the vocabulary's spelling.
func (q *inquiry) tokenText(id int) string {
	text := q.e.Tokenizer().Decode([]int{id})
	if text == "" || strings.Contains(text, "\uFFFD") {
		return q.e.Tokenizer().Piece(id)
	}
	return text
}
