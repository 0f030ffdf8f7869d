package cli

import (
	"cmp"
	"context"
	"errors"
	"time"

	"paligemma/internal/model"
)

// asking is a run of caption, vqa, ocr or generate: every prompt is asked of
// every image.
type asking struct {
	task     string
	prompts  []string
	images   []string // arguments
	join     bool     // all images in each prompt
	noImage  bool     // images may be left out
	stream   bool     // text is written as it comes
	model    modelOptions
	image    imageOptions
	sampling samplingOptions
}

// view is what a prompt is asked of: an image, several or none.
type view struct {
	result   Result // the fields about the image
	features []model.Features
	readTook time.Duration
	seeTook  time.Duration
}

func (a *app) ask(ctx context.Context, q asking) (err error) {
	if err := cmp.Or(q.model.check(), q.image.check()); err != nil {
		return err
	}
	inputs, err := a.expandImages(ctx, q.images, q.image)
	if err != nil {
		return err
	}
	if len(inputs) == 0 && !q.noImage {
		return usageError{errors.New("IMAGE is missing: a file, a folder, a pattern, - or --files-from")}
	}
	views := len(inputs)
	if q.join || views == 0 {
		views = 1
	}
	if views == 1 || q.join {
		// Nothing will come of it: do not load a model first.
		for _, in := range inputs {
			if in.err != nil {
				return imageError{in.err}
			}
		}
	}
	s, err := a.openModel(q.model)
	if err != nil {
		return err
	}
	defer s.close()

	p := a.newPrinter(views*len(q.prompts) > 1)
	p.paths = views > 1
	defer func() { err = errors.Join(err, p.close()) }()
	bar := a.newBar(int64(views), "images", views > 1 && !a.OutTTY)
	defer bar.close()
	failed := 0
	for i := range views {
		group := inputs
		if len(inputs) > 0 && !q.join {
			group = inputs[i : i+1]
		}
		v, err := a.look(ctx, s, q, group)
		var bad imageError
		switch {
		case errors.As(err, &bad) && views > 1:
			failed++
			bar.clear()
			a.complain(err)
			if err := a.printFailure(p, q.task, group[0].path, err); err != nil {
				return err
			}
			bar.set(int64(i + 1))
			continue
		case err != nil:
			return err
		}
		for _, prompt := range q.prompts {
			if err := a.answer(ctx, s, q, v, prompt, p); err != nil {
				return err
			}
		}
		bar.set(int64(i + 1))
	}
	if failed > 0 {
		return partlyError{failed, views}
	}
	return nil
}

// look reads and encodes the images that share a prompt, once for all prompts.
func (a *app) look(ctx context.Context, s *session, q asking, group []input) (view, error) {
	v := view{result: Result{Task: q.task}}
	for _, in := range group {
		pic, err := a.readImage(ctx, in, q.image, s.config.Vision)
		if err != nil {
			return v, err
		}
		features, took, err := s.encode(ctx, pic)
		if err != nil {
			return v, err
		}
		v.features = append(v.features, features)
		v.readTook += pic.took
		v.seeTook += took
		v.result.Images = append(v.result.Images, in.path)
	}
	if !q.join && len(group) == 1 {
		v.result.Image, v.result.Images = group[0].path, nil
	}
	return v, nil
}

// answer asks one prompt of one view and prints the result.
func (a *app) answer(ctx context.Context, s *session, q asking, v view, prompt string, p *printer) error {
	laid, err := s.prompt(prompt, v.features)
	if err != nil {
		return err
	}
	var onToken func(int) error
	stream := s.tok.NewStream()
	streaming := p.format == formatText && (q.stream || a.OutTTY)
	if streaming {
		if err := p.begin(v.result.Image); err != nil {
			return err
		}
		onToken = func(id int) error {
			if text := stream.Push(id); text != "" {
				return p.part(text)
			}
			return nil
		}
	}
	gen, err := s.generate(ctx, laid, q.sampling, onToken)
	if err != nil {
		return err
	}
	times := Timings{
		Load: ms(s.load), Image: ms(v.readTook), Vision: ms(v.seeTook),
		Prefill: ms(gen.Prefill), Decode: ms(gen.Decode),
		PrefillTokens: gen.PrefillTokens, DecodeTokens: len(gen.Tokens),
	}
	switch {
	case streaming:
		err = errors.Join(p.part(stream.Flush()), p.end())
	case p.format == formatText:
		err = p.text(v.result.Image, s.tok.Decode(gen.Tokens))
	default:
		r := v.result
		text, tokens := s.tok.Decode(gen.Tokens), append([]int{}, gen.Tokens...)
		r.Prompt, r.Text, r.Tokens = &prompt, &text, &tokens
		r.FinishReason, r.Timings = gen.FinishReason, &times
		err = p.object(r)
	}
	if err == nil && a.common.Timings {
		label := ""
		if p.paths {
			label = v.result.Image + ": "
		}
		a.complain(errors.New(label + times.String()))
	}
	return err
}

// printFailure puts an image that failed among the results.
func (a *app) printFailure(p *printer, task, path string, err error) error {
	if p.format == formatText {
		return nil
	}
	return p.object(Result{Image: path, Task: task, Error: oneLine(err.Error())})
}
