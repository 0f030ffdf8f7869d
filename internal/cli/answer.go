package cli

import (
	"cmp"
	"context"
	"errors"
	"sync"
	"time"

	"paligemma/internal/engine"
	"paligemma/internal/model"
	"paligemma/internal/result"
	"paligemma/internal/task"
)

// answer asks prompt n of an item about its images, and prints the result.
func (r *run) answer(ctx context.Context, it *item, n int, images []*Image) (result.Result, error) {
	res := r.newResult(it, images)
	prompt := it.prompts[n]
	if box := it.box; box != nil || r.box != nil {
		if box == nil {
			box = &r.box.corners
		}
		size := images[0].fitted.Size
		prompt = task.Ground(prompt, *box, size.X, size.Y)
	}
	res.Prompt = &prompt
	var err error
	if r.suffixes != nil {
		err = r.score(ctx, images, &res)
	} else {
		err = r.generate(ctx, it, images, &res)
	}
	if err == nil {
		r.logTimings(&res)
	}
	return res, err
}

// fitted returns the images as the engine takes them.
func fitted(images []*Image) []*engine.Image {
	var all []*engine.Image
	for _, image := range images {
		all = append(all, image.fitted)
	}
	return all
}

// newResult makes the result of a prompt of an item, as far as the images tell.
func (r *run) newResult(it *item, images []*Image) result.Result {
	res := result.Result{Line: it.line, Task: r.task, Model: r.model.name(), LoRA: r.model.LoRA}
	for _, image := range images {
		res.Images = append(res.Images, image.path)
		res.Warnings = append(res.Warnings, result.NamedWarnings(image.path, len(images) > 1, image.fitted.Warnings)...)
	}
	if !r.join && len(images) == 1 {
		res.Image, res.Images = images[0].path, nil
		res.Width, res.Height = images[0].fitted.Size.X, images[0].fitted.Size.Y
	}
	return res
}

// addTimings adds to a result how long a generation took, and what came before it.
func (r *run) addTimings(res *result.Result, images []*Image, gen model.Generation) error {
	load, err := r.engine.LoadTime()
	var read time.Duration
	for _, image := range images {
		read += image.took
	}
	res.AddTimings(load, read, fitted(images), gen)
	return err
}

func (r *run) logTimings(res *result.Result) {
	if !r.common.Timings {
		return
	}
	label := ""
	if r.printer.paths {
		label = res.Image + ": "
	}
	r.say(label + res.Timings.String())
}

// generate has the model answer a prompt, and prints the text: as it comes, when
// it has ended, or with what is in it.
func (r *run) generate(ctx context.Context, it *item, images []*Image, res *result.Result) error {
	streaming := r.streams()
	gen, err := r.decode(ctx, it, images, res, streaming)
	if err != nil {
		return err
	}
	if gen.Dropped > 0 {
		r.detail("the text ends where it repeats itself: tokens left out: %d", gen.Dropped)
	}
	r.outcomes.add(gen.FinishReason)
	if err = r.addTimings(res, images, gen.Generation); err != nil {
		return err
	}
	if streaming {
		return errors.Join(r.printer.part(gen.Rest), r.printer.end())
	}
	if r.printer.format == formatText && r.objects == nil {
		return r.printTexts(res.Image, gen)
	}
	res.AddGeneration(r.engine.Tokenizer(), gen, r.sampling.NumReturn, r.sampling.LogProbs)
	return r.printResult(ctx, it, images, res, r.engine.Spans(gen.Generation))
}

// streams reports whether text is written as it comes.
func (r *run) streams() bool {
	return r.printer.format == formatText && r.objects == nil && r.sampling.Beams <= 1 &&
		!r.sampling.StopRepeats && !r.sampling.Scores && (r.stream || r.OutTTY)
}

// decode generates the text. Where it is streamed, all but its end is printed.
func (r *run) decode(ctx context.Context, it *item, images []*Image, res *result.Result, streaming bool) (engine.Result, error) {
	stop := r.watch("prompt") // until the first token, at the latest
	defer stop()
	request := engine.Request{
		Prompt:      engine.Prompt{Text: *res.Prompt, Images: fitted(images)},
		MaxTokens:   cmp.Or(it.maxTokens, r.sampling.MaxTokens),
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
		return r.printer.begin(res.Image)
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
	for _, alternative := range result.NewAlternatives(r.engine.Tokenizer(), gen.Beams, r.sampling.NumReturn) {
		if err := write(alternative.Text, engine.Confidence(alternative.Score, 1)); err != nil {
			return err
		}
	}
	return nil
}

// printResult prints a result, with its objects if it is about objects. spans are
// the tokens of its text; nil: confidences are not known.
func (r *run) printResult(ctx context.Context, it *item, images []*Image, res *result.Result, spans []engine.TokenSpan) error {
	boxes, masks := r.wants(it, *res.Prompt)
	if !boxes {
		return r.printer.object(res)
	}
	t, ok := r.locator.targets[it]
	if !ok { // of --requests
		t = target{shown: images[0].shown()}
	}
	t = t.numbered(images[0])
	t.size = images[0].fitted.Size
	r.detail("%s: the model wrote %q", t.shown, *res.Text)
	found, err := r.locator.locateOn(ctx, images[0], r.request.limits, *res.Text, t, spans)
	if err != nil {
		return err
	}
	if done, err := r.locator.print(r.printer, res.Image, t, &found, r.sampling.Scores); done || err != nil {
		return err
	}
	res.Drawing = t.drawing
	res.AddObjects(&found.Objects, found.maskFiles, masks)
	return r.printer.object(res)
}
