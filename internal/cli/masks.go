package cli

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"paligemma/internal/convert"
	"paligemma/internal/ggml"
	"paligemma/internal/gguf"
	"paligemma/internal/model"
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
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, cause(err))
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s: not a regular file", path)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, cause(err))
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
	out := map[string][]float32{}
	for _, want := range model.MaskTensors() {
		t, ok := f.Lookup(want.Name)
		if !ok {
			return nil, fmt.Errorf("%s: tensor %s is missing: a model has a mask decoder if it was made with `paligemma convert --mask-decoder vae-oid.npz`", path, want.Name)
		}
		var shape []int64
		for _, n := range slices.Backward(want.Shape) {
			shape = append(shape, int64(n))
		}
		if t.Type != gguf.TypeF32 || !slices.Equal(t.Shape, shape) {
			return nil, fmt.Errorf("%s: tensor %s is %v %v, want f32 %v", path, want.Name, t.Type, t.Shape, shape)
		}
		values := make([]float32, t.Elements())
		if err := ggml.Dequantize(t.Type, values, f.Data(t), int(t.Shape[0])); err != nil {
			return nil, fmt.Errorf("%s: tensor %s: %w", path, want.Name, err)
		}
		out[want.Name] = values
	}
	return out, f.Unchanged()
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
