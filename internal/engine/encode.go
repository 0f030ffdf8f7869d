package engine

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"paligemma/internal/ggml"
	"paligemma/internal/model"
)

// encoding is an image that waits for its features. Whoever's turn comes first has the
// images of others computed with its own, as many as the model takes in one pass.
type encoding struct {
	ctx    context.Context // ends when the features are there
	cancel func()
	pixels []float32
	with   *Adapters // of the request

	done     bool // what follows is there
	features model.Features
	graphs   ggml.Counts   // of the pass
	took     time.Duration // of the pass, its share
	err      error
}

// encodings are the images that wait.
type encodings struct {
	sync.Mutex
	waiting []*encoding
}

// await has an image wait for its turn, or for another's.
func (e *Engine) await(ctx context.Context, pixels []float32, a *Adapters) *encoding {
	w := &encoding{pixels: pixels, with: a}
	w.ctx, w.cancel = context.WithCancel(ctx)
	e.encodings.Lock()
	defer e.encodings.Unlock()
	e.encodings.waiting = append(e.encodings.waiting, w)
	return w
}

// forget ends the wait of an image, and reports whether it was encoded.
func (e *Engine) forget(w *encoding) bool {
	w.cancel()
	e.encodings.Lock()
	defer e.encodings.Unlock()
	e.encodings.waiting = slices.DeleteFunc(e.encodings.waiting, func(o *encoding) bool { return o == w })
	return w.done
}

// encode computes an image, together with others that wait. It is called by who owns the
// model. What becomes of each image, errors too, is in its encoding.
func (e *Engine) encode(ctx context.Context, w *encoding) {
	start, pass := time.Now(), e.pass(w)
	var features []model.Features
	var graphs ggml.Counts
	var err error
	if len(pass) > 1 { // one that is given up does not stop the others
		if features, graphs, err = e.encodePass(e.ctx, pass); errors.Is(err, ggml.ErrMemory) {
			pass = pass[:1]
		}
	}
	if len(pass) == 1 {
		features, graphs, err = e.encodePass(ctx, pass)
	}
	err = e.cause(e.blame(err))
	took := time.Since(start) / time.Duration(len(pass))
	e.encodings.Lock()
	defer e.encodings.Unlock()
	for i, w := range pass {
		if w.done, w.graphs, w.took, w.err = true, graphs, took, err; err == nil {
			w.features = features[i]
		}
		w.cancel()
	}
}

// pass is an image with others that wait for the same vision tower, no more than the model
// takes at a time.
func (e *Engine) pass(first *encoding) []*encoding {
	e.encodings.Lock()
	defer e.encodings.Unlock()
	pass := []*encoding{first}
	for _, w := range e.encodings.waiting {
		if len(pass) >= e.model.ImagesPerPass() {
			break
		}
		if w != first && !w.done && w.ctx.Err() == nil && w.with.Vision() == first.with.Vision() {
			pass = append(pass, w)
		}
	}
	return pass
}

// encodePass computes images in one pass, with the adapters of the first.
func (e *Engine) encodePass(ctx context.Context, pass []*encoding) ([]model.Features, ggml.Counts, error) {
	images := make([][]float32, len(pass))
	for i, w := range pass {
		images[i] = w.pixels
	}
	e.backend.TakeCounts()
	features, err := e.model.EncodeAll(ctx, images, pass[0].with.ofVision())
	return features, e.backend.TakeCounts(), err
}

// EncodeAll returns the features of a prompt's images for its adapters, or nil, and computes
// those that are not there: together where the model takes several at a time.
func (e *Engine) EncodeAll(ctx context.Context, images []*Image, a *Adapters) ([]model.Features, error) {
	features, errs := make([]model.Features, len(images)), make([]error, len(images))
	if len(images) < 2 || e.model.ImagesPerPass() < 2 {
		for i, image := range images {
			if features[i], errs[i] = e.Encode(ctx, image, a); errs[i] != nil {
				return nil, errs[i]
			}
		}
		return features, nil
	}
	var all sync.WaitGroup
	for i, image := range images {
		all.Go(func() { features[i], errs[i] = e.Encode(ctx, image, a) })
	}
	all.Wait()
	for _, err := range errs {
		if err != nil {
			return nil, err
		}
	}
	return features, nil
}
