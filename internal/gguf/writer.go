package gguf

import (
	"errors"
	"io"
)

// Writer collects metadata and tensors and writes them as a GGUF v3 file. Keys
// and tensors are written in the order they were added; the same calls give
// the same bytes. A bad key or value (a duplicate, too long, not UTF-8) is kept
// as an error that AddTensor and Encode return. The zero Writer is ready to use.
type Writer struct{}

// SetString adds a string.
func (w *Writer) SetString(key, value string) {}

// SetBool adds a bool.
func (w *Writer) SetBool(key string, value bool) {}

// SetUint32 adds a uint32. The key "general.alignment" sets the alignment of
// the tensors' data too, 32 without it.
func (w *Writer) SetUint32(key string, value uint32) {}

// SetUint64 adds a uint64.
func (w *Writer) SetUint64(key string, value uint64) {}

// SetInt32 adds an int32.
func (w *Writer) SetInt32(key string, value int32) {}

// SetFloat32 adds a float32.
func (w *Writer) SetFloat32(key string, value float32) {}

// SetStrings adds an array of strings.
func (w *Writer) SetStrings(key string, value []string) {}

// SetInt32s adds an array of int32.
func (w *Writer) SetInt32s(key string, value []int32) {}

// SetUint32s adds an array of uint32.
func (w *Writer) SetUint32s(key string, value []uint32) {}

// SetFloat32s adds an array of float32.
func (w *Writer) SetFloat32s(key string, value []float32) {}

// CopyKey adds a key of another file with its value, of whatever type.
func (w *Writer) CopyKey(h *Header, key string) {}

// AddTensor adds a tensor; the shape is in ggml's order, innermost first.
func (w *Writer) AddTensor(name string, typ Type, shape ...int64) error {
	return errors.New("not yet")
}

// Tensors lists the tensors added so far, with their offsets and sizes.
func (w *Writer) Tensors() []Tensor { return nil }

// Size is the number of bytes that Encode will write.
func (w *Writer) Size() (int64, error) { return 0, errors.New("not yet") }

// Encode writes the file to dst. It calls data once for each tensor in the
// order they were added; data must write exactly the tensor's Size bytes.
func (w *Writer) Encode(dst io.Writer, data func(t Tensor, dst io.Writer) error) error {
	return errors.New("not yet")
}
