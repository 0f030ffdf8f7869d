package npz

import (
	"archive/zip"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
)

// maxElements bounds the elements of an array that is read in parts: more than any
// file has, and their sizes in bytes are far from overflowing.
const maxElements = 1 << 48

// Array is the header of an array that is stored, not compressed, and whose
// values can be read in parts.
type Array struct {
	Name   string
	Type   string  // of the elements, as NumPy writes it: "<f4"; "|V2" and "<V2" are bfloat16
	Shape  []int64 // outermost first; empty for a single value
	Size   int64   // of the values in bytes
	offset int64   // of the values in the file
}

// Names lists the arrays, sorted.
func (a *Archive) Names() []string { return slices.Sorted(maps.Keys(a.arrays)) }

// Array reads the header of an array. It fails where Float32 does, but for the
// limit on the size, and on arrays that are compressed or in Fortran order.
func (a *Archive) Array(name string) (Array, error) {
	array, err := a.array(name)
	return array, a.named(name, err)
}

func (a *Archive) array(name string) (Array, error) {
	f := a.arrays[name]
	if f == nil {
		return Array{}, ErrNotFound
	}
	if f.Method != zip.Store {
		return Array{}, fmt.Errorf("%w: it is compressed: unpack the file (numpy.savez(OUT, **numpy.load(IN)))", ErrUnsupported)
	}
	start, err := f.DataOffset()
	if err != nil {
		return Array{}, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	size := int64(f.UncompressedSize64)
	h, headerBytes, err := readHeader(io.NewSectionReader(a.r, start, size))
	if err != nil {
		return Array{}, err
	}
	if _, _, err := h.check(headerBytes, size, maxElements); err != nil {
		return Array{}, err
	}
	if h.fortran && len(h.shape) > 1 {
		return Array{}, fmt.Errorf("%w: it is in Fortran order: save it in C order (numpy.ascontiguousarray)", ErrUnsupported)
	}
	return Array{Name: name, Type: h.descr, Shape: h.shape, Size: size - headerBytes, offset: start + headerBytes}, nil
}

// ReadAt fills p from off bytes into the values of an array, as they lie in the
// file. The checksum is not verified: see Verify.
func (a *Archive) ReadAt(array Array, p []byte, off int64) error {
	if off < 0 || off > array.Size || int64(len(p)) > array.Size-off {
		return a.named(array.Name, fmt.Errorf("bytes %d to %d of %d", off, off+int64(len(p)), array.Size))
	}
	n, err := a.r.ReadAt(p, array.offset+off)
	if n == len(p) {
		return nil
	}
	if err == nil || errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return a.named(array.Name, err)
}

// Verify reads all of an array and compares the zip's checksum. Canceling ctx
// stops it with ctx's error.
func (a *Archive) Verify(ctx context.Context, name string) error {
	return a.named(name, a.verify(ctx, name))
}

func (a *Archive) verify(ctx context.Context, name string) error {
	f := a.arrays[name]
	if f == nil {
		return ErrNotFound
	}
	r, err := f.Open()
	if err != nil {
		return fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	defer r.Close()
	buf := make([]byte, min(1<<20, f.UncompressedSize64+1))
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		switch _, err := r.Read(buf); {
		case err == io.EOF:
			return nil
		case err != nil:
			return readError(err)
		}
	}
}

// Unchanged returns an error if the file was changed or replaced since Open.
func (a *Archive) Unchanged() error {
	if a.file == nil {
		return nil
	}
	return a.file.Unchanged()
}
