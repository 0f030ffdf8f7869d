package convert

import (
	"bytes"
	"context"
	"slices"

	"paligemma/internal/safetensors"
)

// weights are the files that a checkpoint's tensors lie in. Whatever kind they are
// of, their tensors have the shapes and orders of transformers.
type weights interface {
	// rows returns the rows of a tensor, each of width values. With plusOne one is
	// added to each value.
	rows(e safetensors.Entry, width int, plusOne bool) rowSource
	// equal reports whether two tensors have the same shape and values.
	equal(ctx context.Context, a, b safetensors.Entry) (bool, error)
	// Unchanged returns an error if a file was changed since it was opened.
	Unchanged() error
	// Close closes the files.
	Close() error
}

// plainWeights are safetensors.
type plainWeights struct{ *safetensors.Checkpoint }

func (p plainWeights) rows(e safetensors.Entry, width int, plusOne bool) rowSource {
	return checkpointRows{p.Checkpoint, e, width, plusOne}
}

func (p plainWeights) equal(ctx context.Context, a, b safetensors.Entry) (bool, error) {
	if !slices.Equal(a.Shape, b.Shape) {
		return false, nil
	}
	if a.DType != b.DType {
		if a.DType.Size() == 0 || b.DType.Size() == 0 {
			return false, nil
		}
		return equalValues(ctx, p, a, b)
	}
	x, y := make([]byte, 4*chunkValues), make([]byte, 4*chunkValues)
	for off := int64(0); off < a.Size; off += int64(len(x)) {
		if err := ctx.Err(); err != nil {
			return false, err
		}
		n := min(int64(len(x)), a.Size-off)
		if err := p.ReadAt(a, x[:n], off); err != nil {
			return false, err
		}
		if err := p.ReadAt(b, y[:n], off); err != nil {
			return false, err
		}
		if !bytes.Equal(x[:n], y[:n]) {
			return false, nil
		}
	}
	return true, nil
}

// equalValues compares tensors as they would be converted.
func equalValues(ctx context.Context, w weights, a, b safetensors.Entry) (bool, error) {
	if !slices.Equal(a.Shape, b.Shape) {
		return false, nil
	}
	var lent scratch
	x, y := make([]float32, chunkValues), make([]float32, chunkValues)
	width := 1
	if n := len(a.Shape); n > 0 {
		width = int(a.Shape[n-1])
	}
	rows := max(1, chunkValues/max(width, 1))
	height := int(a.Elements()) / max(width, 1)
	for at := 0; at < height; at += rows {
		if err := ctx.Err(); err != nil {
			return false, err
		}
		n := min(rows, height-at) * width
		x, y = room(x, n), room(y, n)
		if err := w.rows(a, width, false).read(x, at, &lent); err != nil {
			return false, err
		}
		if err := w.rows(b, width, false).read(y, at, &lent); err != nil {
			return false, err
		}
		if !slices.Equal(x, y) {
			return false, nil
		}
	}
	return true, nil
}

// paths lists the files that tensors lie in.
func paths(entries []safetensors.Entry) []string {
	var all []string
	for _, e := range entries {
		if len(all) == 0 || all[len(all)-1] != e.Path {
			all = append(all, e.Path)
		}
	}
	return all
}
