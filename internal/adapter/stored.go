package adapter

import (
	"fmt"
	"math"
	"slices"

	"paligemma/internal/model"
	"paligemma/internal/safetensors"
)

// chunkValues is how many values are read at a time where a tensor need not be in
// memory.
const chunkValues = 1 << 18

// Stored is a tensor of an adapter that replaces one of the model.
type Stored struct {
	adapter *Adapter
	tensor  safetensors.Tensor
	width   int  // values of a row
	plusOne bool // the model has 1 + w
}

// Name returns the tensor's name in the adapter.
func (s *Stored) Name() string { return s.tensor.Name }

// DType returns the tensor's type in the adapter.
func (s *Stored) DType() safetensors.DType { return s.tensor.DType }

// Read fills dst with whole rows from the row given on. scratch is used for the
// bytes, if it is large enough, and returned. It may be called from several
// goroutines, each with a scratch of its own.
func (s *Stored) Read(dst []float32, row int, scratch []byte) ([]byte, error) {
	return s.read(dst, int64(row)*int64(s.width), scratch)
}

// read fills dst with values from the one numbered from on.
func (s *Stored) read(dst []float32, from int64, scratch []byte) ([]byte, error) {
	size := s.tensor.DType.Size()
	n := len(dst) * int(size)
	scratch = slices.Grow(scratch[:0], n)[:n]
	if err := s.adapter.file.ReadAt(s.tensor, scratch, from*size); err != nil {
		return scratch, s.adapter.fail(err)
	}
	safetensors.DecodeFloat32s(dst, s.tensor.DType, scratch)
	if i := notFinite(dst); i >= 0 {
		return scratch, s.adapter.fail(damaged(s.tensor, dst[i], from+int64(i)))
	}
	if s.plusOne {
		for i := range dst {
			dst[i]++
		}
	}
	return scratch, nil
}

// all reads the whole tensor.
func (s *Stored) all() ([]float32, error) {
	values := make([]float32, s.tensor.Elements())
	_, err := s.read(values, 0, nil)
	return values, err
}

// equal reports whether two tensors have the same values.
func (s *Stored) equal(o *Stored) (bool, error) {
	n := s.tensor.Elements()
	if o.tensor.Elements() != n {
		return false, nil
	}
	x, y := make([]float32, min(n, chunkValues)), make([]float32, min(n, chunkValues))
	var scratch []byte
	for from := int64(0); from < n; from += chunkValues {
		x, y = x[:min(n-from, chunkValues)], y[:min(n-from, chunkValues)]
		var err error
		if scratch, err = s.read(x, from, scratch); err != nil {
			return false, err
		}
		if scratch, err = o.read(y, from, scratch); err != nil {
			return false, err
		}
		if !slices.Equal(x, y) {
			return false, nil
		}
	}
	return true, nil
}

// values reads a tensor of an update.
func (a *Adapter) values(t safetensors.Tensor) ([]float32, error) {
	b, err := a.file.ReadAll(t)
	if err != nil {
		return nil, err
	}
	values, err := safetensors.Float32s(t.DType, b)
	if err != nil {
		return nil, fmt.Errorf("tensor %s: %w", shown(t.Name), err)
	}
	if i := notFinite(values); i >= 0 {
		return nil, damaged(t, values[i], int64(i))
	}
	return values, nil
}

// notFinite returns the index of the first NaN or infinity, -1 if there is none.
func notFinite(values []float32) int {
	for i, v := range values {
		if math.Float32bits(v)&0x7f800000 == 0x7f800000 {
			return i
		}
	}
	return -1
}

func damaged(t safetensors.Tensor, v float32, at int64) error {
	return fmt.Errorf("tensor %s has %v as value %d: the weights are damaged, download or save them again", shown(t.Name), v, at)
}

// Changes reads what adapters make of a model of a valid configuration, by tensor
// of the file, in file order; several adapters are summed. It also returns what a
// user should know. See Resolve for what is an error.
func Changes(c model.Config, adapters []Loaded) ([]model.Change, []string, error) {
	r, err := Resolve(c, adapters)
	if err != nil {
		return nil, nil, err
	}
	var all []model.Change
	for _, e := range r.Edits {
		if e.Stored != nil {
			if e.Values, err = e.Stored.all(); err != nil {
				return nil, nil, err
			}
		}
		all = append(all, e.Change)
	}
	for _, l := range adapters {
		if err := l.Unchanged(); err != nil {
			return nil, nil, err
		}
	}
	return all, r.Notes, nil
}
