package gguf

import (
	"errors"
	"fmt"
	"io"
)

// Header is all of a file but its tensors' data.
type Header struct {
	Version    uint32   // 2 or 3
	Alignment  int64    // of tensor data, in bytes
	DataOffset int64    // of the data section, from the start of the file
	Tensors    []Tensor // in file order, which is also the order of their data
}

// FormatError says that a file is not a GGUF file this package accepts, as
// opposed to one that could not be read.
type FormatError struct{ Msg string }

// Error is the message, which names the key or tensor concerned.
func (e *FormatError) Error() string { return "invalid gguf: " + e.Msg }

// MissingKeyError is a getter's error for a key that the file lacks.
type MissingKeyError struct{ Key string }

// Error names the key.
func (e *MissingKeyError) Error() string {
	return fmt.Sprintf("gguf key %q is missing", e.Key)
}

// TypeError is a getter's error for a value of another type or out of range.
type TypeError struct {
	Key  string
	Want string // such as "uint32" or "array of string"
	Got  string
}

// Error names the key and both types.
func (e *TypeError) Error() string {
	return fmt.Sprintf("gguf key %q is %s, want %s", e.Key, e.Got, e.Want)
}

// Parse reads and checks everything but the tensors' data from a file of the
// given size. It reads r from the start, in large pieces, little further than
// the header's end.
func Parse(r io.ReaderAt, size int64) (*Header, error) { return nil, errors.New("not yet") }

// Lookup finds a tensor by name.
func (h *Header) Lookup(name string) (Tensor, bool) { return Tensor{}, false }
