package safetensors

import "errors"

// File is an open safetensors file. Its data is read on demand, not mapped, so
// a conversion needs little memory.
type File struct {
	*Header
}

// Open opens a file and checks its header; every error names the path.
func Open(path string) (*File, error) { return nil, errors.New("not yet") }

// Path is the path that the file was opened by.
func (f *File) Path() string { return "" }

// ReadAt fills p from off bytes into the tensor's data. Reading past the
// tensor's end is an error.
func (f *File) ReadAt(t Tensor, p []byte, off int64) error { return errors.New("not yet") }

// ReadAll reads all of a tensor's data.
func (f *File) ReadAll(t Tensor) ([]byte, error) { return nil, errors.New("not yet") }

// Close closes the file.
func (f *File) Close() error { return nil }
