package cli

import (
	"bytes"
	"fmt"

	"paligemma/internal/convert"
	"paligemma/internal/engine"
	"paligemma/internal/gguf"
	"paligemma/internal/model"
	"paligemma/internal/regular"
)

// addDecoder says how to get a mask decoder.
const addDecoder = "name it with --mask-decoder vae-oid.npz, or add it to the model with `paligemma convert --mask-decoder vae-oid.npz`"

// openMasks makes the mask decoder that --mask-decoder or else the model gives; it
// is nil if there is none. The caller closes it before the engine.
func openMasks(e *engine.Engine, path string) (*engine.Masks, error) {
	if path == "" {
		return e.NewMasks(nil)
	}
	return newMasks(path, e.NewMasks)
}

// openMasksAlone makes the decoder in a file, for use without a model. The caller
// closes it.
func openMasksAlone(path string, threads int) (*engine.Masks, error) {
	return newMasks(path, func(tensors map[string][]float32) (*engine.Masks, error) {
		return engine.NewMasks(tensors, threads)
	})
}

// newMasks makes a decoder of the tensors in a file: the codec's npz, or a GGUF
// that convert --mask-decoder made.
func newMasks(path string, open func(map[string][]float32) (*engine.Masks, error)) (*engine.Masks, error) {
	tensors, err := readMaskDecoder(path)
	if err != nil {
		return nil, &engine.ModelError{Err: fmt.Errorf("--mask-decoder: %w", err)}
	}
	m, err := open(tensors)
	if err != nil {
		return nil, &engine.ModelError{Err: fmt.Errorf("--mask-decoder: %s: %w", path, err)}
	}
	return m, nil
}

func readMaskDecoder(path string) (map[string][]float32, error) {
	magic, err := regular.ReadStart(path, 4)
	switch {
	case err != nil:
		return nil, err
	case len(magic) < 4:
		return nil, fmt.Errorf("%s: neither an npz nor a GGUF file", path)
	case bytes.Equal(magic, []byte("GGUF")):
		return readGGUFDecoder(path)
	}
	return convert.ReadMaskDecoder(path)
}

// readGGUFDecoder reads the decoder's tensors from a model, whatever else is in it.
func readGGUFDecoder(path string) (map[string][]float32, error) {
	f, err := gguf.Open(path, gguf.Options{})
	if err != nil {
		return nil, err
	}
	defer f.Close()
	tensors, err := model.ReadMaskTensors(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return tensors, f.Unchanged()
}
