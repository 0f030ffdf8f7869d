package cli

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"paligemma/internal/convert"
	"paligemma/internal/ggml"
	"paligemma/internal/gguf"
	"paligemma/internal/model"
	"paligemma/internal/regular"
)

// addDecoder says how to get a mask decoder.
const addDecoder = "name it with --mask-decoder vae-oid.npz, or add it to the model with `paligemma convert --mask-decoder vae-oid.npz`"

// openMaskDecoder makes the decoder in a file: the codec's npz, or a GGUF that
// convert --mask-decoder made. The caller closes it before the engine.
func openMaskDecoder(path string, e *ggml.Engine) (*model.MaskDecoder, error) {
	tensors, err := readMaskDecoder(path)
	if err != nil {
		return nil, modelError{fmt.Errorf("--mask-decoder: %w", err)}
	}
	d, err := model.NewMaskDecoder(e, tensors)
	if err != nil {
		return nil, modelError{fmt.Errorf("--mask-decoder: %s: %w", path, err)}
	}
	return d, nil
}

func readMaskDecoder(path string) (map[string][]float32, error) {
	f, err := regular.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var magic [4]byte
	if _, err := io.ReadFull(f, magic[:]); err != nil {
		return nil, fmt.Errorf("%s: neither an npz nor a GGUF file", path)
	}
	if bytes.Equal(magic[:], []byte("GGUF")) {
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

// maskDecoder is the decoder that the flags or else the model give; nil if
// there is none.
func (s *session) maskDecoder(path string) (*model.MaskDecoder, error) {
	if path != "" {
		return openMaskDecoder(path, s.engine)
	}
	d, err := model.ReadMaskDecoder(s.file, s.engine)
	if errors.Is(err, model.ErrNoMaskDecoder) {
		return nil, nil
	}
	if err != nil {
		return nil, modelError{fmt.Errorf("%s: %w", s.file.Path(), err)}
	}
	return d, nil
}
