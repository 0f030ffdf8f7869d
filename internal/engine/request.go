package engine

import (
	"context"
	"fmt"
	"slices"
	"time"

	"paligemma/internal/model"
	"paligemma/internal/quote"
	"paligemma/internal/task"
	"paligemma/internal/tokenizer"
)

// Prompt is what a request asks, of images or of none.
type Prompt struct {
	Text   string
	Images []*Image // encoded where that was not done before
	IDs    []int    // in place of Text, where not nil: the whole prompt, image tokens included

	// Adapters are those of LoadAdapters that the request is answered with; nil: none but
	// those of Options.
	Adapters *Adapters
}

// Request asks for a text.
type Request struct {
	Prompt
	MaxTokens   int // cut to what fits in the model's context
	Sampling    model.Sampling
	Beams       int      // above 1: a beam search
	LogProbs    bool     // of each token of the text
	TopLogProbs int      // and of that many of the most likely tokens in its place
	Stop        []string // end the text before the first of these in it; none may be empty
	StopRepeats bool     // end the text before an object that is in it already
	IgnoreEOS   bool     // stop tokens are tokens like any other: for measuring

	// OnToken, if set, is called on the caller's goroutine with each token as it
	// comes, stop tokens left out, and with the text that it completes; what may
	// begin one of Stop is held back. An error ends the generation and is returned. A
	// beam search has no such tokens.
	OnToken func(id int, text string) error

	// OnLogProbs, if set, is called before OnToken, with what the model thought of the
	// same token, where LogProbs or TopLogProbs ask for it.
	OnLogProbs func(model.StepLogProbs)
}

// Result is the answer to a Request.
type Result struct {
	model.Generation
	Text string
	Rest string // of Text, what was not given to OnToken: an incomplete character at the end

	// When the first and the last token of Text were chosen, whenever the caller
	// learns of them; zero where there are none, and of a beam search.
	FirstToken, LastToken time.Time
}

// Generate continues a prompt.
func (e *Engine) Generate(ctx context.Context, r Request) (Result, error) {
	leave, err := e.enter()
	if err != nil {
		return Result{}, err
	}
	defer leave()
	prompt, err := e.layOut(ctx, r.Prompt)
	if err != nil {
		return Result{}, err
	}
	room, err := e.room(prompt)
	if err != nil {
		return Result{}, err
	}
	if r.MaxTokens < 0 {
		return Result{}, fmt.Errorf("%d tokens to generate: want 0 or more", r.MaxTokens)
	}
	limit := min(r.MaxTokens, room)
	if err := e.checkPrompt(len(prompt.IDs), max(1, r.Beams)*limit); err != nil {
		return Result{}, err
	}
	if r.Beams > 1 {
		return e.search(ctx, prompt, r.Beams, limit)
	}
	g, err := e.newGeneration(r, prompt, limit)
	if err != nil {
		return Result{}, err
	}
	stream, finder := e.tok.NewStream(), stopFinder{stops: r.Stop}
	var onToken func(token) error
	if r.OnToken != nil {
		onToken = func(t token) error {
			if r.OnLogProbs != nil && t.logProbs != nil {
				r.OnLogProbs(*t.logProbs)
			}
			return r.OnToken(t.id, finder.push(stream.Push(t.id)))
		}
	}
	if err := e.submit(ctx, g, onToken); err != nil {
		return Result{}, err
	}
	out := Result{
		Generation: g.decoding.Generation, Text: e.tok.Decode(g.decoding.Tokens), Rest: finder.flush(stream.Flush()),
		FirstToken: g.first, LastToken: g.last,
	}
	e.cutAtStop(&out, r.Stop)
	return out, nil
}

// newGeneration makes a generation that the owner can admit.
func (e *Engine) newGeneration(r Request, prompt model.Prompt, limit int) (g *generation, err error) {
	g = &generation{prompt: prompt, images: r.Images, adapters: r.Adapters, limit: limit, tokens: make(chan token, limit), ended: make(chan struct{})}
	g.decoding, err = e.model.NewDecoding(model.GenerateOptions{
		MaxTokens:   limit,
		Sampling:    r.Sampling,
		LogProbs:    r.LogProbs,
		TopLogProbs: r.TopLogProbs,
		IgnoreEOS:   r.IgnoreEOS,
		OnToken:     e.watch(g, r),
	})
	return g, err
}

// watch passes a generation's tokens on, stop tokens left out, and ends it where
// it writes a stop string, or repeats an object if asked to end there.
func (e *Engine) watch(g *generation, r Request) func(int) error {
	var repeats task.Repeats
	stream, finder := e.tok.NewStream(), stopFinder{stops: r.Stop}
	return func(id int) error {
		if r.IgnoreEOS || !e.config.Tokens.Ends(id) {
			if g.last = time.Now(); g.first.IsZero() {
				g.first = g.last
			}
			g.tokens <- g.newToken(id)
		}
		if r.StopRepeats {
			if keep, repeated := repeats.Push(e.tok.Piece(id)); repeated {
				return model.Repeat{Keep: keep}
			}
		}
		if len(r.Stop) > 0 {
			if finder.push(stream.Push(id)); finder.found {
				return model.ErrStop
			}
		}
		return nil
	}
}

