package convert

import (
	"fmt"

	"paligemma/internal/safetensors"
)

// rowSource gives the values of a tensor, from wherever they are.
type rowSource interface {
	// read fills dst with whole rows, without padding, from the row given on. It
	// may be called from several goroutines, each with a scratch of its own.
	read(dst []float32, row int, s *scratch) error
}

// scratch is the memory that a worker lends to sources.
type scratch struct {
	bytes  []byte
	floats []float32
}

// room gives a slice of n elements, b itself if it is large enough.
func room[T any](b []T, n int) []T {
	if cap(b) < n {
		return make([]T, n)
	}
	return b[:n]
}

// checkpointRows are the rows of a tensor in a checkpoint.
type checkpointRows struct {
	ckpt    *safetensors.Checkpoint
	entry   safetensors.Entry
	width   int
	plusOne bool
}

func (c checkpointRows) read(dst []float32, row int, s *scratch) error {
	size := c.entry.DType.Size()
	s.bytes = room(s.bytes, len(dst)*int(size))
	if err := c.ckpt.ReadAt(c.entry, s.bytes, int64(row)*int64(c.width)*size); err != nil {
		return err
	}
	if !safetensors.DecodeFloat32s(dst, c.entry.DType, s.bytes) {
		return fmt.Errorf("tensor %s: its type is %s, want F32, F16, BF16 or F64", c.entry.Name, c.entry.DType)
	}
	if c.plusOne {
		for i := range dst {
			dst[i]++
		}
	}
	return nil
}

// memoryRows are rows in memory.
type memoryRows struct {
	values []float32
	width  int
}

func (m memoryRows) read(dst []float32, row int, _ *scratch) error {
	copy(dst, m.values[row*m.width:])
	return nil
}

// spread makes rows of stored values of those of width at the start of values,
// with zeros after them.
func spread(values []float32, width, stored int) {
	if width == stored {
		return
	}
	for r := len(values)/stored - 1; r >= 0; r-- {
		copy(values[r*stored:], values[r*width:(r+1)*width])
		clear(values[r*stored+width : (r+1)*stored])
	}
}
