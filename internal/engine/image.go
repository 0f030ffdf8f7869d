package engine

import (
	"context"
	"image"
	"sync/atomic"
	"time"

	"paligemma/internal/ggml"
	"paligemma/internal/model"
	"paligemma/internal/preprocess"
)

// Image is a picture as a model's vision tower takes it and, once they are
// computed, its features. Any number of requests may share it.
type Image struct {
	Pixels   []float32     // [3][S][S], normalized
	Size     image.Point   // of the upright original: boxes refer to it
	Warnings []string      // what was mended in a damaged file
	FitTime  time.Duration // decoding, as far as it was to do, and resizing

	lock     chan struct{} // held by who computes the features or looks for them
	encoded  bool
	vision   string // of the adapters that the features were computed with (model.Adapters.Vision)
	features model.Features
	took     atomic.Int64 // nanoseconds
	graphs   ggml.Counts
}

// NewImage fits a picture to the model's vision tower. It computes nothing with
// the model, and runs on the caller's goroutine.
func (e *Engine) NewImage(source *preprocess.Source) (*Image, error) {
	start := time.Now()
	v := e.config.Vision
	f, err := source.Fit(v.ImageSize)
	if err != nil {
		return nil, err
	}
	return &Image{
		Pixels: preprocess.Normalize(f.RGB, v.Mean, v.Std), Size: f.Size, Warnings: f.Warnings,
		FitTime: time.Since(start), lock: make(chan struct{}, 1),
	}, nil
}

// Encode returns the features of an image for prompts with adapters, or nil, and computes
// them at the first call. An image has the features of one vision tower at a time: Adapters
// that change it should be asked with images of their own.
func (e *Engine) Encode(ctx context.Context, i *Image, a *Adapters) (model.Features, error) {
	leave, err := e.enter()
	if err != nil {
		return model.Features{}, err
	}
	defer leave()
	select {
	case i.lock <- struct{}{}:
		defer func() { <-i.lock }()
	case <-ctx.Done():
		return model.Features{}, ctx.Err()
	}
	if i.encoded && i.vision == a.Vision() {
		return i.features, nil
	}
	w := e.await(ctx, i.Pixels, a)
	err = e.compute(w.ctx, func(ctx context.Context) error { e.encode(ctx, w); return nil })
	if e.forget(w) {
		i.features, i.graphs, err = w.features, w.graphs, w.err
		i.took.Store(int64(w.took))
	}
	i.encoded, i.vision = err == nil, a.Vision()
	return i.features, err
}

// EncodedValues returns the features of an image, [image tokens, hidden], and computes
// them at the first call.
func (e *Engine) EncodedValues(ctx context.Context, i *Image) (values []float32, err error) {
	leave, err := e.enter()
	if err != nil {
		return nil, err
	}
	defer leave()
	features, err := e.Encode(ctx, i, nil)
	if err != nil {
		return nil, err
	}
	err = e.compute(ctx, func(context.Context) (err error) {
		values, err = features.Read()
		return err
	})
	return values, err
}

// EncodeTime returns how long the vision tower and the projector took, 0 before. Images that
// were computed together have equal parts of the time.
func (i *Image) EncodeTime() time.Duration { return time.Duration(i.took.Load()) }

// EncodeGraphs returns the counts of their graphs, none before.
func (i *Image) EncodeGraphs() ggml.Counts {
	i.lock <- struct{}{}
	defer func() { <-i.lock }()
	return i.graphs
}
