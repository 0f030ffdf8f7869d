package batch

import (
	"context"

	"paligemma/internal/ask"
	"paligemma/internal/engine"
	"paligemma/internal/result"
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
	q := ask.Question{
		Prompt: it.prompt, Box: r.task.Box, Choices: r.task.Choices, Rate: r.task.Rate, Pick: r.task.Pick,
		Request: r.task.Request, Return: r.task.Return,
	}
	for i := range it.record.Images {
		image, took, err := r.images.get(ctx, &it.record.Images[i])
		if err != nil {
			return err
		}
		q.Images, q.Read = append(q.Images, image), q.Read+took
		rec.Warnings = append(rec.Warnings, result.NamedWarnings(it.record.Images[i].Name, len(it.record.Images) > 1, image.Warnings)...)
	}
	if it.record.Box != nil {
		q.Box = it.record.Box
	}
	if it.record.Choices != nil {
		q.Choices = it.record.Choices
	}
	if it.record.MaxTokens > 0 {
		q.Request.MaxTokens = it.record.MaxTokens
	}
	if r.task.Objects != nil {
		if q.Objects, q.Masks = r.task.Objects(it.prompt, len(q.Images)); q.Masks {
			q.Decoder = r.task.Masks
		}
	}
	return q.Answer(ctx, r.engine, &rec.Result)
}
