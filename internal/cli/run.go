package cli

import (
	"context"
	"errors"
	"io"
	"strconv"
	"time"

	"paligemma/internal/engine"
	"paligemma/internal/result"
	"paligemma/internal/units"
)

// run is a request that is carried out.
type run struct {
	*app
	request
	engine  *engine.Engine
	reader  *reader
	printer *printer
	locator *locator // nil: text is text
	bar     bar      // of several items

	done     int // items, and images of streams; failed ones count
	failed   int
	streamed int // images of the stream
	outcomes outcomes

	images    []*Image // of the last line of --requests that has some of its own
	imagesErr error    // why they cannot be asked about
}

// execute carries out a request: it opens the model, and answers all prompts of one
// item after the other.
func (a *app) execute(ctx context.Context, q request) (err error) {
	if q.batch != nil {
		return a.executeBatch(ctx, q)
	}
	if err := q.hopeless(); err != nil {
		return err
	}
	r := &run{app: a, request: q}
	if q.objects != nil {
		if r.locator, err = a.newLocator(q); err != nil {
			return err
		}
	}
	if q.requests == "" {
		r.reader = a.newReader(ctx, q.sources(), q.limits)
		defer r.reader.close()
	}
	if r.engine, err = a.openModel(q.model); err != nil {
		return err
	}
	defer r.engine.Close()
	if r.reader != nil {
		r.reader.open(r.engine)
	}
	if r.locator != nil {
		defer r.locator.close()
		if err := r.locator.open(r.engine, q.masks); err != nil {
			return err
		}
	}
	r.printer = a.newPrinter(q.layout())
	defer func() { err = errors.Join(err, r.printer.close(), r.locator.closeBoxes()) }()
	defer r.logOutcomes()
	if q.requests != "" {
		return r.answerRequests(ctx)
	}
	return r.answerItems(ctx)
}

// layout says how the results are printed.
func (q *request) layout() layout {
	several := q.several()
	many := several || len(q.items[0].prompts) > 1
	return layout{many: many, lines: many || q.paths || q.sampling.NumReturn > 1, paths: q.paths}
}

// answerItems answers all prompts. An item whose images cannot be read is one
// failure of several.
func (r *run) answerItems(ctx context.Context) error {
	if len(r.items) > 1 { // how long a stream is, nobody knows
		r.bar = r.newBar(int64(len(r.items)), "images", !r.OutTTY)
		defer func() { r.bar.close() }()
	}
	start := time.Now()
	for i := range r.items {
		it := &r.items[i]
		err := r.answerItem(ctx, it)
		for err == nil && it.streams() {
			err = r.answerItem(ctx, it)
		}
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		r.bar.set(int64(i + 1))
	}
	r.bar.close()
	r.bar = bar{}
	r.logDone(time.Since(start), "images")
	if r.failed > 0 {
		return partlyError{r.failed, r.done, "images"}
	}
	return nil
}

// answerItem answers the prompts of an item, of a stream those of its next image; at
// the end of a stream the error is [io.EOF].
func (r *run) answerItem(ctx context.Context, it *item) error {
	images, err := r.encodeImages(ctx, it)
	if it.streams() {
		r.streamed++
	}
	if errors.Is(err, io.EOF) && it.streams() {
		return io.EOF
	}
	r.done++
	var bad result.ImageError
	switch {
	case errors.As(err, &bad) && r.several():
		r.failed++
		r.bar.clear()
		r.complain(err)
		return r.printFailure(it, err)
	case err != nil:
		return err
	}
	return r.answerPrompts(ctx, it, images)
}

// manyImages is how many images or requests make a run worth a summary.
const manyImages = 10

// logDone says at the end of a run of many images or requests how it went.
func (r *run) logDone(took time.Duration, what string) {
	if r.done < manyImages {
		return
	}
	r.note("%s: %s done, %s failed, %.1f %s/s", what, units.Number(r.done-r.failed), units.Number(r.failed), float64(r.done)/took.Seconds(), what)
}

func (r *run) answerPrompts(ctx context.Context, it *item, images []*Image) error {
	for n := range it.prompts {
		if _, err := r.answer(ctx, it, n, images); err != nil {
			return err
		}
	}
	return nil
}

// encodeImages reads the images of an item and computes their features, once for
// all prompts.
func (r *run) encodeImages(ctx context.Context, it *item) ([]*Image, error) {
	var images []*Image
	for i := range it.sources {
		image, err := r.reader.take(&it.sources[i])
		if err != nil {
			return nil, err
		}
		if err := r.box.checkInside(image.path, image.fitted.Size); err != nil {
			return nil, result.ImageError{Err: err}
		}
		stop := r.watch("image")
		_, err = r.engine.Encode(ctx, image.fitted, nil)
		stop()
		if err != nil {
			return nil, err
		}
		if image.more {
			r.note("more bytes follow the first picture in standard input: --stream-images takes them as pictures, too")
		}
		if len(image.fitted.Warnings) > 0 {
			r.bar.clear()
			r.logWarnings(image.path, image.fitted.Warnings)
		}
		if !r.keep && (r.locator == nil || !r.locator.pictures()) {
			image.data = nil
		}
		images = append(images, image)
	}
	return images, nil
}

// watch shows how far a computation has come, where no other bar is shown and no
// line of results is unfinished on the terminal.
func (r *run) watch(what string) (stop func()) {
	if r.bar.shown() || r.OutTTY && r.printer.inArray() {
		return func() {}
	}
	return r.app.watch(r.engine.Progress, what)
}

// printFailure puts an item that failed among the results.
func (r *run) printFailure(it *item, err error) error {
	if !r.common.json() {
		return nil
	}
	res := result.Result{Line: it.line, Task: r.task, Model: r.model.name(), LoRA: r.model.LoRA}
	switch {
	case it.streams():
		res.Image = streamedPrefix + strconv.Itoa(r.streamed)
	case len(it.sources) == 1:
		res.Image = it.sources[0].path
	default:
		for _, s := range it.sources {
			res.Images = append(res.Images, s.path)
		}
	}
	res.Fail(err)
	return r.printer.object(res)
}