// search is a beam search. It has the model to itself.
func (e *Engine) search(ctx context.Context, prompt model.Prompt, beams, limit int) (Result, error) {
	var r Result
	err := e.compute(ctx, func(ctx context.Context) (err error) {
		r.Generation, err = e.model.BeamSearch(ctx, prompt, beams, limit)
		return err
	})
	if err != nil {
		return Result{}, err
	}
	r.Text = e.tok.Decode(r.Tokens)
	return r, nil
}

// Score is the likelihood of a text as the answer to a prompt.
type Score struct {
	model.Score
	Text string
	IDs  []int // its tokens, the end token included
}

// Scores are those of several texts.
type Scores struct {
	Scores        []Score // in the order of the texts
	PrefillTokens int
	Took          time.Duration
}

// Score rates texts as answers to one prompt, which is computed once.
func (e *Engine) Score(ctx context.Context, p Prompt, texts []string) (Scores, error) {
	leave, err := e.enter()
	if err != nil {
		return Scores{}, err
	}
	defer leave()
	prompt, err := e.layOut(ctx, p)
	if err != nil {
		return Scores{}, err
	}
	room, err := e.room(prompt)
	if err != nil {
		return Scores{}, err
	}
	start := time.Now()
	ids := make([][]int, len(texts))
	for i, text := range texts {
		if ids[i], err = e.tok.Suffix(text); err != nil {
			return Scores{}, err
		}
		if len(ids[i]) > room {
			return Scores{}, tokenizer.TooLong("%s has %d tokens; after the prompt the model's context of %d has room for %d",
				quote.Short(text), len(ids[i]), e.config.Text.Context, room)
		}
	}
	if err := e.checkPrompt(len(prompt.IDs), len(slices.Concat(ids...))); err != nil {
		return Scores{}, err
	}
	var scores []model.Score
	err = e.compute(ctx, func(ctx context.Context) (err error) {
		scores, err = e.model.Score(ctx, prompt, ids)
		return err
	})
	if err != nil {
		return Scores{}, err
	}
	out := Scores{PrefillTokens: len(prompt.IDs), Took: time.Since(start)}
	for i, s := range scores {
		out.Scores = append(out.Scores, Score{s, texts[i], ids[i]})
	}
	return out, nil
}

// Trace is a forward pass laid open.
type Trace struct {
	model.Trace
	IDs        []int   // prompt and suffix
	TokenTypes []int64 // of each: 0 prefix, 1 suffix
	Took       time.Duration
}

// Forward runs a prompt and, unless nil, its suffix in one pass, without
// generating. Of o.LogitsToKeep, more than there are stand for all.
func (e *Engine) Forward(ctx context.Context, p Prompt, suffix *string, o model.TraceOptions) (Trace, error) {
	leave, err := e.enter()
	if err != nil {
		return Trace{}, err
	}
	defer leave()
	prompt, err := e.layOut(ctx, p)
	if err != nil {
		return Trace{}, err
	}
	var after []int
	if suffix != nil {
		if after, err = e.tok.Suffix(*suffix); err != nil {
			return Trace{}, err
		}
	}
	t := Trace{IDs: slices.Concat(prompt.IDs, after), TokenTypes: tokenizer.TokenTypes(len(prompt.IDs), len(after))}
	if len(t.IDs) > e.config.Text.Context {
		return Trace{}, tokenizer.TooLong("%d tokens are more than the model's context of %d", len(t.IDs), e.config.Text.Context)
	}
	o.LogitsToKeep = min(o.LogitsToKeep, len(t.IDs))
	start := time.Now()
	err = e.compute(ctx, func(ctx context.Context) (err error) {
		if t.Trace, err = e.model.Trace(ctx, prompt, after, o); err == nil {
			err = t.checkNaN()
		}
		return err
	})
	if err != nil {
		return Trace{}, err
	}
	t.Took = time.Since(start)
	return t, nil
}

// checkNaN finds results that contain NaN.
func (t *Trace) checkNaN() error {
	if t.Loss != t.Loss || slices.ContainsFunc(t.Logits, func(v float32) bool { return v != v }) {
		return model.ErrNaN
	}
	return nil
}

// layOut makes a prompt of text and images.
func (e *Engine) layOut(ctx context.Context, p Prompt) (prompt model.Prompt, err error) {
	if err := e.ready(); err != nil {
		return prompt, err
	}
	if prompt.Images, err = e.EncodeAll(ctx, p.Images, p.Adapters); err != nil {
		return prompt, err
	}
	prompt.Adapters = p.Adapters.inModel()
	if prompt.IDs = p.IDs; p.IDs == nil {
		prompt.IDs, err = e.tok.Prompt(p.Text, len(p.Images), e.config.Vision.ImageTokens)
	}
	return prompt, err
}

// room returns how many tokens fit in the context after a prompt: the model was
// made for no more.
func (e *Engine) room(p model.Prompt) (int, error) {
	room := e.config.Text.Context - len(p.IDs)
	if room < 1 {
		return 0, tokenizer.TooLong("the prompt has %d tokens, which leaves no room in the model's context of %d", len(p.IDs), e.config.Text.Context)
	}
	return room, nil
}
