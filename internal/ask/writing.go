package ask

import (
	"errors"
	"fmt"
	"slices"

	"paligemma/internal/model"
	"paligemma/internal/quote"
	"paligemma/internal/result"
)

// MaxLogProbs is how many tokens may be listed at each place of a text, with their
// log-probabilities.
const MaxLogProbs = 100

// Writing says how a text is written.
type Writing struct {
	MaxTokens   int
	Beams       int // 1: none
	NumReturn   int // of the beams
	LogProbs    int // the log-probability of each token, and of that many in its place; 0: none
	StopRepeats bool
	Sampling    model.Sampling
}

// FieldError is the error of a field of a request.
type FieldError struct {
	Field string // as the flag is called: "max-tokens"
	Err   error
}

func (e *FieldError) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e *FieldError) Unwrap() error { return e.Err }

// Check finds values that no request can have, and fields that exclude each other. The
// error, a [FieldError], calls a field what spell makes of its flag's name.
func (w *Writing) Check(spell func(flag string) string) error {
	fail := func(field, format string, args ...any) error {
		return &FieldError{field, result.RequestError{Err: fmt.Errorf(spell(field)+" "+format, args...)}}
	}
	var wrong *model.SamplingError
	if errors.As(w.Sampling.Validate(), &wrong) {
		return fail(wrong.Field, "%v: want %s", wrong.Value, wrong.Want)
	}
	switch {
	case w.MaxTokens < 1:
		return fail("max-tokens", "%d: want 1 or more", w.MaxTokens)
	case w.Sampling.TopP == 0:
		return fail("top-p", "0: want more than 0, up to 1")
	case w.Beams < 1 || w.Beams > model.MaxBeams:
		return fail("beams", "%d: want 1 to %d", w.Beams, model.MaxBeams)
	case w.NumReturn < 1 || w.NumReturn > w.Beams:
		return fail("num-return", "%d: want 1 to the number of %s, %d", w.NumReturn, spell("beams"), w.Beams)
	case w.LogProbs < 0 || w.LogProbs > MaxLogProbs:
		return fail("logprobs", "%d: want 0 (none) to %d", w.LogProbs, MaxLogProbs)
	case w.Beams == 1:
		return nil
	case w.Sampling.Temperature != 0:
		return fail("beams", "and %s exclude each other: a beam search does not sample", spell("temperature"))
	case w.LogProbs > 0:
		return fail("beams", "and %s exclude each other: the score of a beam is in its alternatives", spell("logprobs"))
	case w.StopRepeats:
		return fail("beams", "and %s exclude each other: beams are compared when all have ended", spell("stop-repeats"))
	}
	return nil
}

// CheckChoices makes sure that one of texts can be chosen: two or more, none of them
// empty or there twice.
func CheckChoices(choices []string) error {
	for i, choice := range choices {
		switch {
		case choice == "":
			return errors.New("a choice is empty")
		case slices.Contains(choices[:i], choice):
			return fmt.Errorf("%s is there twice", quote.Short(choice))
		}
	}
	if len(choices) < 2 {
		return errors.New("want two or more choices")
	}
	return nil
}
