package engine_test

import (
	"context"
	"fmt"
	"image"
	"strings"
	"testing"
	"time"

	"paligemma/internal/engine"
	"paligemma/internal/ggml"
	"paligemma/internal/model"
	"paligemma/internal/testdevice"
)

// ask is a request of one kind or another.
type ask struct {
	text    engine.Request                                           // that it asks for; or
	compute func(ctx context.Context, e *engine.Engine) (any, error) // something else
}

// answer is what an engine says but for the times, when it is asked nothing else.
type answer struct {
	value any
	sure  int // tokens of a text that are the same in any company
}

// of returns an engine's answer.
func (a ask) of(ctx context.Context, e *engine.Engine) (any, error) {
	if a.compute != nil {
		return a.compute(ctx, e)
	}
	r, streamed := a.text, strings.Builder{} // its own: asks run at the same time
	if r.Beams == 0 {
		r.OnToken = func(_ int, text string) error { streamed.WriteString(text); return nil }
	}
	got, err := e.Generate(ctx, r)
	if err == nil && r.Beams == 0 && !r.StopRepeats && streamed.String()+got.Rest != got.Text {
		err = fmt.Errorf("streamed %q and %q of %q", streamed.String(), got.Rest, got.Text)
	}
	if err == nil && r.Beams == 0 && (got.FirstToken.IsZero() != (len(got.Tokens) == 0) || got.LastToken.Before(got.FirstToken)) {
		err = fmt.Errorf("%d tokens from %v to %v", len(got.Tokens), got.FirstToken, got.LastToken)
	}
	got.Prefill, got.Decode, got.FirstToken, got.LastToken = 0, 0, time.Time{}, time.Time{}
	if e.KeepsGraphs() { // which of them are new depends on what came before
		got.PrefillGraphs, got.DecodeGraphs = ggml.Counts{}, ggml.Counts{}
	}
	return got, err
}

// alone asks an engine that is asked nothing else.
func (a ask) alone(t testing.TB, e *engine.Engine) answer {
	t.Helper()
	value, err := a.of(t.Context(), e)
	if err != nil {
		t.Fatal(err)
	}
	text, ok := value.(engine.Result)
	if !ok {
		return answer{value, 0}
	}
	return answer{value, a.sure(t, e, len(text.Tokens))}
}

// sure returns how many of a text's tokens are the same in any company. Devices round as they
// take sums, and tokens that are drawn depend on the order of logits that may be as good as
// equal. On GPUs texts are the same as far as each best logit is well above the second.
func (a ask) sure(t testing.TB, e *engine.Engine, tokens int) int {
	t.Helper()
	d, r := testdevice.Chosen(t), a.text
	switch drawn := r.Sampling.Temperature > 0; {
	case d.Kernels(), d.Gap() == 0 && !drawn:
		return tokens
	case drawn, r.Beams > 1:
		return 0
	}
	r.TopLogProbs = 2
	got, err := e.Generate(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	for i, step := range got.LogProbs {
		if step.Top[0].LogProb-step.Top[1].LogProb < d.Gap() {
			return min(i, tokens)
		}
	}
	return tokens
}

// check asks an engine that others ask, too.
func (a ask) check(t testing.TB, e *engine.Engine, want answer) {
	t.Helper()
	got, err := a.of(t.Context(), e)
	if err != nil {
		t.Error(err)
		return
	}
	if text, ok := want.value.(engine.Result); ok && want.sure < len(text.Tokens) {
		tokens := got.(engine.Result).Tokens
		got, want.value = tokens[:min(want.sure, len(tokens))], text.Tokens[:want.sure]
	}
	if !engine.Same(t, got, want.value) {
		t.Errorf("%+v:\n got %.300s\nwant %.300s", a.text, fmt.Sprint(got), fmt.Sprint(want.value))
	}
}

// asks are requests of all kinds, with adapters or nil; those with the same picture share
// an image.
func asks(t testing.TB, e *engine.Engine, adapters *engine.Adapters) []ask {
	images := map[string]*engine.Image{}
	prompt := func(text string, names ...string) engine.Prompt {
		p := engine.Prompt{Text: text, Adapters: adapters}
		for _, name := range names {
			if images[name] == nil {
				images[name] = newImage(t, e, name)
			}
			p.Images = append(p.Images, images[name])
		}
		return p
	}
	generate := func(r engine.Request) ask { return ask{text: r} }
	compute := func(f func(ctx context.Context, e *engine.Engine) (any, error)) ask { return ask{compute: f} }
	sampling := func(seed uint64) model.Sampling { return model.Sampling{Temperature: 1.5, TopP: 1, Seed: seed} }
	suffix := "a cat"
	masks, err := e.NewMasks(maskTensors())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(masks.Close)
	return []ask{
		generate(engine.Request{Prompt: prompt("caption en", "scene.png"), MaxTokens: 40}),
		generate(engine.Request{Prompt: prompt("x"), MaxTokens: 60, Sampling: sampling(1)}),
		generate(engine.Request{Prompt: prompt("x"), MaxTokens: 60, Sampling: sampling(2), LogProbs: true}),
		generate(engine.Request{Prompt: prompt("detect cat", "photo.jpg"), MaxTokens: 30, StopRepeats: true}),
		generate(engine.Request{Prompt: prompt("what?", "scene.png", "photo.jpg"), MaxTokens: 12, TopLogProbs: 3}),
		generate(engine.Request{Prompt: prompt("ocr", "gray.png"), MaxTokens: 25, IgnoreEOS: true}),
		generate(engine.Request{Prompt: prompt("caption en", "scene.png"), MaxTokens: 8, Beams: 3}),
		compute(func(ctx context.Context, e *engine.Engine) (any, error) {
			s, err := e.Score(ctx, prompt("caption en", "scene.png"), []string{"a cat", "two dogs", ""})
			s.Took = 0
			return s, err
		}),
		compute(func(ctx context.Context, e *engine.Engine) (any, error) {
			t, err := e.Forward(ctx, prompt("caption en", "photo.jpg"), &suffix, model.TraceOptions{LogitsToKeep: 2})
			t.Took = 0
			return t, err
		}),
		compute(func(ctx context.Context, e *engine.Engine) (any, error) {
			return engine.FindObjects(ctx, strings.Repeat(maskText+" ; "+boxText+" ; ", 3), engine.ObjectOptions{Size: image.Pt(40, 30), Masks: masks})
		}),
	}
}
