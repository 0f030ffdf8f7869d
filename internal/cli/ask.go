package cli

import (
	"cmp"
	"context"
	"errors"
	"image"
	"time"

	"paligemma/internal/engine"
)

// asking is a run of caption, vqa, ocr, detect, segment, generate or score:
// every prompt is asked of every image.
type asking struct {
	task     string
	prompts  []string
	images   []string // arguments
	requests string   // a file of images and prompts, in place of these; "": none
	join     bool     // all images in each prompt
	noImage  bool     // images may be left out
	stream   bool     // text is written as it comes
	box      *box     // of the image, put into the prompt
	suffixes []string // rated in place of a generation
	pick     bool     // of suffixes, the answer is the most likely one
	find     *finding // the text holds objects (of requests: that of those for objects)
	model    modelOptions
	image    imageOptions
	sampling samplingOptions
}

// finding is what detect and segment do with the text.
type finding struct {
	objectOptions
	segment bool // masks are wanted
}

// inquiry is an asking under way.
type inquiry struct {
	*app
	asking
	e     *engine.Engine
	r     *reader
	p     *printer
	bar   bar // of several images
	views []view

	finder *finder // nil: text is text
}

// view is what a prompt is asked of: an image, several or none.
type view struct {
	inputs  []input
	prompts []string
	lines   []int  // of the requests that these are
	name    string // of files about it
	drawTo  string // --draw

	// Known once it was looked at:
	result   Result // the fields about the image
	images   []*engine.Image
	size     image.Point // of the upright image, if it is one
	data     []byte      // of the image's file, if it is to be drawn on
	readTook time.Duration
	seeTook  time.Duration
}

func (a *app) ask(ctx context.Context, q asking) (err error) {
	if err := cmp.Or(q.model.check(), q.image.check(), q.checkBox()); err != nil {
		return err
	}
	run := &inquiry{app: a, asking: q}
	if run.views, err = a.plan(ctx, q); err != nil {
		return err
	}
	if q.requests != "" {
		run.find = findingOf(run.views, a.common.Format)
	}
	if len(run.views) == 1 {
		// Nothing will come of it: do not load a model first.
		for _, in := range run.views[0].inputs {
			if in.err != nil {
				return imageError{in.err}
			}
		}
	}
	if err := run.planFinding(); err != nil {
		return err
	}
	run.r = a.newReader(ctx, run.inputs(), q.image)
	defer run.r.close()
	if run.e, err = a.openModel(q.model); err != nil {
		return err
	}
	defer run.e.Close()
	run.r.open(run.e)
	defer run.closeFinding()
	if err := run.openFinding(); err != nil {
		return err
	}
	run.p = a.newPrinter(len(run.views) > 1 || len(run.views[0].prompts) > 1)
	run.p.paths = len(run.views) > 1
	defer func() { err = errors.Join(err, run.p.close()) }()
	return run.all(ctx)
}

// plan lists what is asked of what.
func (a *app) plan(ctx context.Context, q asking) ([]view, error) {
	if q.requests != "" {
		return a.readRequests(ctx, q.requests)
	}
	inputs, err := a.expandImages(ctx, q.images, q.image)
	if err != nil {
		return nil, err
	}
	if len(inputs) == 0 && !q.noImage {
		return nil, usageError{errors.New("IMAGE is missing: a file, a folder, a pattern, - or --files-from")}
	}
	if len(inputs) == 0 && q.box != nil {
		return nil, usageError{errors.New("--box needs an image")}
	}
	if q.join || len(inputs) == 0 {
		return []view{{inputs: inputs, prompts: q.prompts}}, nil
	}
	var views []view
	for i := range inputs {
		views = append(views, view{inputs: inputs[i : i+1], prompts: q.prompts})
	}
	return views, nil
}

// all goes through the views. One of several that fails is told and counted.
func (q *inquiry) all(ctx context.Context) error {
	several := len(q.views) > 1
	if several {
		q.bar = q.newBar(int64(len(q.views)), "images", !q.OutTTY)
		defer q.bar.close()
	}
	failed := 0
	for i := range q.views {
		v := &q.views[i]
		err := q.look(ctx, v)
		var bad imageError
		switch {
		case errors.As(err, &bad) && several:
			failed++
			q.bar.clear()
			q.complain(err)
			if err := q.printFailure(v, err); err != nil {
				return err
			}
			q.bar.set(int64(i + 1))
			continue
		case err != nil:
			return err
		}
		for i, prompt := range v.prompts {
			if v.lines != nil {
				v.result.Line = v.lines[i]
			}
			if err := q.answer(ctx, v, prompt); err != nil {
				return err
			}
		}
		v.images, v.data = nil, nil
		q.bar.set(int64(i + 1))
	}
	if failed > 0 {
		return partlyError{failed, len(q.views), "images"}
	}
	return nil
}

// inputs are the images in the order in which they are looked at.
func (q *inquiry) inputs() (all []*input) {
	for _, v := range q.views {
		for i := range v.inputs {
			all = append(all, &v.inputs[i])
		}
	}
	return all
}

// look reads and encodes the images that share a prompt, once for all prompts.
func (q *inquiry) look(ctx context.Context, v *view) error {
	v.result.Task = q.task
	for i := range v.inputs {
		in := &v.inputs[i]
		pic, err := q.r.take(in)
		if err != nil {
			return err
		}
		if err := q.box.checkInside(in.path, pic.Size); err != nil {
			return imageError{err}
		}
		stop := q.watch("image")
		_, err = q.e.Encode(ctx, pic.Image)
		stop()
		if err != nil {
			return err
		}
		if len(pic.Warnings) > 0 {
			q.bar.clear()
			q.logWarnings(in.path, pic.Warnings)
			v.result.Warnings = append(v.result.Warnings, named(in.path, len(v.inputs) > 1, pic.Warnings)...)
		}
		v.images = append(v.images, pic.Image)
		v.readTook += pic.took
		v.seeTook += pic.EncodeTime()
		v.size = pic.Size
		if v.drawTo != "" {
			v.data = pic.data
		}
		v.result.Images = append(v.result.Images, in.path)
	}
	if !q.join && len(v.inputs) == 1 {
		v.result.Image, v.result.Images = v.inputs[0].path, nil
	}
	return nil
}

// watch shows how far a computation has come, where no other bar is and no
// result stands unfinished on the terminal.
func (q *inquiry) watch(what string) (stop func()) {
	unfinished := q.OutTTY && q.p.format == formatJSON && q.p.many // the array's last line
	if q.bar.shown() || unfinished {
		return func() {}
	}
	return q.app.watch(q.e.Progress, what)
}

// printFailure puts an image that failed among the results, once for each of its
// requests.
func (q *inquiry) printFailure(v *view, err error) error {
	if q.p.format == formatText {
		return nil
	}
	r := Result{Image: v.inputs[0].path, Task: q.task, Error: oneLine(err.Error())}
	if v.lines == nil {
		return q.p.object(r)
	}
	for _, r.Line = range v.lines {
		if err := q.p.object(r); err != nil {
			return err
		}
	}
	return nil
}
