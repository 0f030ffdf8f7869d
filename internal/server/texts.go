package server

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"paligemma/internal/model"
	"paligemma/internal/result"
)

// answerAll answers calls about the same pictures side by side. done gets the answer of
// each as soon as it is there, on any goroutine. An error ends all of them.
func (s *Server) answerAll(ctx context.Context, calls []*call, done func(i int, r *result.Result) error) error {
	one := func(ctx context.Context, i int) error {
		r, err := s.answer(ctx, calls[i])
		if err != nil {
			return err
		}
		return done(i, &r)
	}
	if len(calls) == 1 {
		return one(ctx, 0)
	}
	if err := s.fetchOnce(ctx, calls[0].pictures); err != nil {
		return err
	}
	all, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var wg sync.WaitGroup
	for i := range calls {
		wg.Go(func() {
			if err := one(all, i); err != nil {
				cancel(err)
			}
		})
	}
	wg.Wait()
	return context.Cause(all)
}

// wholeTexts answers a request at once.
func (s *Server) wholeTexts(ctx context.Context, t *textRequest) (all []writtenText, u usage, warnings []string, err error) {
	calls := t.calls(s.o.MaxTokens)
	results := make([]*result.Result, len(calls))
	err = s.answerAll(ctx, calls, func(i int, r *result.Result) error { results[i] = r; return nil })
	if err != nil {
		return nil, u, nil, err
	}
	warnings = t.warnings
	for i, r := range results {
		texts, err := t.texts(t.firstText(i), r)
		if err != nil {
			return nil, u, nil, err
		}
		all = append(all, texts...)
		u.add(r, texts, t.sample(i))
		warnings = addWarnings(warnings, r.Warnings)
	}
	return all, u, warnings, nil
}

// fetchOnce reads the bytes of pictures that several calls share.
func (s *Server) fetchOnce(ctx context.Context, pictures []picture) error {
	for i := range pictures {
		p := &pictures[i]
		if p.data != nil {
			continue
		}
		data, err := s.fetcher.Read(ctx, p.reference)
		if err != nil {
			return err
		}
		p.data, p.reference = data, ""
	}
	return nil
}

// writtenText is one of the texts of an answer.
type writtenText struct {
	index  int // among those of the answer
	text   string
	tokens int
	score  *float64 // of a beam
	finish string   // as the interfaces have it
	steps  []result.LogProb
	result *result.Result // that it is of; what it says besides the text is about the first of its texts
	first  bool
}

// texts returns the texts of a call's answer; the first is the one with number index.
func (t *textRequest) texts(index int, r *result.Result) ([]writtenText, error) {
	one := writtenText{index: index, finish: finishReason(r.FinishReason), result: r, first: true}
	switch {
	case t.json:
		data, err := result.Marshal(r)
		if err != nil {
			return nil, err
		}
		one.text = string(data)
	case r.Text != nil:
		one.text = *r.Text
	}
	if r.Timings != nil {
		one.tokens = r.Timings.DecodeTokens
	}
	if r.Scores != nil && r.Tokens != nil { // rated, not written
		one.tokens = len(*r.Tokens)
	}
	if r.LogProbs != nil && t.logProbs {
		steps := (*r.LogProbs)[:min(len(*r.LogProbs), len(*r.Tokens))] // without the end token
		one.steps = t.likeliest(steps)
	}
	if len(r.Alternatives) == 0 {
		return []writtenText{one}, nil
	}
	one.score = &r.Alternatives[0].Score
	out := []writtenText{one}
	for i := 1; i < min(t.n, len(r.Alternatives)); i++ {
		a := &r.Alternatives[i]
		out = append(out, writtenText{index: index + i, text: a.Text, tokens: len(a.Tokens), score: &a.Score, finish: finishReason(a.FinishReason), result: r})
	}
	return out, nil
}

// finishReason is the reason why a text ended in the words of the interfaces.
func finishReason(reason string) string {
	if reason == model.FinishLength {
		return model.FinishLength
	}
	return model.FinishStop
}

// usage counts the tokens of an answer, those of images included.
type usage struct {
	Prompt     int `json:"prompt_tokens"`
	Completion int `json:"completion_tokens"`
	Total      int `json:"total_tokens"`
}

// add counts the answer of a call. A prompt counts once, however many samples it has.
func (u *usage) add(r *result.Result, texts []writtenText, sample int) {
	if r.Timings != nil && sample == 0 {
		u.Prompt += r.Timings.PrefillTokens
	}
	for _, t := range texts {
		u.Completion += t.tokens
	}
	u.Total = u.Prompt + u.Completion
}

// errGone is the error of an answer that nobody reads: its client has gone.
var errGone = fmt.Errorf("the client does not read its answer: %w", context.Canceled)

// addWarnings adds those that are not there yet.
func addWarnings(to, more []string) []string {
	to = slices.Clip(to)
	for _, w := range more {
		if !slices.Contains(to, w) {
			to = append(to, w)
		}
	}
	return to
}
