package cli

import (
	"context"
	"fmt"
	"slices"
	"time"

	"paligemma/internal/engine"
	"paligemma/internal/preprocess"
)

// picture is an image for the model, and the file that it comes from.
type picture struct {
	*engine.Image
	data []byte
	took time.Duration // reading, decoding, resizing
}

// reader reads the images of a run, each while the model is busy with the one
// before it, and the first while the model is opened. One image at most is read
// ahead, so there is never more than that in memory.
//
// Reading beside ggml takes part of a core from its threads, which wait for each
// other by spinning. Nothing is held back for that: a large product is handed
// out to the threads in pieces, so the others take what a slow one leaves, and
// the time that reading takes, all of it if it waits for a disk or a pipe, would
// be spent anyway.
type reader struct {
	read   func(ctx context.Context, in input) (picture, error)
	ctx    context.Context
	cancel context.CancelFunc
	rest   []*input // not begun
	begun  *reading // that of the next take, unless nil

	opened chan struct{} // closed when engine is set
	engine *engine.Engine
}

// reading is an image being read.
type reading struct {
	pic  picture
	err  error
	done chan struct{}
}

// newReader begins to read the first of inputs. The caller says what model
// the pictures are for by open, and closes the reader.
func (a *app) newReader(ctx context.Context, inputs []*input, o imageOptions) *reader {
	r := &reader{rest: inputs, opened: make(chan struct{})}
	r.ctx, r.cancel = context.WithCancel(ctx)
	r.read = func(ctx context.Context, in input) (picture, error) {
		d, err := a.decode(ctx, in, o)
		if err != nil {
			return picture{}, err
		}
		select {
		case <-r.opened:
			return d.fit(r.engine)
		case <-ctx.Done():
			return picture{}, ctx.Err()
		}
	}
	r.begin()
	return r
}

// open lets pictures be made for a model.
func (r *reader) open(e *engine.Engine) {
	r.engine = e
	close(r.opened)
}

// begin reads the next image in the background.
func (r *reader) begin() {
	if len(r.rest) == 0 {
		return
	}
	in, now := *r.rest[0], &reading{done: make(chan struct{})}
	r.rest, r.begun = r.rest[1:], now
	go func() {
		defer close(now.done)
		now.pic, now.err = r.read(r.ctx, in)
	}()
}

// take returns an image and begins to read the one after it. Images are taken in
// order; some may be left out after one that failed.
func (r *reader) take(in *input) (picture, error) {
	if r.begun == nil {
		r.rest = r.rest[slices.Index(r.rest, in):]
		r.begin()
	}
	now := r.begun
	r.begun = nil
	<-now.done // it ends with ctx
	if now.err == nil {
		r.begin()
	}
	return now.pic, now.err
}

// close ends the reading under way.
func (r *reader) close() {
	r.cancel()
	if r.begun != nil {
		<-r.begun.done
	}
}

// decoded is an image before it is fitted to a vision tower: decoded unless it is
// large.
type decoded struct {
	source *preprocess.Source
	shown  string
	data   []byte
	took   time.Duration
}

// decode reads an image and decodes it if it is not large. Its errors name the
// image; those about the image are imageErrors.
func (a *app) decode(ctx context.Context, in input, o imageOptions) (decoded, error) {
	if in.err != nil {
		return decoded{}, imageError{in.err}
	}
	start := time.Now()
	shown := in.path
	if shown == stdinName {
		shown = "standard input"
	}
	data, limits, err := a.readImage(ctx, in.path, o.limitOptions)
	if err != nil {
		if ctx.Err() != nil {
			return decoded{}, err
		}
		return decoded{}, imageError{fmt.Errorf("%s: %w", shown, err)}
	}
	source, err := preprocess.Open(data, limits)
	if err != nil {
		return decoded{}, imageError{fmt.Errorf("%s: %w", shown, err)}
	}
	return decoded{source, shown, data, time.Since(start)}, nil
}

// fit makes the image that a model takes.
func (d decoded) fit(e *engine.Engine) (picture, error) {
	i, err := e.NewImage(d.source)
	if err != nil {
		return picture{}, imageError{fmt.Errorf("%s: %w", d.shown, err)}
	}
	return picture{i, d.data, d.took + i.FitTime}, nil
}
