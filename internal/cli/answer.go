package cli

import (
	"context"
	"errors"
	"sync"
	"time"

	"paligemma/internal/engine"
	"paligemma/internal/model"
)

// answer asks prompt n of an item about its images, and prints the result.
func (r *run) answer(ctx context.Context, it *item, n int, images []*Image) (Result, error) {
	result := r.newResult(it, n, images)
	prompt := it.prompts[n]
	if r.box != nil {
		prompt = r.box.ground(prompt, images[0].fitted.Size)
	}
	result.Prompt = &prompt
	var err error
	if r.suffixes != nil {
		err = r.score(ctx, images, &result)
	} else {
		err = r.generate(ctx, it, images, &result)
	}
	if err == nil {
		r.logTimings(&result)
	}
	return result, err
}

// fitted returns the images as the engine takes them.
func fitted(images []*Image) []*engine.Image {
	var all []*engine.Image
	for _, image := range images {
		all = append(all, image.fitted)
	}
	return all
}

// newResult makes the result of an item's prompt, as far as the images tell.
func (r *run) newResult(it *item, n int, images []*Image) Result {
	result := Result{Task: r.task, Model: r.model.name(), LoRA: r.model.LoRA}
	if it.lines != nil {
		result.Line = it.lines[n]
	}
	for _, image := range images {
		result.Images = append(result.Images, image.path)
		result.Warnings = append(result.Warnings, named(image.path, len(images) > 1, image.fitted.Warnings)...)
	}
	if !r.join && len(images) == 1 {
		result.Image, result.Images = images[0].path, nil
		result.Width, result.Height = images[0].fitted.Size.X, images[0].fitted.Size.Y
	}
	return result
}

// timings describes how long a generation took, and what came before it.
func (r *run) timings(images []*Image, gen model.Generation) (*Timings, error) {
	load, err := r.engine.LoadTime()
	var read, encode time.Duration
	for _, image := range images {
		read += image.took
		encode += image.fitted.EncodeTime()
	}
	return &Timings{
		Load: ms(load), Image: ms(read), Vision: ms(encode),
		Prefill: ms(gen.Prefill), Decode: ms(gen.Decode),
		PrefillTokens: gen.PrefillTokens, DecodeTokens: len(gen.Tokens) + gen.Dropped,
	}, err
}

func (r *run) logTimings(result *Result) {
	if !r.common.Timings {
		return
	}
	label := ""
	if r.printer.paths {
		label = result.Image + ": "
	}
	r.say(label + result.Timings.String())
}

// generate has the model answer a prompt, and prints the text: as it comes, when
// it has ended, or with what is in it.
func (r *run) generate(ctx context.Context, it *item, images []*Image, result *Result) error {
	streaming := r.streams()
	gen, err := r.decode(ctx, images, result, streaming)
	if err != nil {
		return err
	}
	if gen.Dropped > 0 {
		r.detail("the text ends where it repeats itself: tokens left out: %d", gen.Dropped)
	}
	r.outcomes.add(gen.FinishReason)
	if result.Timings, err = r.timings(images, gen.Generation); err != nil {
		return err
	}
	if streaming {
		return errors.Join(r.printer.part(gen.Rest), r.printer.end())
	}
	if r.printer.format == formatText && r.objects == nil {
		return r.printTexts(result.Image, gen)
	}
	r.describe(result, gen)
	return r.printResult(ctx, it, images, result, r.engine.Spans(gen.Generation))
}

// streams reports whether text is written as it comes.
func (r *run) streams() bool {
	return r.printer.format == formatText && r.objects == nil && r.sampling.Beams <= 1 &&
		!r.sampling.StopRepeats && !r.sampling.Scores && (r.stream || r.OutTTY)
}

// decode generates the text. Where it is streamed, all but its end is printed.
func (r *run) decode(ctx context.Context, images []*Image, result *Result, streaming bool) (engine.Result, error) {
	stop := r.watch("prompt") // until the first token, at the latest
	defer stop()
	request := engine.Request{
		Prompt:      engine.Prompt{Text: *result.Prompt, Images: fitted(images)},
		MaxTokens:   r.sampling.MaxTokens,
		Sampling:    r.sampling.Sampling,
		Beams:       r.sampling.Beams,
		LogProbs:    r.sampling.Scores || r.printer.format != formatText,
		TopLogProbs: r.sampling.LogProbs,
		StopRepeats: r.sampling.StopRepeats,
	}
	if !streaming {
		return r.engine.Generate(ctx, request)
	}
	begin := sync.OnceValue(func() error {
		stop()
		return r.printer.begin(result.Image)
	})
	request.OnToken = func(_ int, text string) error {
		if err := begin(); err != nil {
			return err
		}
		if text == "" {
			return nil
		}
		return r.printer.part(text)
	}
	gen, err := r.engine.Generate(ctx, request)
	if err == nil {
		err = begin()
	}
	return gen, err
}

// describe adds a generation to a result.
func (r *run) describe(result *Result, gen engine.Result) {
	tok := r.engine.Tokenizer()
	tokens := append([]int{}, gen.Tokens...)
	result.Text, result.Tokens, result.FinishReason = &gen.Text, &tokens, gen.FinishReason
	result.Confidence = gen.Confidence()
	if gen.Beams != nil {
		result.Alternatives = newAlternatives(tok, gen.Beams, r.sampling.NumReturn)
	}
	if r.sampling.LogProbs > 0 {
		steps := newLogProbs(tok, gen.LogProbs)
		result.LogProbs = &steps
	}
}

// printTexts prints a generation, or the best beams, a line each.
func (r *run) printTexts(image string, gen engine.Result) error {
	write := func(text string, confidence *float64) error {
		if !r.sampling.Scores {
			return r.printer.text(image, text)
		}
		return r.printer.scored(image, confidenceColumn(confidence), text)
	}
	if r.sampling.NumReturn <= 1 {
		return write(gen.Text, gen.Confidence())
	}
	for _, alternative := range newAlternatives(r.engine.Tokenizer(), gen.Beams, r.sampling.NumReturn) {
		if err := write(alternative.Text, engine.Confidence(alternative.Score, 1)); err != nil {
			return err
		}
	}
	return nil
}

// printResult prints a result, with its objects if it is about objects. spans are
// the tokens of its text; nil: confidences are not known.
func (r *run) printResult(ctx context.Context, it *item, images []*Image, result *Result, spans []engine.TokenSpan) error {
	boxes, masks := r.wants(it, *result.Prompt)
	if !boxes {
		return r.printer.object(result)
	}
	t := r.locator.targets[it].numbered(images[0])
	t.size = images[0].fitted.Size
	r.detail("%s: the model wrote %q", t.shown, *result.Text)
	found, err := r.locator.locateOn(ctx, images[0], r.request.limits, *result.Text, t, spans)
	if err != nil {
		return err
	}
	if done, err := r.locator.print(r.printer, result.Image, t, &found, r.sampling.Scores); done || err != nil {
		return err
	}
	result.Drawing = t.drawing
	found.describe(result, masks)
	return r.printer.object(result)
}
