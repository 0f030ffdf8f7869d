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
	v := m.config.Vision
	all, err := m.newFeatures(len(images))
	if err != nil {
		return nil, err
	}
	patches := make([]float32, 0, len(images)*len(images[0]))
	for _, pixels := range images {
		patches = appendPatches(patches, pixels, v)
	}
	g := m.backend.NewGraph(m.options)
	defer g.Close()
	g.Update(m.updatesWith(a)...)
	g.Near(m.weights.Vision.Position)
	out := m.weights.Projector.Mul(g, m.tower(g, g.Float32s(patches, int64(v.PatchDim()), int64(len(images)*v.ImageTokens))))
	if m.onDevice {
		for i, f := range all {
			g.Run(g.Copy(g.Slice(out, 1, int64(i*f.Tokens), int64(f.Tokens)), f.seat.kept))
		}
	} else {
		g.Output(out)
	}
	if err := g.Compute(ctx); err != nil {
		return nil, fmt.Errorf("vision tower: %w", err)
	}
	if m.onDevice {
		return all, nil
	}
	return all, readFeatures(g, out, all)
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
