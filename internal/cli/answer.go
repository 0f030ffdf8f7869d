package cli

import (
	"context"
	"errors"
	"sync"

	"paligemma/internal/engine"
	"paligemma/internal/model"
)

// answer asks one prompt of one view and prints the result.
func (q *inquiry) answer(ctx context.Context, v *view, prompt string) error {
	prompt = q.box.ground(prompt, v.size)
	if q.suffixes != nil {
		return q.score(ctx, v, prompt)
	}
	streaming := q.streams()
	gen, err := q.generate(ctx, v, prompt, streaming)
	if err != nil {
		return err
	}
	if gen.Dropped > 0 {
		q.detail("the text ends where it repeats itself: tokens left out: %d", gen.Dropped)
	}
	times, err := q.timings(v, gen.Generation)
	if err != nil {
		return err
	}
	switch {
	case streaming:
		err = errors.Join(q.p.part(gen.Rest), q.p.end())
	case q.p.format == formatText && q.find == nil:
		err = q.texts(v, gen)
	default:
		r := q.result(v, gen)
		r.Prompt, r.Timings = &prompt, &times
		err = q.finish(ctx, v, r, newRater(q.e, gen.Generation))
	}
	if err == nil {
		q.tellTimings(v, times)
	}
	return err
}

// streams reports whether text is written as it comes.
func (q *inquiry) streams() bool {
	return q.p.format == formatText && q.find == nil && q.sampling.Beams <= 1 &&
		!q.sampling.StopRepeats && !q.sampling.Scores && (q.stream || q.OutTTY)
}

// generate has the model answer a prompt, and streams its text if wanted: all but
// the end of it.
func (q *inquiry) generate(ctx context.Context, v *view, prompt string, streaming bool) (engine.Result, error) {
	stop := q.watch("prompt") // until the first token, at the latest
	defer stop()
	r := engine.Request{
		Prompt:      engine.Prompt{Text: prompt, Images: v.images},
		MaxTokens:   q.sampling.MaxTokens,
		Sampling:    q.sampling.Sampling,
		Beams:       q.sampling.Beams,
		LogProbs:    q.sampling.Scores || q.p.format != formatText,
		TopLogProbs: q.sampling.LogProbs,
		StopRepeats: q.sampling.StopRepeats,
	}
	if !streaming {
		return q.e.Generate(ctx, r)
	}
	begin := sync.OnceValue(func() error {
		stop()
		return q.p.begin(v.result.Image)
	})
	r.OnToken = func(_ int, text string) error {
		if err := begin(); err != nil {
			return err
		}
		if text == "" {
			return nil
		}
		return q.p.part(text)
	}
	gen, err := q.e.Generate(ctx, r)
	if err == nil {
		err = begin()
	}
	return gen, err
}

// result describes a generation, but for the prompt and the timings.
func (q *inquiry) result(v *view, gen engine.Result) Result {
	r := v.result
	tokens := append([]int{}, gen.Tokens...)
	r.Text, r.Tokens, r.FinishReason = &gen.Text, &tokens, gen.FinishReason
	r.Confidence = confidence(gen.LogProbs)
	if gen.Beams != nil {
		r.Alternatives = q.alternatives(gen.Beams, q.sampling.NumReturn)
	}
	if q.sampling.LogProbs > 0 {
		steps := q.logProbs(gen.LogProbs)
		r.LogProbs = &steps
	}
	return r
}

// texts prints a generation, or the best beams, a line each.
func (q *inquiry) texts(v *view, gen engine.Result) error {
	write := func(text string, confidence *float64) error {
		if !q.sampling.Scores {
			return q.p.text(v.result.Image, text)
		}
		return q.p.scored(v.result.Image, confidenceColumn(confidence), text)
	}
	if q.sampling.NumReturn <= 1 {
		return write(gen.Text, confidence(gen.LogProbs))
	}
	q.p.many = true // lines stay lines
	for _, alternative := range q.alternatives(gen.Beams, q.sampling.NumReturn) {
		if err := write(alternative.Text, confidenceOf(alternative.Score, 1)); err != nil {
			return err
		}
	}
	return nil
}

// finish prints a result, after its objects were found if it is about objects.
// rate, which may be nil, gives the confidence of parts of its text.
func (q *inquiry) finish(ctx context.Context, v *view, r Result, rate rater) error {
	boxes, masks := q.wants(v, r)
	if !boxes {
		return q.p.object(r)
	}
	objects, err := q.locate(ctx, v, *r.Text, rate)
	if err != nil {
		return err
	}
	if q.p.format == formatText {
		return q.p.table(v.result.Image, objects.rows)
	}
	r.Drawing = v.drawTo
	r.Boxes = &objects.boxes
	r.Dropped, r.DroppedCount = &objects.dropped, objects.droppedCount
	if masks || len(objects.masks) > 0 {
		r.Masks = &objects.masks
	}
	return q.p.object(r)
}

func (q *inquiry) timings(v *view, gen model.Generation) (Timings, error) {
	load, err := q.e.LoadTime()
	return Timings{
		Load: ms(load), Image: ms(v.readTook), Vision: ms(v.seeTook),
		Prefill: ms(gen.Prefill), Decode: ms(gen.Decode),
		PrefillTokens: gen.PrefillTokens, DecodeTokens: len(gen.Tokens) + gen.Dropped,
	}, err
}

func (q *inquiry) tellTimings(v *view, times Timings) {
	if !q.common.Timings {
		return
	}
	label := ""
	if q.p.paths {
		label = v.result.Image + ": "
	}
	q.complain(errors.New(label + times.String()))
}
