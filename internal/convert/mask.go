package convert

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"paligemma/internal/gguf"
	"paligemma/internal/model"
	"paligemma/internal/npz"
	"paligemma/internal/safetensors"
)

// ReadMaskDecoder reads the decoder of PaliGemma's mask codec from its
// vae-oid.npz: values by model.MaskTensor.Name, row-major in PyTorch's layouts.
// What else is in the file (the encoder) is left alone.
func ReadMaskDecoder(path string) (map[string][]float32, error) {
	archive, err := npz.Open(path)
	if err != nil {
		return nil, err
	}
	defer archive.Close()
	out := map[string][]float32{}
	for _, t := range model.MaskTensors() {
		values, shape, err := archive.Float32(t.Source)
		if errors.Is(err, npz.ErrNotFound) {
			return nil, fmt.Errorf("%s: array %s is missing: this is not the mask codec (vae-oid.npz)", path, t.Source)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		if !slices.Equal(shape, t.Shape) {
			return nil, fmt.Errorf("%s: array %s has the shape %v, want %v", path, t.Source, shape, t.Shape)
		}
		for _, v := range values {
			if math.IsNaN(float64(v)) || math.IsInf(float64(v), 0) {
				return nil, fmt.Errorf("%s: array %s holds a value that is no number", path, t.Source)
			}
		}
		out[t.Name] = values
	}
	return out, nil
}

// addMaskDecoder declares the decoder's tensors, in F32, and reports them.
func addMaskDecoder(w *gguf.Writer, r *Report) error {
	for _, t := range model.MaskTensors() {
		var shape []int
		var stored []int64
		size := int64(4)
		for i := len(t.Shape) - 1; i >= 0; i-- {
			shape, stored = append(shape, t.Shape[i]), append(stored, int64(t.Shape[i]))
			size *= int64(t.Shape[i])
		}
		if err := w.AddTensor(t.Name, gguf.TypeF32, stored...); err != nil {
			return err
		}
		r.Rows = append(r.Rows, Row{
			Name: t.Name, Source: t.Source, Shape: shape, Stored: stored,
			DType: safetensors.F32, Type: gguf.TypeF32, Why: "mask decoder, always f32", Bytes: size,
		})
	}
	return nil
}
