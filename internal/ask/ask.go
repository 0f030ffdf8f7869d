// Package ask puts a question about images to an engine, and makes the answer a
// result. It is what a batch and a server share.
package ask

import (
	"context"
	"errors"
	"image"
	"time"

	"paligemma/internal/engine"
	"paligemma/internal/model"
	"paligemma/internal/result"
	"paligemma/internal/task"
)

// Question is what is asked of images, or of none.
type Question struct {
	Prompt   string
	Images   []*engine.Image
	Adapters *engine.Adapters // that it is answered with; nil: none but the engine's own
	Box      *[4]float64      // the part of the image that is asked about, in pixels; nil: all of it
	Choices  []string         // texts to rate
	Rate     bool             // choices are rated, and no text is written
	Pick     bool             // the likeliest choice is the text
	Request  engine.Request   // how a text is written; its prompt is made of the above
	Return   int              // texts of a beam search

	Objects bool          // the text is read for objects,
	Masks   bool          // and a list of masks is wanted even if it is empty
	Decoder *engine.Masks // decodes masks; nil: they stay codes
	OnMask  func(found *engine.Objects, i int, pixels []byte) error

	// OnObjects, if set, gets the objects once their masks are decoded.
	OnObjects func(found *engine.Objects) error

	Encoded func() // if set, is called when the features of the images are there

	Written *string     // a text that is only read for objects: nothing is asked
	Size    image.Point // of the image that it is about, where that is not given

	Read time.Duration // how long reading the images took
}

// Answer asks, and fills in what a result says of the answer. On an error the result
// may be filled in part.
func (q *Question) Answer(ctx context.Context, e *engine.Engine, r *result.Result) error {
	if len(q.Images) == 1 {
		r.Width, r.Height = q.Images[0].Size.X, q.Images[0].Size.Y
	}
	if q.Written != nil {
		return q.findWritten(ctx, r)
	}
	prompt, err := q.ground()
	if err != nil {
		return err
	}
	r.Prompt = &prompt
	if err := q.encode(ctx, e); err != nil {
		return err
	}
	p := engine.Prompt{Text: prompt, Images: q.Images, Adapters: q.Adapters}
	var gen engine.Result
	if q.Rate {
		gen.Generation, err = q.rate(ctx, e, p, r)
	} else {
		gen, err = q.generate(ctx, e, p, r)
	}
	if err != nil {
		return err
	}
	load, err := e.LoadTime()
	if err != nil {
		return err
	}
	r.AddTimings(load, q.Read, q.Images, gen.Generation)
	return q.findObjects(ctx, e, gen, r)
}

// encode has the features of the images computed.
func (q *Question) encode(ctx context.Context, e *engine.Engine) error {
	if _, err := e.EncodeAll(ctx, q.Images, q.Adapters); err != nil {
		return err
	}
	if q.Encoded != nil {
		q.Encoded()
	}
	return nil
}

// ground returns the prompt, with the box that it is about.
func (q *Question) ground() (string, error) {
	switch {
	case q.Box == nil:
		return q.Prompt, nil
	case len(q.Images) != 1:
		return "", boxError("a box is of one image")
	}
	size := q.Images[0].Size
	if err := task.CheckInside(*q.Box, size.X, size.Y); err != nil {
		return "", boxError(err.Error())
	}
	return task.Ground(q.Prompt, *q.Box, size.X, size.Y), nil
}

// boxError is the error of a box.
func boxError(message string) error {
	return &FieldError{"box", result.RequestError{Err: errors.New(message)}}
}

// generate has the model write a text.
func (q *Question) generate(ctx context.Context, e *engine.Engine, p engine.Prompt, r *result.Result) (engine.Result, error) {
	request := q.Request
	request.Prompt = p
	gen, err := e.Generate(ctx, request)
	if err != nil {
		return gen, err
	}
	r.AddGeneration(e.Tokenizer(), gen, q.Return, request.TopLogProbs)
	return gen, nil
}

// rate has the model rate the choices.
func (q *Question) rate(ctx context.Context, e *engine.Engine, p engine.Prompt, r *result.Result) (model.Generation, error) {
	if len(q.Choices) == 0 {
		return model.Generation{}, result.RequestError{Err: errors.New(`"choices" are missing: what is to be rated?`)}
	}
	found, err := e.Score(ctx, p, q.Choices)
	if err != nil {
		return model.Generation{}, err
	}
	r.AddScores(found.Scores, q.Pick)
	return model.Generation{PrefillTokens: found.PrefillTokens, Prefill: found.Took}, nil
}

// findObjects adds the objects in the text, where it is read for them.
func (q *Question) findObjects(ctx context.Context, e *engine.Engine, gen engine.Result, r *result.Result) error {
	if !q.Objects || r.Text == nil {
		return nil
	}
	return q.find(ctx, *r.Text, q.Images[0].Size, e.Spans(gen.Generation), r)
}

// findWritten adds the objects in a text that was written before.
func (q *Question) findWritten(ctx context.Context, r *result.Result) error {
	size := q.Size
	if len(q.Images) == 1 {
		size = q.Images[0].Size
	}
	r.Text, r.Width, r.Height = q.Written, size.X, size.Y
	return q.find(ctx, *q.Written, size, nil, r)
}

// find adds the objects in a text about an image of a size.
func (q *Question) find(ctx context.Context, text string, size image.Point, spans []engine.TokenSpan, r *result.Result) error {
	found, err := engine.FindObjects(ctx, text, engine.ObjectOptions{Size: size, Spans: spans, Masks: q.Decoder, OnMask: q.OnMask})
	if err != nil {
		return err
	}
	r.AddObjects(&found, nil, q.Masks)
	if q.OnObjects != nil {
		return q.OnObjects(&found)
	}
	return nil
}
