package batch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"time"

	"paligemma/internal/ask"
	"paligemma/internal/atomicfile"
	"paligemma/internal/batch/source"
	"paligemma/internal/engine"
	"paligemma/internal/preprocess"
	"paligemma/internal/regular"
	"paligemma/internal/result"
)

// maxDecoders bounds the images that are decoded at a time: each may take hundreds of
// megabytes for a moment.
const maxDecoders = 4

// images reads and decodes images.
type images struct {
	images *ask.Images
	limits func(path string) preprocess.Limits
	stdin  io.Reader
}

func newImages(e *engine.Engine, o *Options, most int) *images {
	return &images{images: ask.NewImages(e, most, ask.NewDecoders(min(runtime.GOMAXPROCS(0), maxDecoders))), limits: o.Limits, stdin: o.Source.Stdin}
}

// get returns an image fitted to the model, and how long that took. Errors about the
// image are ImageErrors and name it.
func (m *images) get(ctx context.Context, i *source.Image) (*engine.Image, time.Duration, error) {
	start := time.Now()
	if i.Err != nil {
		return nil, 0, result.ImageError{Err: i.Err}
	}
	limits := m.limits(i.Name)
	data := i.Data
	if i.File() {
		var err error
		if data, err = m.read(i.Name, limits.MaxBytes); err != nil {
			return nil, 0, result.ImageError{Err: err}
		}
	}
	image, err := m.images.Get(ctx, data, limits)
	switch {
	case ctx.Err() != nil:
		return nil, 0, ctx.Err()
	case err != nil:
		return nil, 0, result.ImageError{Err: fmt.Errorf("%s: %w", i.Name, err)}
	}
	return image, time.Since(start), nil
}

// read reads the file of an image, which must be a regular one, or standard input.
func (m *images) read(name string, limit int64) ([]byte, error) {
	var in io.Reader = m.stdin
	if name != source.Stdin {
		file, err := regular.Open(name)
		if err != nil {
			return nil, err
		}
		defer file.Close()
		if file.Size() > limit {
			return nil, fmt.Errorf("%s: %d bytes are %w of %d (--max-bytes N allows more)", name, file.Size(), result.ErrTooLong, limit)
		}
		in = file
	}
	data, err := io.ReadAll(io.LimitReader(in, limit+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("%s: %w", name, atomicfile.Cause(err))
	case int64(len(data)) > limit:
		return nil, fmt.Errorf("%s: %w of %d bytes (--max-bytes N allows more)", name, result.ErrTooLong, limit)
	case len(data) == 0:
		return nil, fmt.Errorf("%s: %w", name, errEmpty)
	}
	return data, nil
}

var errEmpty = errors.New("it is empty")
