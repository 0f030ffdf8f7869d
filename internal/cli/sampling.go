package cli

import (
	"errors"
	"math/rand/v2"

	"paligemma/internal/ask"

	"github.com/spf13/pflag"
)

// samplingOptions are the flags of commands that generate text.
type samplingOptions struct {
	ask.Writing
	Scores bool // confidences are wanted: as a column of text, or by JSON
	Seeded bool // --seed is given
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

// flagName returns a flag as it is typed.
func flagName(name string) string { return "--" + name }

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
	if err := o.Check(flagName); err != nil {
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
