package ask

import (
	"errors"
	"math"
	"strings"
	"testing"

	"paligemma/internal/model"
	"paligemma/internal/result"
)

// TestCheck finds each value that no request can have, and names its field.
func TestCheck(t *testing.T) {
	for _, c := range []struct {
		name        string
		change      func(w *Writing)
		field, says string
	}{
		{"sound", func(*Writing) {}, "", ""},
		{"beams", func(w *Writing) { w.Beams, w.NumReturn = 4, 4 }, "", ""},
		{"sampled", func(w *Writing) { w.Sampling.Temperature, w.LogProbs, w.StopRepeats = 1, 100, true }, "", ""},
		{"no tokens", func(w *Writing) { w.MaxTokens = 0 }, "max-tokens", "<max-tokens> 0: want 1 or more"},
		{"temperature", func(w *Writing) { w.Sampling.Temperature = math.NaN() }, "temperature", "<temperature> NaN: want 0 or more"},
		{"top-k", func(w *Writing) { w.Sampling.TopK = -1 }, "top-k", "<top-k> -1: want 0 or more"},
		{"top-p", func(w *Writing) { w.Sampling.TopP = 2 }, "top-p", "<top-p> 2: want 0 to 1"},
		{"top-p 0", func(w *Writing) { w.Sampling.TopP = 0 }, "top-p", "<top-p> 0: want more than 0"},
		{"no beams", func(w *Writing) { w.Beams = 0 }, "beams", "want 1 to"},
		{"many beams", func(w *Writing) { w.Beams = model.MaxBeams + 1 }, "beams", "want 1 to"},
		{"texts", func(w *Writing) { w.NumReturn = 2 }, "num-return", "the number of <beams>, 1"},
		{"log-probabilities", func(w *Writing) { w.LogProbs = 101 }, "logprobs", "to 100"},
		{"beams sampled", func(w *Writing) { w.Beams, w.Sampling.Temperature = 2, 1 }, "beams", "<beams> and <temperature>"},
		{"beams' log-probabilities", func(w *Writing) { w.Beams, w.LogProbs = 2, 1 }, "beams", "<beams> and <logprobs>"},
		{"beams and repeats", func(w *Writing) { w.Beams, w.StopRepeats = 2, true }, "beams", "<beams> and <stop-repeats>"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := Writing{MaxTokens: 1, Beams: 1, NumReturn: 1, Sampling: model.Sampling{TopP: 1}}
			c.change(&w)
			err := w.Check(func(flag string) string { return "<" + flag + ">" })
			if c.field == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			var field *FieldError
			if !errors.As(err, &field) || field.Field != c.field || !strings.Contains(err.Error(), c.says) || result.Code(err) != result.CodeInvalid {
				t.Errorf("%v of %+v, want %q of %s", err, field, c.says, c.field)
			}
		})
	}
}

func TestCheckChoices(t *testing.T) {
	for _, c := range []struct {
		name    string
		choices []string
		says    string
	}{
		{"two", []string{"a", "b"}, ""},
		{"none", nil, "two or more"},
		{"one", []string{"a"}, "two or more"},
		{"twice", []string{"a", "b", "a"}, `"a" is there twice`},
		{"empty", []string{"a", ""}, "empty"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if err := CheckChoices(c.choices); (err == nil) != (c.says == "") || err != nil && !strings.Contains(err.Error(), c.says) {
				t.Errorf("%v, want %q", err, c.says)
			}
		})
	}
}
