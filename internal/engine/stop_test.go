package engine_test

import (
	"slices"
	"strings"
	"testing"

	"paligemma/internal/engine"
	"paligemma/internal/model"
)

// TestStop ends a text before each part of it, wherever the tokens begin and end.
func TestStop(t *testing.T) {
	for _, name := range []string{"pg1-tiny", "pg2-tiny"} {
		t.Run(name, func(t *testing.T) {
			e := open(t, converted(t, name), 8)
			request := engine.Request{
				Prompt: engine.Prompt{Text: "caption en"}, MaxTokens: 16, TopLogProbs: 2,
				Sampling: model.Sampling{Temperature: 3, Seed: 5},
			}
			whole, err := e.Generate(t.Context(), request)
			if err != nil {
				t.Fatal(err)
			}
			for from := range whole.Text {
				for _, length := range []int{1, 2, 9} {
					if from+length <= len(whole.Text) {
						checkStop(t, e, request, &whole, []string{"no such text", whole.Text[from : from+length]})
					}
				}
			}
		})
	}
}

// checkStop compares a text that ends before the second of stops with the whole one.
func checkStop(t *testing.T, e *engine.Engine, r engine.Request, whole *engine.Result, stops []string) {
	t.Helper()
	var streamed strings.Builder
	var logProbs []model.StepLogProbs
	r.Stop = stops
	r.OnLogProbs = func(step model.StepLogProbs) { logProbs = append(logProbs, step) }
	r.OnToken = func(_ int, text string) error { streamed.WriteString(text); return nil }
	got, err := e.Generate(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	at := strings.Index(whole.Text, stops[1])
	if want := whole.Text[:at]; got.Text != want || streamed.String()+got.Rest != want || got.FinishReason != model.FinishStop {
		t.Errorf("%q: %q (%s), streamed %q and %q, want %q", stops[1], got.Text, got.FinishReason, streamed.String(), got.Rest, want)
	}
	written := len(got.Tokens) + got.Dropped
	if !slices.Equal(got.Tokens, whole.Tokens[:len(got.Tokens)]) || !strings.HasPrefix(e.Tokenizer().Decode(got.Tokens), got.Text) {
		t.Errorf("%q: the tokens are %v of %v", stops[1], got.Tokens, whole.Tokens)
	}
	// A byte may be a part of a character: what it completes is known with the next token.
	isByte := written > 1 && strings.HasPrefix(e.Tokenizer().Piece(whole.Tokens[written-2]), "<0x")
	if text := e.Tokenizer().Decode(whole.Tokens[:written-1]); !isByte && strings.Contains(text, stops[1]) {
		t.Errorf("%q: %d tokens were written, and it is in %q", stops[1], written, text)
	}
	if len(got.LogProbs) != len(got.Tokens) || len(logProbs) != written || logProbs[0].ID != whole.Tokens[0] || len(logProbs[0].Top) != 2 {
		t.Errorf("%q: %d log-probabilities of %d tokens, %d of %d while they came", stops[1], len(got.LogProbs), len(got.Tokens), len(logProbs), written)
	}
}

// A text that only begins a stop string is given whole.
func TestStopMissing(t *testing.T) {
	e := open(t, converted(t, "pg1-tiny"), 0)
	r := engine.Request{Prompt: engine.Prompt{Text: "caption en"}, MaxTokens: 6}
	whole, err := e.Generate(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	var streamed strings.Builder
	r.OnToken = func(_ int, text string) error { streamed.WriteString(text); return nil }
	for from := range whole.Text {
		r.Stop = []string{whole.Text[from:] + "!"}
		streamed.Reset()
		got, err := e.Generate(t.Context(), r)
		if err != nil || got.Text != whole.Text || streamed.String()+got.Rest != whole.Text || got.FinishReason != whole.FinishReason {
			t.Errorf("%q: %q, streamed %q and %q (%v), want %q", r.Stop, got.Text, streamed.String(), got.Rest, err, whole.Text)
		}
	}
}
