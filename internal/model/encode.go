package model

import (
	"context"
	"fmt"
	"slices"

	"paligemma/internal/ggml"
)

// Images of one pass of the tower have passTokens patches together, at most, and there are
// no more than passImages: as many as fill a device.
const (
	passTokens = 4096
	passImages = 8
)

// imagesPerPass is how many images a device encodes at a time.
func (c Config) imagesPerPass() int { return max(1, min(passImages, passTokens/c.Vision.ImageTokens)) }

// ImagesPerPass returns how many images the model encodes at a time, where there are
// several: one on the CPU, which its own kernels fill with one.
func (m *Model) ImagesPerPass() int {
	if !m.backend.Plain(m.options) {
		return 1
	}
	return m.config.imagesPerPass()
}

// Encode runs the vision tower and the projector on the pixels of one image,
// [3, S, S] row-major and normalized, S being the configuration's ImageSize.
func (m *Model) Encode(ctx context.Context, pixels []float32) (Features, error) {
	return m.EncodeWith(ctx, pixels, nil)
}

// EncodeWith is Encode with adapters; nil: none but those of Load.
func (m *Model) EncodeWith(ctx context.Context, pixels []float32, a *Adapters) (Features, error) {
	all, err := m.EncodeAll(ctx, [][]float32{pixels}, a)
	if err != nil {
		return Features{}, err
	}
	return all[0], nil
}

// EncodeAll is EncodeWith of several images, ImagesPerPass at a time.
func (m *Model) EncodeAll(ctx context.Context, images [][]float32, a *Adapters) ([]Features, error) {
	if err := a.check(m); err != nil {
		return nil, err
	}
	v := m.config.Vision
	for _, pixels := range images {
		if want := 3 * v.ImageSize * v.ImageSize; len(pixels) != want {
			return nil, fmt.Errorf("an image of %d values, want %d", len(pixels), want)
		}
	}
	var all []Features
	for pass := range slices.Chunk(images, m.ImagesPerPass()) {
		features, err := m.encodePass(ctx, pass, a)
		if err != nil {
			return nil, err
		}
		all = append(all, features...)
	}
	return all, nil
}

// encodePass encodes images in one pass.
func (m *Model) encodePass(ctx context.Context, images [][]float32, a *Adapters) ([]Features, error) {
	all, err := m.newFeatures(len(images))
	if err != nil {
		return nil, err
	}
	e, err := computeRecorded(ctx, m.backend, func(keep bool) *encoding {
		e := m.encodingOf(len(images), a, keep)
		e.fill(m.config.Vision, images, all)
		return e
	})
	defer e.graph.Release()
	if err != nil {
		e.graph.Close()
		return nil, fmt.Errorf("vision tower: %w", err)
	}
	if m.onDevice {
		return all, nil
	}
	return all, readFeatures(e.graph, e.out, all)
}

// encoding is the graph of a pass of the tower. What tells one pass from the next is in its
// inputs.
type encoding struct {
	graph   *ggml.Graph
	patches []float32   // of all images
	rows    []int64     // of the shelf, where the features go
	out     ggml.Tensor // the features [hidden, N], to be read where they do not stay on the device
}

func (e *encoding) recorded() *ggml.Graph { return e.graph }

// maxEncodings is how many graphs of the tower are kept: of one image, and of the most.
const maxEncodings = 2

// encodingOf returns the graph of a pass: that of a pass before, where it does for this one,
// else a new one, which is kept where features stay on the device and it has room. Adapters
// that change the tower come and go, and so do their graphs.
func (m *Model) encodingOf(images int, a *Adapters, keep bool) *encoding {
	if !keep || !m.onDevice || a.Vision() != "" {
		return m.newEncoding(images, a)
	}
	if e, ok := m.encodings.find(images); ok {
		return e
	}
	e := m.newEncoding(images, nil)
	if m.backend.Roomy(keptRoom) {
		m.encodings.keep(images, e, maxEncodings)
	}
	return e
}

// newEncoding records the graph for a number of images.
func (m *Model) newEncoding(images int, a *Adapters) *encoding {
	v, g := m.config.Vision, m.backend.NewGraph(m.options)
	tokens := images * v.ImageTokens
	e := &encoding{graph: g, patches: make([]float32, tokens*v.PatchDim())}
	g.Update(m.updatesWith(a)...)
	g.Near(m.weights.Vision.Position)
	e.out = m.weights.Projector.Mul(g, m.tower(g, g.Float32s(e.patches, int64(v.PatchDim()), int64(tokens))))
	if !m.onDevice {
		g.Output(e.out)
		return e
	}
	e.rows = make([]int64, tokens)
	g.Run(g.WriteRows(g.Reshape(e.out, e.out.Dim(0), 1, int64(tokens)), m.shelf.rows, g.Int64s(e.rows, int64(tokens))))
	return e
}

// fill sets the inputs to images and to the seats of their features.
func (e *encoding) fill(v VisionConfig, images [][]float32, all []Features) {
	patches, rows := e.patches[:0], e.rows[:0]
	for i, pixels := range images {
		patches = appendPatches(patches, pixels, v)
		if s := all[i].seat; s != nil {
			for row := range v.ImageTokens {
				rows = append(rows, int64(s.row+row))
			}
		}
	}
}

// newFeatures makes the features of some images, whose values are to come: with a seat on the
// device, where it keeps them.
func (m *Model) newFeatures(images int) (all []Features, err error) {
	for range images {
		f := Features{Tokens: m.config.Vision.ImageTokens}
		if m.onDevice {
			if f.seat, err = m.takeSeat(); err != nil {
				return nil, err
			}
		}
		all = append(all, f)
	}
	return all, nil
}

// readFeatures reads the values of images from one tensor.
func readFeatures(g *ggml.Graph, out ggml.Tensor, all []Features) error {
	values, err := g.Read(out)
	if err != nil {
		return err
	}
	n := len(values) / len(all)
	for i := range all {
		all[i].Values = values[i*n:][:n:n]
	}
	return nil
}
