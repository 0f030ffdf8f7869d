package model

import (
	"context"
	"fmt"
	"paligemma/internal/ggml"
)

// selfTestRows is the number of an image's rows that SelfTest gives to the
// language model: all of a large one would take minutes and show no more.
const selfTestRows = 8

// SelfTest runs every weight once on a made-up picture: the vision tower on all
// of it, the language model on the first rows of what comes out and BOS. Finite
// weights that overflow on the way give an ErrNaN.
func (m *Model) SelfTest(ctx context.Context) error {
	side := m.config.Vision.ImageSize
	pixels := make([]float32, 3*side*side)
	for i := range pixels {
		pixels[i] = float32(i%255)/127 - 1
	}
	features, err := m.Encode(ctx, pixels)
	if err != nil {
		return err
	}
	values, err := features.Read()
	if err != nil {
		return err
	}
	if !ggml.Finite(values) {
		return fmt.Errorf("vision tower: %w", ErrNaN)
	}
	rows := min(selfTestRows, features.Tokens)
	p := Prompt{Images: []Features{{Values: values[:rows*m.config.Text.Hidden], Tokens: rows}}}
	for range rows {
		p.IDs = append(p.IDs, m.config.Tokens.Image)
	}
	p.IDs = append(p.IDs, m.config.Tokens.BOS)
	trace, err := m.Trace(ctx, p, nil, TraceOptions{LogitsToKeep: 1})
	if err == nil && !ggml.Finite(trace.Logits) {
		err = ErrNaN
	}
	return err
}
