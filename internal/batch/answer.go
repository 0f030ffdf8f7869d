package batch

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"paligemma/internal/engine"
	"paligemma/internal/model"
	"paligemma/internal/result"
	"paligemma/internal/task"
)

// Task is what is asked of the inputs.
type Task struct {
	Name    string   // of the command
	Model   string   // what the results call it
	LoRA    []string // what the results call its adapters
	Prompts []string // asked of each record that has no prompt of its own
	// Wrap makes the prompt of a record's own; nil: those are not asked.
	Wrap    func(prompt string) string
	Choices []string // rated in place of writing a text; nil: none
	Rate    bool     // texts are rated, also those of records alone
	Pick    bool     // the likeliest choice is the text
	Box     *[4]float64
	Request engine.Request // without its prompt
	Return  int            // texts of a beam search

	Masks   *engine.Masks                                         // decodes masks; nil: they stay codes
	Objects func(prompt string, images int) (objects, masks bool) // what the text is read for
}

// answer answers an item. What goes wrong with it becomes its record.
func (r *runner) answer(ctx context.Context, it *item) {
	rec := &Record{ID: it.id, Input: it.record.Input}
	rec.Task, rec.Model, rec.LoRA = r.task.Name, r.task.Model, r.task.LoRA
	if images := it.record.Images; len(images) == 1 {
		rec.Image = images[0].Name
	} else {
		for i := range images {
			rec.Images = append(rec.Images, images[i].Name)
		}
	}
	failed := *rec
	err := it.err
	if err == nil {
		err = r.ask(ctx, it, rec)
	}
	r.ahead.give(it.bytes())
	it.record.Images = nil
	if err != nil {
		if fatal(ctx, err) {
			it.fatal = err
			return
		}
		failed.Failure = newFailure(err)
		rec = &failed
	}
	if it.record.Chat {
		it.line, it.fatal = rec.chatLine()
	} else {
		it.line, it.fatal = rec.line()
	}
}

// ask answers the prompt of an item.
func (r *runner) ask(ctx context.Context, it *item, rec *Record) error {
	var read time.Duration
	var images []*engine.Image
	for i := range it.record.Images {
		image, took, err := r.images.get(ctx, &it.record.Images[i])
		if err != nil {
			return err
		}
		images, read = append(images, image), read+took
		rec.Warnings = append(rec.Warnings, result.NamedWarnings(it.record.Images[i].Name, len(it.record.Images) > 1, image.Warnings)...)
	}
	if len(images) == 1 {
		rec.Width, rec.Height = images[0].Size.X, images[0].Size.Y
	}
	prompt, err := r.ground(it, images)
	if err != nil {
		return err
	}
	rec.Prompt = &prompt
	p := engine.Prompt{Text: prompt, Images: images}
	var gen engine.Result
	if r.task.Rate {
		err = r.rate(ctx, it, p, rec, &gen)
	} else {
		gen, err = r.generate(ctx, it, p, rec)
	}
	if err != nil {
		return err
	}
	load, err := r.engine.LoadTime()
	if err != nil {
		return err
	}
	rec.AddTimings(load, read, images, gen.Generation)
	return r.findObjects(ctx, images, rec, gen)
}

// ground returns the prompt of an item, with the box that it is about.
func (r *runner) ground(it *item, images []*engine.Image) (string, error) {
	box := r.task.Box
	if it.record.Box != nil {
		box = it.record.Box
	}
	switch {
	case box == nil:
		return it.prompt, nil
	case len(images) != 1:
		return "", result.RequestError{Err: errors.New("a box is of one image")}
	}
	size, prompt := images[0].Size, it.prompt
	if box[2] > float64(size.X) || box[3] > float64(size.Y) {
		return "", result.RequestError{Err: fmt.Errorf("the box %v leaves the image, which is %d×%d pixels", *box, size.X, size.Y)}
	}
	if prompt != "" && !strings.HasSuffix(prompt, " ") {
		prompt += " "
	}
	return prompt + task.BoxTokens(*box, size.X, size.Y), nil
}

// generate has the model write a text.
func (r *runner) generate(ctx context.Context, it *item, p engine.Prompt, rec *Record) (engine.Result, error) {
	request := r.task.Request
	request.Prompt = p
	if it.record.MaxTokens > 0 {
		request.MaxTokens = it.record.MaxTokens
	}
	gen, err := r.engine.Generate(ctx, request)
	if err != nil {
		return gen, err
	}
	rec.AddGeneration(r.engine.Tokenizer(), gen, r.task.Return, request.TopLogProbs)
	return gen, nil
}

// rate has the model rate texts.
func (r *runner) rate(ctx context.Context, it *item, p engine.Prompt, rec *Record, gen *engine.Result) error {
	choices := r.task.Choices
	if it.record.Choices != nil {
		choices = it.record.Choices
	}
	if len(choices) == 0 {
		return result.RequestError{Err: errors.New(`"choices" are missing: what is to be rated?`)}
	}
	found, err := r.engine.Score(ctx, p, choices)
	if err != nil {
		return err
	}
	rec.AddScores(found.Scores, r.task.Pick)
	gen.Generation = model.Generation{PrefillTokens: found.PrefillTokens, Prefill: found.Took}
	return nil
}

// findObjects adds the objects in a text, where it is read for them.
func (r *runner) findObjects(ctx context.Context, images []*engine.Image, rec *Record, gen engine.Result) error {
	if r.task.Objects == nil || rec.Text == nil {
		return nil
	}
	objects, masks := r.task.Objects(*rec.Prompt, len(images))
	if !objects {
		return nil
	}
	o := engine.ObjectOptions{Size: images[0].Size, Spans: r.engine.Spans(gen.Generation)}
	if masks {
		o.Masks = r.task.Masks
	}
	found, err := engine.FindObjects(ctx, *rec.Text, o)
	if err != nil {
		return err
	}
	rec.AddObjects(&found, nil, masks)
	return nil
}
