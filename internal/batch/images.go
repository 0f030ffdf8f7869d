package batch

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"runtime"
	"sync"
	"time"

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

// images reads and decodes images. Those that were needed lately are kept: equal
// neighbors, and several prompts about one image, share its features.
type images struct {
	engine *engine.Engine
	limits func(path string) preprocess.Limits
	stdin  io.Reader
	slots  chan struct{} // one for each image that is decoded at the moment

	mu    sync.Mutex
	kept  map[[sha256.Size]byte]*keptImage
	order [][sha256.Size]byte // oldest first
	most  int
}

// keptImage is an image that somebody decodes, or has decoded.
type keptImage struct {
	ready chan struct{}
	image *engine.Image
	err   error // without the image's name
}

func newImages(e *engine.Engine, o *Options, most int) *images {
	return &images{
		engine: e, limits: o.Limits, stdin: o.Source.Stdin, most: most,
		slots: make(chan struct{}, min(runtime.GOMAXPROCS(0), maxDecoders)),
		kept:  map[[sha256.Size]byte]*keptImage{},
	}
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
	image, err := m.decode(ctx, data, limits)
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

// decode decodes an image, unless one of the same bytes was decoded lately.
func (m *images) decode(ctx context.Context, data []byte, limits preprocess.Limits) (*engine.Image, error) {
	key := sha256.Sum256(data)
	m.mu.Lock()
	kept, ok := m.kept[key]
	if !ok {
		kept = &keptImage{ready: make(chan struct{})}
		m.kept[key] = kept
		m.order = append(m.order, key)
		if len(m.order) > m.most {
			delete(m.kept, m.order[0])
			m.order = m.order[1:]
		}
	}
	m.mu.Unlock()
	if ok {
		select {
		case <-kept.ready:
			return kept.image, kept.err
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	defer close(kept.ready)
	select {
	case m.slots <- struct{}{}:
		defer func() { <-m.slots }()
	case <-ctx.Done():
		kept.err = ctx.Err()
		return nil, kept.err
	}
	var decoded *preprocess.Source
	if decoded, kept.err = preprocess.Open(data, limits); kept.err == nil {
		kept.image, kept.err = m.engine.NewImage(decoded)
	}
	return kept.image, kept.err
}
