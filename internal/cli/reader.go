package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"paligemma/internal/engine"
	"paligemma/internal/preprocess"
	"paligemma/internal/result"
)

// Image is an image of a run. It is filled in stages: the reader reads its file,
// decodes it unless it is large, and fits it to the model.
type Image struct {
	source
	data    []byte             // of the file
	decoded *preprocess.Source // until it is fitted
	fitted  *engine.Image
	took    time.Duration // all stages
	more    bool          // standard input goes on after it
}

// reader reads the images of a run, each while the model is busy with the one
// before it, and the first while the model is opened. One image at most is read
// ahead, so there is never more than that in memory.
//
// Reading next to ggml takes part of a core from its threads. Nothing is held back
// for that: a large product is handed out to the threads in parts, so the others take
// what a slow one leaves, and the time that reading takes, all of it if it waits for
// a disk or a pipe, would be spent anyway.
type reader struct {
	read   func(ctx context.Context, s source) (*Image, error)
	ctx    context.Context
	cancel context.CancelFunc
	rest   []*source       // not begun
	ahead  chan readResult // gives the image that the next take returns; nil: not begun

	opened chan struct{} // closed when engine is set
	engine *engine.Engine
}

// readResult is an image that was read, or the reason why it was not.
type readResult struct {
	image *Image
	err   error
}

// newReader begins to read the first of the sources. The caller says what model
// the images are for by open, and closes the reader.
func (a *app) newReader(ctx context.Context, sources []*source, o limitOptions) *reader {
	r := &reader{rest: sources, opened: make(chan struct{})}
	r.ctx, r.cancel = context.WithCancel(ctx)
	var stdin *stream
	r.read = func(ctx context.Context, s source) (*Image, error) {
		var image *Image
		var err error
		if s.stream {
			if stdin == nil {
				stdin = a.newStream(o)
			}
			image, err = stdin.next(ctx)
		} else {
			image, err = a.openImage(ctx, s, o)
		}
		if err != nil {
			return nil, err
		}
		select {
		case <-r.opened:
			return image, image.fit(r.engine)
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	r.begin()
	return r
}

// open says what model the images are for.
func (r *reader) open(e *engine.Engine) {
	r.engine = e
	close(r.opened)
}

// begin reads the next image in the background.
func (r *reader) begin() {
	if len(r.rest) == 0 {
		return
	}
	next, ahead := *r.rest[0], make(chan readResult, 1)
	r.ahead = ahead
	if !next.stream { // else it goes on until its end
		r.rest = r.rest[1:]
	}
	go func() {
		image, err := r.read(r.ctx, next)
		ahead <- readResult{image, err}
	}()
}

// take returns an image and begins to read the one after it. Images are taken in
// order; some may be left out after one that failed.
func (r *reader) take(s *source) (*Image, error) {
	if r.ahead == nil {
		r.rest = r.rest[slices.Index(r.rest, s):]
		r.begin()
	}
	got := <-r.ahead // it ends with ctx
	r.ahead = nil
	if s.stream && errors.Is(got.err, io.EOF) {
		r.rest = r.rest[1:]
	}
	if got.err == nil {
		r.begin()
	}
	return got.image, got.err
}

// close ends the reading under way.
func (r *reader) close() {
	r.cancel()
	if r.ahead != nil {
		<-r.ahead
	}
}

// openImage reads an image, and decodes it if it is not large. Its errors name the
// image; those about the image are [result.ImageError]s.
func (a *app) openImage(ctx context.Context, s source, o limitOptions) (*Image, error) {
	if s.err != nil {
		return nil, result.ImageError{Err: s.err}
	}
	start := time.Now()
	data, limits, err := a.readImage(ctx, s, o)
	if err != nil {
		if ctx.Err() != nil {
			return nil, err
		}
		return nil, result.ImageError{Err: fmt.Errorf("%s: %w", s.shown(), err)}
	}
	decoded, err := preprocess.Open(data, limits)
	if err != nil {
		return nil, result.ImageError{Err: fmt.Errorf("%s: %w", s.shown(), err)}
	}
	image := &Image{source: s, data: data, decoded: decoded, took: time.Since(start)}
	if s.path == stdinName {
		_, image.more = firstPicture(data)
	}
	return image, nil
}

// fit makes what the model takes.
func (i *Image) fit(e *engine.Engine) (err error) {
	if i.fitted, err = e.NewImage(i.decoded); err != nil {
		return result.ImageError{Err: fmt.Errorf("%s: %w", i.shown(), err)}
	}
	i.decoded, i.took = nil, i.took+i.fitted.FitTime
	return nil
}
