// Package npz reads NumPy's files of arrays: .npz (a zip of .npy files, stored
// or deflated) and .npy (format versions 1.0, 2.0 and 3.0:
// numpy/lib/format.py). It trusts nothing in them: see the limits below.
//
// [Archive.Float32] reads an array whole. Of an array that is too large for that
// [Archive.Array] gives the header and [Archive.ReadAt] a part.
package npz

import (
	"archive/zip"
	"cmp"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"

	"paligemma/internal/quote"
	"paligemma/internal/regular"
)

// Limits of what is read.
const (
	MaxArrays     = 4096      // arrays in an archive
	MaxArrayBytes = 256 << 20 // one array that is compressed or read whole, header included
	maxDims       = 5
	maxDimension  = 1 << 28
	maxHeader     = 64 << 10
	maxDeflate    = 1032 // what a deflated byte can become at most
)

var (
	// ErrInvalid is wrapped by errors about a file that is damaged, or no
	// archive of arrays.
	ErrInvalid = errors.New("invalid npz")
	// ErrUnsupported is wrapped by errors about a valid file that this package
	// does not read: an element type, a compression method.
	ErrUnsupported = errors.New("unsupported npz")
	// ErrTooLarge is wrapped by errors about a file over a limit.
	ErrTooLarge = errors.New("npz over a limit")
	// ErrNotFound is wrapped by errors about an array that the archive lacks.
	ErrNotFound = errors.New("no such array")
)

// Archive is an open .npz. Its methods may be called from several goroutines.
type Archive struct {
	path   string // for errors; may be empty
	r      io.ReaderAt
	file   *regular.File // nil if Open did not open it
	arrays map[string]*zip.File
}

