package cli

import (
	"context"
	"fmt"
	"math"

	"paligemma/internal/ggml"
	"paligemma/internal/gguf"
	"paligemma/internal/model"
	"paligemma/internal/safetensors"
	"paligemma/internal/tokenizer"
)

// verifyPiece is how many bytes are read and decoded at a time.
const verifyPiece = 4 << 20

// verifyFloats reads all tensors and finds those that contain NaN or infinity; read
// reads from the i-th of them.
func verifyFloats(ctx context.Context, tensors []safetensors.Tensor, read func(i int, p []byte, off int64) error, progress func(int64)) error {
	done := int64(0)
	buf := make([]byte, verifyPiece)
	for i, t := range tensors {
		var bad badNumbers
		for off := int64(0); off < t.Size; off += int64(len(buf)) {
			if err := ctx.Err(); err != nil {
				return err
			}
			piece := buf[:min(int64(len(buf)), t.Size-off)]
			if err := read(i, piece, off); err != nil {
				return err
			}
			switch t.DType {
			case safetensors.F64, safetensors.F32, safetensors.F16, safetensors.BF16:
				values, err := safetensors.Float32s(t.DType, piece)
				if err != nil {
					return fmt.Errorf("tensor %s: %w", t.Name, err)
				}
				bad.count(values)
			}
			done += int64(len(piece))
			progress(done)
		}
		if err := bad.err(t.Name); err != nil {
			return err
		}
	}
	return nil
}

// floatVerifier returns what verifies tensors: their values, and that what they were
// read from has not changed meanwhile.
func floatVerifier(tensors []safetensors.Tensor, read func(i int, p []byte, off int64) error, unchanged func() error) func(context.Context, func(int64)) error {
	return func(ctx context.Context, progress func(int64)) error {
		if err := verifyFloats(ctx, tensors, read, progress); err != nil {
			return err
		}
		return unchanged()
	}
}

// verifyGGUF decodes all tensors of a type that a model may have. A file that
// says that it is a PaliGemma is then loaded, its tokenizer checked, and run
// once: only that finds weights that are numbers, but too large to compute with.
func verifyGGUF(ctx context.Context, f *gguf.File, progress func(int64)) error {
	done := int64(0)
	for _, t := range f.Tensors {
		if err := verifyTensor(ctx, f, t); err != nil {
			return err
		}
		done += t.Size
		progress(done)
	}
	if err := f.Unchanged(); err != nil {
		return err
	}
	arch, err := f.String(gguf.KeyArchitecture)
	if err != nil || (arch != model.ArchPaliGemma && arch != model.ArchPaliGemma2) {
		return nil // sound, for all that can be said
	}
	backend, err := ggml.NewBackend(ggml.Options{Device: "cpu"})
	if err != nil {
		return err
	}
	defer backend.Close()
	m, err := model.Load(f, backend)
	if err != nil {
		return err
	}
	defer m.Close()
	src, err := tokenizer.FromGGUF(f.Header)
	if err != nil {
		return err
	}
	if err := src.Verify(); err != nil {
		return err
	}
	if err := m.SelfTest(ctx); err != nil {
		return err
	}
	return f.Unchanged()
}

func verifyTensor(ctx context.Context, f *gguf.File, t gguf.Tensor) error {
	data := f.Data(t)
	if !ggml.MatrixType(t.Type) {
		return nil
	}
	rowLen := int(t.Shape[0])
	rowBytes, err := t.Type.RowBytes(t.Shape[0])
	if err != nil {
		return fmt.Errorf("tensor %s: %w", t.Name, err)
	}
	rows := max(1, verifyPiece/int(rowBytes))
	values := make([]float32, 0)
	var bad badNumbers
	for len(data) > 0 {
		if err := ctx.Err(); err != nil {
			return err
		}
		piece := data[:min(len(data), rows*int(rowBytes))]
		n := len(piece) / int(rowBytes) * rowLen
		if cap(values) < n {
			values = make([]float32, n)
		}
		if err := ggml.Dequantize(t.Type, values[:n], piece, rowLen); err != nil {
			return fmt.Errorf("tensor %s: %w", t.Name, err)
		}
		bad.count(values[:n])
		data = data[len(piece):]
	}
	return bad.err(t.Name)
}

// badNumbers counts values that no weight may have.
type badNumbers struct{ nan, inf int64 }

func (b *badNumbers) count(values []float32) {
	for _, v := range values {
		switch {
		case v != v:
			b.nan++
		case math.IsInf(float64(v), 0):
			b.inf++
		}
	}
}

func (b *badNumbers) err(name string) error {
	if b.nan == 0 && b.inf == 0 {
		return nil
	}
	return fmt.Errorf("tensor %s is damaged: %d of its numbers are NaN and %d infinite", name, b.nan, b.inf)
}
