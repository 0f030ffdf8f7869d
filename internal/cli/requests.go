package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	inputs "paligemma/internal/batch/source"
	"paligemma/internal/engine"
	"paligemma/internal/result"
	"paligemma/internal/task"
)

// errNoPrompt says that a line of --requests asks nothing.
var errNoPrompt = result.RequestError{Err: errors.New(`"prompt" is missing (it may be "")`)}

// requested is a line of --requests.
type requested struct {
	item
	err    error   // what is wrong with it, so that it cannot be asked
	ends   bool    // err is about the file: there are no more
	reader *reader // of its images; nil: they are those of the line before
}

// requestFeed gives the lines of --requests one after the other, each as soon as it is
// written. While one is answered the next one is read, and the first of its images.
type requestFeed struct {
	app    *app
	ctx    context.Context
	cancel context.CancelFunc
	limits limitOptions
	engine *engine.Engine
	lines  chan *requested
	last   []requestedImage // of the line with images that was read last
}

// requestedImage is an image of a line, as far as it tells whether the next line is
// about the same one.
type requestedImage struct {
	source
	info os.FileInfo // nil: it is not a file
}

// checkRequests finds a file of requests that is missing, before a model is opened.
func (a *app) checkRequests(path string) error {
	a.noteWaiting(path)
	if path == stdinName {
		return nil
	}
	if _, err := os.Stat(path); err != nil {
		return fmt.Errorf("--requests %w", pathError(path, err))
	}
	return nil
}

// newFeed begins to read the lines of a request. The caller closes the feed.
func (r *run) newFeed(ctx context.Context) (*requestFeed, error) {
	in := inputs.Options{Requests: r.requests, Stdin: r.In}
	shards, err := in.Shards()
	if err != nil {
		return nil, err
	}
	f := &requestFeed{app: r.app, limits: r.request.limits, engine: r.engine, lines: make(chan *requested)}
	f.ctx, f.cancel = context.WithCancel(ctx)
	go func() { // a read cannot be interrupted; it is left behind
		defer close(f.lines)
		for rec := range shards[0].Records(f.ctx, func() bool { return true }) {
			q := f.request(&rec)
			select {
			case f.lines <- q:
			case <-f.ctx.Done():
				q.close()
				return
			}
		}
	}()
	return f, nil
}

// next returns the next line; nil: there are no more.
func (f *requestFeed) next() (*requested, error) {
	select {
	case q := <-f.lines:
		return q, nil
	case <-f.ctx.Done():
		return nil, f.ctx.Err()
	}
}

// request makes the request of a record, and begins to read its images unless they are
// those of the line before.
func (f *requestFeed) request(rec *inputs.Record) *requested {
	q := &requested{err: rec.Err, ends: rec.Ends}
	q.line, q.maxTokens, q.box = int(rec.Line), rec.MaxTokens, rec.Box
	if q.err == nil && rec.Prompt == nil {
		q.err = errNoPrompt
	}
	if q.err != nil {
		return q
	}
	q.prompts = []string{*rec.Prompt}
	images := make([]requestedImage, len(rec.Images))
	for i := range rec.Images {
		images[i] = newRequestedImage(&rec.Images[i])
		q.sources = append(q.sources, images[i].source)
	}
	if f.last == nil || !slices.EqualFunc(images, f.last, requestedImage.same) {
		var sources []*source
		for i := range q.sources {
			sources = append(sources, &q.sources[i])
		}
		q.reader = f.app.newReader(f.ctx, sources, f.limits)
		q.reader.open(f.engine)
	}
	f.last = images
	return q
}

// newRequestedImage returns the one image that a name in a request stands for: a file,
// no folder, pattern or -.
func newRequestedImage(image *inputs.Image) requestedImage {
	i := requestedImage{source: source{path: image.Name, err: image.Err}}
	if !image.File() {
		i.data = image.Data
		return i
	}
	var err error
	switch i.info, err = os.Stat(image.Name); {
	case err != nil:
		i.err = pathError(image.Name, err)
	case i.info.IsDir():
		i.err = fmt.Errorf("%s is a folder: a request names the file of one image", image.Name)
	}
	i.path = notStdin(image.Name)
	return i
}

// same reports whether two images are the same one: a file of a name may have changed
// since.
func (i requestedImage) same(other requestedImage) bool {
	switch {
	case i.path != other.path || i.err != nil || other.err != nil:
		return false
	case i.info == nil || other.info == nil:
		return i.info == other.info && bytes.Equal(i.data, other.data)
	}
	return i.info.Mode().IsRegular() && os.SameFile(i.info, other.info) &&
		i.info.Size() == other.info.Size() && i.info.ModTime().Equal(other.info.ModTime())
}

// close ends the reading of images.
func (q *requested) close() {
	if q.reader != nil {
		q.reader.close()
	}
}

// answerRequests answers the lines of --requests as they come. What is wrong with one
// is a failure, and the others follow.
func (r *run) answerRequests(ctx context.Context) error {
	feed, err := r.newFeed(ctx)
	if err != nil {
		return err
	}
	defer feed.cancel()
	start := time.Now()
	for {
		q, err := feed.next()
		if err != nil {
			return err
		}
		if q == nil {
			break
		}
		if err := r.answerLine(ctx, q); err != nil {
			return err
		}
	}
	r.logDone(time.Since(start), "requests")
	switch {
	case r.done == 0:
		return dataError{fmt.Errorf("--requests %s holds no requests", source{path: r.requests}.shown())}
	case r.failed > 0:
		return partlyError{r.failed, r.done, "requests"}
	}
	return nil
}

// answerLine answers a line, or says why it has no answer. An error ends the run.
func (r *run) answerLine(ctx context.Context, q *requested) error {
	err := r.askLine(ctx, q)
	switch {
	case q.ends:
		return fmt.Errorf("--requests %w", errors.Unwrap(q.err)) // not about an image
	case err == nil:
		r.done++
		return nil
	case ctx.Err() != nil || result.Code(err) == result.CodeFailed: // of the model, the output or the run
		return err
	}
	r.done, r.failed = r.done+1, r.failed+1
	if err := r.printer.end(); err != nil {
		return err
	}
	r.complain(fmt.Errorf("--requests %s, line %d: %w", source{path: r.requests}.shown(), q.line, err))
	return r.printFailure(&q.item, err)
}

// askLine asks the prompt of a line.
func (r *run) askLine(ctx context.Context, q *requested) error {
	if q.err != nil {
		return q.err
	}
	if q.reader != nil {
		r.reader = q.reader
		r.images, r.imagesErr = r.encodeImages(ctx, &q.item)
		q.close()
	}
	if r.imagesErr != nil {
		return r.imagesErr
	}
	if q.box != nil {
		if len(r.images) != 1 {
			return result.RequestError{Err: errors.New("a box is of one image")}
		}
		size := r.images[0].fitted.Size
		if err := task.CheckInside(*q.box, size.X, size.Y); err != nil {
			return result.RequestError{Err: err}
		}
	}
	if task.AsksMasks(q.prompts[0]) && r.locator != nil {
		if err := r.locator.openMasks(r.engine); err != nil {
			return err
		}
	}
	return r.answerPrompts(ctx, &q.item, r.images)
}