// Open opens the .npz at path and checks its directory; arrays are read and
// checked when they are asked for. Close it when done.
func Open(path string) (*Archive, error) {
	file, err := regular.Open(path)
	if err != nil {
		return nil, err
	}
	a, err := Parse(file, file.Size())
	if err != nil {
		file.Close()
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	a.path, a.file = path, file
	return a, nil
}

// Parse reads the directory of the .npz of size bytes in r and checks it: at
// most MaxArrays entries, all named NAME.npy and no name twice, stored or
// deflated and not encrypted, none of the latter over MaxArrayBytes nor larger
// than its compressed bytes can become, none overlapping another. r must stay as it is
// while the Archive is in use.
func Parse(r io.ReaderAt, size int64) (*Archive, error) {
	if size < 0 {
		return nil, fmt.Errorf("%w: negative size", ErrInvalid)
	}
	z, err := zip.NewReader(r, size)
	if err != nil && !errors.Is(err, zip.ErrInsecurePath) { // names are never used as paths
		return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	if len(z.File) > MaxArrays {
		return nil, fmt.Errorf("%w: %d arrays, at most %d", ErrTooLarge, len(z.File), MaxArrays)
	}
	a := &Archive{r: r, arrays: make(map[string]*zip.File, len(z.File))}
	type span struct{ start, end int64 }
	var spans []span
	for _, f := range z.File {
		name, ok := strings.CutSuffix(f.Name, ".npy")
		if !ok || name == "" || !utf8.ValidString(name) {
			return nil, fmt.Errorf("%w: entry %s is not named like an array", ErrInvalid, quote.Short(f.Name))
		}
		if a.arrays[name] != nil {
			return nil, fmt.Errorf("%w: array %s is there twice", ErrInvalid, quote.Short(name))
		}
		if err := checkEntry(f, size); err != nil {
			return nil, fmt.Errorf("array %s: %w", quote.Short(name), err)
		}
		start, err := f.DataOffset()
		if err != nil {
			return nil, fmt.Errorf("array %s: %w: %w", quote.Short(name), ErrInvalid, err)
		}
		end := start + int64(f.CompressedSize64)
		if end > size {
			return nil, fmt.Errorf("array %s: %w: it runs past the end of the file", quote.Short(name), ErrInvalid)
		}
		spans = append(spans, span{start, end})
		a.arrays[name] = f
	}
	slices.SortFunc(spans, func(a, b span) int { return cmp.Compare(a.start, b.start) })
	for i := 1; i < len(spans); i++ {
		if spans[i].start < spans[i-1].end {
			return nil, fmt.Errorf("%w: arrays overlap", ErrInvalid)
		}
	}
	return a, nil
}

// checkEntry checks what the directory says of an entry.
func checkEntry(f *zip.File, size int64) error {
	const encrypted = 1
	packed, unpacked := f.CompressedSize64, f.UncompressedSize64
	switch {
	case f.Flags&encrypted != 0:
		return fmt.Errorf("%w: it is encrypted", ErrUnsupported)
	case f.Method != zip.Store && f.Method != zip.Deflate:
		return fmt.Errorf("%w: compression method %d", ErrUnsupported, f.Method)
	case unpacked > MaxArrayBytes && f.Method != zip.Store:
		return fmt.Errorf("%w: %d bytes, at most %d", ErrTooLarge, unpacked, MaxArrayBytes)
	case packed > uint64(size):
		return fmt.Errorf("%w: %d bytes in a file of %d", ErrInvalid, packed, size)
	case f.Method == zip.Store && packed != unpacked,
		f.Method == zip.Deflate && unpacked > packed*maxDeflate:
		return fmt.Errorf("%w: %d bytes cannot come from %d", ErrInvalid, unpacked, packed)
	}
	return nil
}

// Close closes the file, if Open opened one.
func (a *Archive) Close() error {
	if a.file == nil {
		return nil
	}
	return a.file.Close()
}

// Float32 reads an array as float32 values in C order, with its shape (empty for
// a single value). Integers and bools are converted, f8 and large integers
// rounded. The zip's checksum is verified.
//
// It fails on names that are not there, other element types (big-endian and
// Python objects among them), more than 5 dimensions, a dimension of 0, a
// number of bytes that is not the shape's, an f8 beyond float32, and an array
// over MaxArrayBytes.
func (a *Archive) Float32(name string) (data []float32, shape []int, err error) {
	data, shape, err = a.float32(name)
	return data, shape, a.named(name, err)
}

// named puts the path and the array's name before an error, if there is one.
func (a *Archive) named(name string, err error) error {
	if err == nil {
		return nil
	}
	err = fmt.Errorf("array %s: %w", quote.Short(name), err)
	if a.path != "" {
		err = fmt.Errorf("%s: %w", a.path, err)
	}
	return err
}

func (a *Archive) float32(name string) ([]float32, []int, error) {
	f := a.arrays[name]
	if f == nil {
		return nil, nil, ErrNotFound
	}
	r, err := f.Open()
	if err != nil {
		return nil, nil, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	defer r.Close()
	data, shape, err := readNPY(r, int64(f.UncompressedSize64))
	if err != nil {
		return nil, nil, err
	}
	return data, shape, nil
}

// readNPY reads one .npy of exactly size bytes from r, to the end of r, as
// Archive.Float32 does. Memory grows with what has been read, whatever the
// header says.
func readNPY(r io.Reader, size int64) (data []float32, shape []int, err error) {
	if size > MaxArrayBytes {
		return nil, nil, fmt.Errorf("%w: %d bytes, at most %d", ErrTooLarge, size, MaxArrayBytes)
	}
	h, headerBytes, err := readHeader(r)
	if err != nil {
		return nil, nil, err
	}
	elem, n, err := h.check(headerBytes, size, MaxArrayBytes)
	if err != nil {
		return nil, nil, err
	}
	if data, err = readElements(r, elem, n); err != nil {
		return nil, nil, err
	}
	shape = make([]int, len(h.shape))
	for i, d := range h.shape {
		shape[i] = int(d)
	}
	if h.fortran {
		data = toCOrder(data, shape)
	}
	return data, shape, nil
}

// readElements reads n elements and then the end of r (where zip checks its
// checksum).
func readElements(r io.Reader, elem element, n int64) ([]float32, error) {
	const chunk = 16 << 10 // elements
	buf := make([]byte, min(n, chunk)*int64(elem.size))
	data := make([]float32, 0, min(n, 4*chunk))
	for left := n; left > 0; {
		now := min(left, chunk)
		part := buf[:now*int64(elem.size)]
		if _, err := io.ReadFull(r, part); err != nil {
			return nil, readError(err)
		}
		for i := 0; i < len(part); i += elem.size {
			v, ok := elem.decode(part[i : i+elem.size])
			if !ok {
				return nil, fmt.Errorf("%w: element %d does not fit a float32", ErrUnsupported, len(data))
			}
			data = append(data, v)
		}
		left -= now
	}
	switch n, err := io.ReadFull(r, buf[:1]); {
	case n > 0:
		return nil, fmt.Errorf("%w: bytes after the array", ErrInvalid)
	case err != io.EOF:
		return nil, readError(err)
	}
	return data, nil
}

// readError is the error for a read that failed: an end that came too soon
// means a damaged file, and so do zip's and deflate's own errors.
func readError(err error) error {
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return fmt.Errorf("%w: it is cut short", ErrInvalid)
	}
	return fmt.Errorf("%w: %w", ErrInvalid, err)
}

// toCOrder rearranges values whose first index runs fastest so that the last one
// does.
func toCOrder(src []float32, shape []int) []float32 {
	dst := make([]float32, len(src))
	index := make([]int, len(shape))
	strides := make([]int, len(shape)) // in dst
	stride := 1
	for i := len(shape) - 1; i >= 0; i-- {
		strides[i] = stride
		stride *= shape[i]
	}
	at := 0
	for _, v := range src {
		dst[at] = v
		for i := range index {
			index[i]++
			at += strides[i]
			if index[i] < shape[i] {
				break
			}
			at -= index[i] * strides[i]
			index[i] = 0
		}
	}
	return dst
}
