package convert

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"paligemma/internal/gguf"
	"paligemma/internal/model"
	"paligemma/internal/npz"
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
				return nil, fmt.Errorf("%s: array %s contains NaN or an infinity", path, t.Source)
			}
		}
		out[t.Name] = values
	}
	return out, nil
}

// maskTensors are the decoder's tensors: in F16 if the file is, else in F32.
func maskTensors(c model.Config, m mix, values map[string][]float32) []tensor {
	var all []tensor
	for _, t := range model.MaskTensors() {
		spec := t.Spec()
		all = append(all, tensor{
			Choice: m.choose(c, spec), source: t.Source, from: gguf.TypeF32.String(),
			rows: memoryRows{values[t.Name], spec.Shape[0]},
		})
	}
	return all
}
