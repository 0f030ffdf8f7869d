package gguf

import (
	"bytes"
	"errors"
	"fmt"
	"math"
)

// Build lays the file out in memory of its own, outside Go's heap where the
// system has such memory, without ever holding it twice. It calls fill once for
// each tensor, in the order they were added, with the zeroed bytes that are to
// become its data. The name stands for the path in errors; the caller closes
// the File.
func (w *Writer) Build(name string, fill func(t Tensor, data []byte) error) (*File, error) {
	f, err := w.build(name, fill)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return f, nil
}

func (w *Writer) build(name string, fill func(t Tensor, data []byte) error) (*File, error) {
	_, header, size, err := w.layout()
	if err != nil {
		return nil, err
	}
	if size > math.MaxInt {
		return nil, fmt.Errorf("%d bytes are too many for this machine", size)
	}
	f := &File{path: name}
	if f.data, f.unmap, err = allocate(size); err != nil {
		return nil, fmt.Errorf("allocate %d bytes: %w", size, err)
	}
	copy(f.data, header)
	if f.Header, err = Parse(bytes.NewReader(f.data), size); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	for _, t := range f.Tensors {
		if err := fill(t, f.Data(t)); err != nil {
			return nil, errors.Join(fmt.Errorf("tensor %s: %w", t.Name, err), f.Close())
		}
	}
	return f, nil
}

// Reopen returns a file that shares f's memory, its header parsed anew: what
// opening a file of these bytes costs. f must outlive it; its own Close frees
// nothing.
func (f *File) Reopen() (*File, error) {
	if f.data == nil {
		return nil, fmt.Errorf("%s: the file is closed", f.path)
	}
	h, err := Parse(bytes.NewReader(f.data), int64(len(f.data)))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", f.path, err)
	}
	shared := &File{Header: h, path: f.path, data: f.data}
	if f.unmap != nil {
		shared.unmap = func() error { return nil }
	}
	return shared, nil
}
