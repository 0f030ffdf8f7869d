package cli

import (
	"errors"
	"fmt"
	"math/rand/v2"

	"github.com/spf13/pflag"

	"paligemma/internal/model"
)

// maxLogProbs is the most that --logprobs takes.
const maxLogProbs = 100

// samplingOptions are the flags of commands that generate text.
type samplingOptions struct {
	MaxTokens int
	Beams     int // 1: none
	NumReturn int // of the beams
	LogProbs  int
	Scores    bool // confidences are wanted: as a column of text, or by JSON
	Sampling  model.Sampling

	StopRepeats bool
	Seeded      bool // --seed is given
}

func (o *samplingOptions) flags(f *pflag.FlagSet, maxTokens int) {
	f.IntVar(&o.MaxTokens, "max-tokens", maxTokens, "write at most `N` tokens")
	f.Float64Var(&o.Sampling.Temperature, "temperature", 0, "sample at temperature `T`; 0 takes the most likely token")
	f.IntVar(&o.Sampling.TopK, "top-k", 0, "sample from the `K` most likely tokens; 0: from all")
	f.Float64Var(&o.Sampling.TopP, "top-p", 1, "sample from the most likely tokens that make up probability `P`")
	f.Uint64Var(&o.Sampling.Seed, "seed", 0, "`SEED` of sampling: the same gives the same text (default random)")
	f.IntVar(&o.Beams, "beams", 1, "search with `N` beams for the most likely text")
	f.IntVar(&o.NumReturn, "num-return", 1, "give the best `N` texts of the beams")
	f.BoolVar(&o.Scores, "scores", false, "add a column to text: the confidence, 0 to 1 (JSON has it anyway)")
	f.IntVar(&o.LogProbs, "logprobs", 0, "with JSON, give the log-probability of each token and of the `N` most likely ones")
	exclude(f, "beams", "temperature", "logprobs")
}

// repeatFlag adds the flag of commands whose text may be of objects.
func (o *samplingOptions) repeatFlag(f *pflag.FlagSet) {
	f.BoolVar(&o.StopRepeats, "stop-repeats", false, "end the text before an object that is in it already: same box, codes and label")
	exclude(f, "beams", "stop-repeats")
}

// check validates the flags, and draws a seed if none was given.
func (o *samplingOptions) check(a *app, f *pflag.FlagSet) error {
	if !typed(f, "num-return") {
		o.NumReturn = max(1, min(o.NumReturn, o.Beams))
	}
	if o.LogProbs > 0 && a.common.Format == formatText {
		if typed(f, "logprobs") {
			return usageError{errors.New("--logprobs needs --format json or jsonl")}
		}
		o.LogProbs = 0
	}
	if err := o.combination(); err != nil {
		return usageError{err}
	}
	if err := o.Sampling.Validate(); err != nil {
		return usageError{err}
	}
	o.Seeded = f.Changed("seed")
	if o.Sampling.Temperature == 0 {
		for _, name := range []string{"top-k", "top-p", "seed"} {
			if typed(f, name) {
				a.note("--%s does nothing without --temperature", name)
			}
		}
	} else if !f.Changed("seed") {
		o.Sampling.Seed = rand.Uint64()
		a.detail("seed %d", o.Sampling.Seed)
	}
	return nil
}

// combination finds values that no run can have, and flags that exclude each other.
func (o *samplingOptions) combination() error {
	switch {
	case o.MaxTokens < 1:
		return fmt.Errorf("--max-tokens %d: want 1 or more", o.MaxTokens)
	case o.Sampling.TopP == 0:
		return errors.New("--top-p 0: want more than 0, up to 1")
	case o.Beams < 1 || o.Beams > model.MaxBeams:
		return fmt.Errorf("--beams %d: want 1 to %d", o.Beams, model.MaxBeams)
	case o.NumReturn < 1 || o.NumReturn > o.Beams:
		return fmt.Errorf("--num-return %d: want 1 to the number of --beams, %d", o.NumReturn, o.Beams)
	case o.LogProbs < 0 || o.LogProbs > maxLogProbs:
		return fmt.Errorf("--logprobs %d: want 0 (none) to %d", o.LogProbs, maxLogProbs)
	case o.Beams > 1 && o.Sampling.Temperature != 0:
		return errors.New("--beams and --temperature exclude each other: a beam search does not sample")
	case o.Beams > 1 && o.LogProbs > 0:
		return errors.New("--beams and --logprobs exclude each other: the score of a beam is in its alternatives")
	case o.Beams > 1 && o.StopRepeats:
		return errors.New("--beams and --stop-repeats exclude each other: beams are compared when all have ended")
	}
	return nil
}
