package ask

import (
	"container/list"
	"context"
	"crypto/sha256"
	"fmt"
	"runtime/debug"
	"sync"

	"paligemma/internal/engine"
	"paligemma/internal/preprocess"
)

// Images decodes images for an engine. Those that were needed lately are kept, with
// their features: equal images, known by a hash of their bytes, are decoded and encoded
// once. Any goroutine may call it.
type Images struct {
	engine   *engine.Engine
	decoders Decoders

	mu     sync.Mutex
	kept   map[imageKey]*list.Element // of *keptImage
	recent *list.List                 // the latest first
	most   int
	stats  ImageStats
}

// imageKey is what an image is known by: a hash of its bytes, and what distinguishes the
// vision tower that its features are of (engine.Adapters.Vision).
type imageKey struct {
	hash   [sha256.Size]byte
	vision string
}

// ImageStats count what became of requests for images.
type ImageStats struct {
	Hits, Misses int64
	Kept         int   // images
	Bytes        int64 // of them
}

// keptImage is an image that is decoded, or was.
type keptImage struct {
	key       imageKey
	ready     chan struct{} // closed when the rest is known
	image     *engine.Image
	err       error
	abandoned bool // its caller gave up before it was begun: somebody else has to begin anew
}

// FaultError says that a decoder failed by a fault of this program.
type FaultError struct {
	Fault any    // what it panicked with
	Stack []byte // of its goroutine
}

func (e *FaultError) Error() string {
	return fmt.Sprintf("its decoder failed, which is a fault of this program: %v", e.Fault)
}

// Decoders are as many as may be at work at a time: each may take hundreds of megabytes
// for a moment. Several [Images] may share them.
type Decoders chan struct{}

// NewDecoders returns n decoders.
func NewDecoders(n int) Decoders { return make(Decoders, n) }

// Take waits for a decoder, unless ctx ends before. The caller gives it back.
func (d Decoders) Take(ctx context.Context) error {
	select {
	case d <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Give gives a decoder back.
func (d Decoders) Give() { <-d }

// NewImages makes room for a number of images, 1 or more.
func NewImages(e *engine.Engine, most int, decoders Decoders) *Images {
	return &Images{engine: e, decoders: decoders, kept: map[imageKey]*list.Element{}, recent: list.New(), most: most}
}

// Stats returns what became of the requests so far.
func (m *Images) Stats() ImageStats {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.stats
	s.Kept = m.recent.Len()
	s.Bytes = int64(s.Kept) * m.engine.ImageBytes()
	return s
}

// Get returns the image in the bytes of a file, fitted to the model. Who gives up does
// not wait for a decoder at work: others find what it makes of the bytes.
func (m *Images) Get(ctx context.Context, data []byte, limits preprocess.Limits) (*engine.Image, error) {
	return m.GetFor(ctx, data, limits, nil)
}

// GetFor is Get for a question with adapters. Those that change the vision tower have
// images of their own.
func (m *Images) GetFor(ctx context.Context, data []byte, limits preprocess.Limits, a *engine.Adapters) (*engine.Image, error) {
	key := imageKey{sha256.Sum256(data), a.Vision()}
	for {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		kept, mine := m.find(key)
		if mine {
			go m.keep(ctx, kept, func() (*engine.Image, error) { return m.decode(data, limits) })
		}
		select {
		case <-kept.ready:
			if !kept.abandoned {
				return kept.image, kept.err
			}
		case <-ctx.Done():
		}
	}
}

// find returns the image of a key. It is the caller's to decode where mine is true.
func (m *Images) find(key imageKey) (kept *keptImage, mine bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if element, ok := m.kept[key]; ok {
		m.recent.MoveToFront(element)
		m.stats.Hits++
		return element.Value.(*keptImage), false
	}
	m.stats.Misses++
	kept = &keptImage{key: key, ready: make(chan struct{})}
	m.kept[key] = m.recent.PushFront(kept)
	if m.recent.Len() > m.most {
		m.remove(m.recent.Back())
	}
	return kept, true
}

// remove forgets an image. The lock is held.
func (m *Images) remove(element *list.Element) {
	delete(m.kept, m.recent.Remove(element).(*keptImage).key)
}

// keep decodes an image when a decoder is free, unless ctx ends before.
func (m *Images) keep(ctx context.Context, kept *keptImage, decode func() (*engine.Image, error)) {
	defer close(kept.ready)
	defer func() {
		if fault := recover(); fault != nil {
			kept.image, kept.err = nil, &FaultError{fault, debug.Stack()}
		}
		if kept.err != nil { // the limits may be others next time
			m.forget(kept)
		}
	}()
	if kept.err = m.decoders.Take(ctx); kept.err != nil {
		kept.abandoned = true
		return
	}
	defer m.decoders.Give()
	kept.image, kept.err = decode()
}

// decode decodes an image.
func (m *Images) decode(data []byte, limits preprocess.Limits) (*engine.Image, error) {
	decoded, err := preprocess.Open(data, limits)
	if err != nil {
		return nil, err
	}
	return m.engine.NewImage(decoded)
}

// forget forgets an image, unless another one has taken its place.
func (m *Images) forget(kept *keptImage) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if element, ok := m.kept[kept.key]; ok && element.Value == kept {
		m.remove(element)
	}
}
