package gguf

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"

	"paligemma/internal/regular"
)

// Options say how Open reads a file.
type Options struct {
	// NoMmap reads the whole file into memory in place of mapping it: slower
	// to open, safe against a file that is overwritten while it is in use.
	NoMmap bool
	// Before is called, unless nil, with the header and the file's size before the
	// bytes are mapped or read. Its error is Open's.
	Before func(h *Header, size int64) error
}

// File is an open GGUF file: its header and the bytes of its tensors.
type File struct {
	*Header

	path  string
	data  []byte
	unmap func() error // nil if data lies in Go's heap

	file   *regular.File // nil for FromBytes; open only if mapped
	mapped bool
}

// Open maps the file at path read-only and parses its header; every error
// names the path. The caller closes the File when nothing uses its bytes. On
// systems without mmap it reads the file into memory.
func Open(path string, opts Options) (*File, error) {
	file, err := regular.Open(path)
	if err != nil {
		return nil, err
	}
	f, err := open(path, file, opts)
	if err != nil {
		file.Close()
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if !f.mapped {
		file.Close()
	}
	return f, nil
}

func open(path string, file *regular.File, opts Options) (*File, error) {
	size := file.Size()
	if size > math.MaxInt {
		return nil, fmt.Errorf("%d bytes are too many for this machine", size)
	}
	// The header and its values are read through ReadAt, not through the
	// mapping: a file that shrinks meanwhile is then an error and not a fault.
	h, err := Parse(file, size)
	if err != nil {
		return nil, err
	}
	if opts.Before != nil {
		if err := opts.Before(h, size); err != nil {
			return nil, err
		}
	}
	f := &File{Header: h, path: path, file: file}
	if !opts.NoMmap && canMap {
		if f.data, f.unmap, err = mapFile(path, file.File, size); err != nil {
			return nil, fmt.Errorf("map: %w", err)
		}
		f.mapped = true
		return f, nil
	}
	if f.data, f.unmap, err = allocate(size); err != nil {
		return nil, fmt.Errorf("allocate %d bytes: %w", size, err)
	}
	if _, err := io.ReadFull(io.NewSectionReader(file, 0, size), f.data); err != nil {
		return nil, errors.Join(fmt.Errorf("read: %w", err), f.Close())
	}
	h.r = bytes.NewReader(f.data)
	return f, nil
}

// FromBytes parses a file that is already in memory, such as an embedded one.
// It does not copy data, which must not change while the File is in use. The
// name stands for the path in errors.
func FromBytes(name string, data []byte) (*File, error) {
	h, err := Parse(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return &File{Header: h, path: name, data: data}, nil
}

// Path is the path (or the name) that the file was opened by.
func (f *File) Path() string { return f.path }

// SameFile reports whether path names the file that was opened, in whatever way.
// It is false for bytes in memory (FromBytes).
func (f *File) SameFile(path string) bool {
	return f.file != nil && f.file.Is(path)
}

// Bytes is the whole file, nil after Close. It must not be written to.
func (f *File) Bytes() []byte { return f.data }

// Data gives the bytes of t, which must not be written to. They are valid
// until Close. It is nil if t does not lie in the file's data section, and
// after Close.
func (f *File) Data(t Tensor) []byte {
	room := int64(len(f.data)) - f.DataOffset
	if t.Offset < 0 || t.Size < 0 || t.Offset > room || t.Size > room-t.Offset {
		return nil
	}
	start := f.DataOffset + t.Offset
	return f.data[start : start+t.Size : start+t.Size]
}

// Unchanged returns an error if a mapped file's size or modification time
// differ from those at Open, or if another file has taken its path. It is nil
// for a File that lies in memory, and for one that was deleted: its bytes last
// until Close.
func (f *File) Unchanged() error {
	if !f.mapped {
		return nil
	}
	return f.file.Unchanged()
}

// Close unmaps the file. Slices from Data and Bytes must not be used after it;
// of the header's values, the short ones may be. A second Close does nothing.
func (f *File) Close() error {
	f.data = nil
	if f.Header != nil {
		f.r = closed{}
	}
	var err error
	if f.unmap != nil {
		err = f.unmap()
		f.unmap = nil
	}
	if f.mapped {
		err = errors.Join(err, f.file.Close())
		f.mapped = false
	}
	if err != nil {
		return fmt.Errorf("close %s: %w", f.path, err)
	}
	return nil
}

// OffHeap reports whether the bytes lie outside Go's heap, in a mapping of the
// file or in memory of their own: C code may then keep pointers into them until
// Close.
func (f *File) OffHeap() bool { return f.unmap != nil }

// closed is what a closed file's header reads.
type closed struct{}

func (closed) ReadAt([]byte, int64) (int, error) { return 0, fs.ErrClosed }
