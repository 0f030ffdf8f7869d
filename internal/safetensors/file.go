package safetensors

import (
	"fmt"

	"paligemma/internal/quote"
	"paligemma/internal/regular"
)

// File is an open safetensors file. Its data is read on demand, not mapped, so
// a conversion needs little memory.
type File struct {
	*Header
	path string
	file *regular.File
}

// Open opens a file and checks its header; every error names the path.
func Open(path string) (*File, error) {
	file, err := regular.Open(path)
	if err != nil {
		return nil, err
	}
	h, err := Parse(file, file.Size())
	if err != nil {
		file.Close()
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return &File{Header: h, path: path, file: file}, nil
}

// Path is the path that the file was opened by.
func (f *File) Path() string { return f.path }

// ReadAt fills p from off bytes into the tensor's data. Reading past the
// tensor's end is an error. It may be called from several goroutines.
func (f *File) ReadAt(t Tensor, p []byte, off int64) error {
	known, ok := f.Lookup(t.Name)
	if !ok || known.Offset != t.Offset || known.Size != t.Size {
		return fmt.Errorf("%s: no such tensor: %s at %d", f.path, quote.Short(t.Name), t.Offset)
	}
	if off < 0 || off > t.Size || int64(len(p)) > t.Size-off {
		return fmt.Errorf("%s: tensor %s: bytes %d to %d of %d", f.path, quote.Short(t.Name), off, off+int64(len(p)), t.Size)
	}
	if err := readFull(f.file, p, f.DataOffset+t.Offset+off); err != nil {
		return fmt.Errorf("%s: read tensor %s: %w", f.path, quote.Short(t.Name), err)
	}
	return nil
}

// ReadAll reads all of a tensor's data.
func (f *File) ReadAll(t Tensor) ([]byte, error) {
	if known, ok := f.Lookup(t.Name); !ok || known.Size != t.Size {
		return nil, fmt.Errorf("%s: no such tensor: %s", f.path, quote.Short(t.Name))
	}
	p := make([]byte, t.Size)
	if err := f.ReadAt(t, p, 0); err != nil {
		return nil, err
	}
	return p, nil
}

// Unchanged returns an error if the file was changed or replaced since Open.
func (f *File) Unchanged() error { return f.file.Unchanged() }

// Close closes the file.
func (f *File) Close() error { return f.file.Close() }
