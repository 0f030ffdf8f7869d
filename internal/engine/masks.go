package engine

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"paligemma/internal/ggml"
	"paligemma/internal/model"
)

// Masks decodes the codes of PaliGemma's masks. Any goroutine may call it.
type Masks struct {
	decoder *model.MaskDecoder
	backend *ggml.Backend // nil: the engine's
	compute func(ctx context.Context, f func(context.Context) error) error
}

// NewMasks makes a decoder of tensors, or of those in the model's file where
// tensors is nil: it is nil if there are none. The caller closes it before the
// engine.
func (e *Engine) NewMasks(tensors map[string][]float32) (*Masks, error) {
	m := &Masks{compute: e.compute}
	err := e.compute(context.Background(), func(context.Context) (err error) {
		if tensors != nil {
			m.decoder, err = model.NewMaskDecoder(e.backend, tensors)
		} else {
			m.decoder, err = model.ReadMaskDecoder(e.file, e.backend)
		}
		return err
	})
	switch {
	case errors.Is(err, model.ErrNoMaskDecoder):
		return nil, nil
	case err != nil && tensors == nil:
		return nil, &ModelError{fmt.Errorf("%s: %w", e.file.Path(), err)}
	case err != nil:
		return nil, err
	}
	return m, nil
}

// NewMasks makes a decoder of tensors that needs no engine. The caller closes it.
func NewMasks(tensors map[string][]float32, threads int) (*Masks, error) {
	backend, err := ggml.NewBackend(ggml.Options{Device: "cpu", Threads: threads})
	if err != nil {
		return nil, err
	}
	decoder, err := model.NewMaskDecoder(backend, tensors)
	if err != nil {
		backend.Close()
		return nil, err
	}
	var alone sync.Mutex
	return &Masks{decoder, backend, func(ctx context.Context, f func(context.Context) error) error {
		alone.Lock()
		defer alone.Unlock()
		return f(ctx)
	}}, nil
}

// Decode returns the logits of a mask of 64×64 for each list of 16 codes, row by
// row; those above 0 are inside.
func (m *Masks) Decode(ctx context.Context, codes [][]int) (logits [][]float32, err error) {
	err = m.compute(ctx, func(ctx context.Context) (err error) {
		logits, err = m.decoder.Decode(ctx, codes)
		return err
	})
	return logits, err
}

// Close frees the decoder.
func (m *Masks) Close() {
	_ = m.compute(context.Background(), func(context.Context) error {
		m.decoder.Close()
		return nil
	})
	if m.backend != nil {
		m.backend.Close()
	}
}
