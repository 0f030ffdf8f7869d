// Package safetensors reads and writes safetensors files
// (https://github.com/huggingface/safetensors) and opens checkpoints made of
// them. The reader makes the checks of the Rust crate's SafeTensors::deserialize
// and some that cost no known checkpoint: JSON keys must be unique, fields
// known, and a tensor has at most 4 dimensions. Unlike the crate it accepts a
// tensor without data whose dtype is "", which some trainers leave behind.
package safetensors

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"unicode/utf8"

	"paligemma/internal/quote"
	"paligemma/internal/strictjson"
)

// Limits on what a file may declare. maxHeader is the Rust crate's.
const (
	maxHeader   = 100_000_000
	maxMetadata = 1 << 16 // entries
	maxName     = 1 << 12 // bytes of a tensor's name or of a metadata key
	maxDims     = 4

	metadataKey = "__metadata__"
)

// DType is an element type, spelled as in the file.
type DType string

// The element types this package knows.
const (
	F64  DType = "F64"
	F32  DType = "F32"
	F16  DType = "F16"
	BF16 DType = "BF16"
	I64  DType = "I64"
	I32  DType = "I32"
	I16  DType = "I16"
	I8   DType = "I8"
	U64  DType = "U64"
	U32  DType = "U32"
	U16  DType = "U16"
	U8   DType = "U8"
	BOOL DType = "BOOL"

	// These are named and measured, but never decoded: only quantized
	// checkpoints (and complex numbers) have them.
	F8E4M3     DType = "F8_E4M3"
	F8E5M2     DType = "F8_E5M2"
	F8E4M3FNUZ DType = "F8_E4M3FNUZ"
	F8E5M2FNUZ DType = "F8_E5M2FNUZ"
	F8E8M0     DType = "F8_E8M0"
	C64        DType = "C64"
)

// Size is the number of bytes of an element, 0 for an unknown type.
func (d DType) Size() int64 {
	switch d {
	case F64, I64, U64, C64:
		return 8
	case F32, I32, U32:
		return 4
	case F16, BF16, I16, U16:
		return 2
	case I8, U8, BOOL, F8E4M3, F8E5M2, F8E4M3FNUZ, F8E5M2FNUZ, F8E8M0:
		return 1
	}
	return 0
}

// Tensor describes one tensor of a file.
type Tensor struct {
	Name   string
	DType  DType
	Shape  []int64 // outermost first; empty for a scalar, else 1 to 4 dimensions
	Offset int64   // of the first byte, from the start of the data
	Size   int64   // in bytes
}

// Elements is the product of the shape. It does not overflow for a tensor that
// a Header holds.
func (t Tensor) Elements() int64 {
	n := int64(1)
	for _, d := range t.Shape {
		n *= d
	}
	return n
}

// Header is all of a file but its tensors' data.
type Header struct {
	Tensors    []Tensor          // in the order of their data
	Metadata   map[string]string // __metadata__; nil if the file has none
	DataOffset int64             // of the data, from the start of the file

	index map[string]int // by name, into Tensors
}

// Lookup finds a tensor by name.
func (h *Header) Lookup(name string) (Tensor, bool) {
	i, ok := h.index[name]
	if !ok {
		return Tensor{}, false
	}
	return h.Tensors[i], true
}

// Parse reads and checks the header of a file of the given size: eight bytes
// of length, then JSON. An error about the content is a FormatError.
func Parse(r io.ReaderAt, size int64) (*Header, error) {
	h, err := parse(r, size)
	var format *FormatError
	if errors.As(err, &format) {
		start := make([]byte, 32)
		n, _ := r.ReadAt(start, 0)
		if what := DescribeForeign(start[:n]); what != "" && (n < 9 || start[8] != '{') {
			return nil, formatf("not a safetensors file but %s", what)
		}
		return nil, formatf("invalid safetensors: %s", format.Msg)
	}
	return h, err
}

func parse(r io.ReaderAt, size int64) (*Header, error) {
	if size < 8 {
		return nil, formatf("%d bytes long, too short for the header's length", size)
	}
	var length [8]byte
	if err := readFull(r, length[:], 0); err != nil {
		return nil, fmt.Errorf("read header: %w", err)
	}
	n := binary.LittleEndian.Uint64(length[:])
	if n > maxHeader {
		return nil, formatf("the header is %d bytes long, more than the limit of %d", n, maxHeader)
	}
	if int64(n) > size-8 {
		return nil, formatf("the header is %d bytes long, with %d left in the file", n, size-8)
	}
	text, err := readText(io.NewSectionReader(r, 8, int64(n)), int64(n))
	if err != nil {
		return nil, fmt.Errorf("read header: %w", err)
	}
	if text == "" || text[0] != '{' {
		return nil, formatf("the header does not start with {")
	}
	h := &Header{DataOffset: 8 + int64(n)}
	if err := parseJSON(h, text); err != nil {
		return nil, err
	}
	if err := checkLayout(h, size-h.DataOffset); err != nil {
		return nil, err
	}
	return h, nil
}

// readFull fills p; a file that ends before is an unexpected EOF.
func readFull(r io.ReaderAt, p []byte, off int64) error {
	n, err := r.ReadAt(p, off)
	if n == len(p) {
		return nil
	}
	if err == nil || errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// readText reads n bytes; a file that ends before is an unexpected EOF.
func readText(r io.Reader, n int64) (string, error) {
	var text strings.Builder
	text.Grow(int(n))
	read, err := io.Copy(&text, io.LimitReader(r, n))
	if err == nil && read < n {
		err = io.ErrUnexpectedEOF
	}
	return text.String(), err
}

func parseJSON(h *Header, text string) error {
	r, err := strictjson.NewReader(text)
	if err != nil {
		return formatf("%v", err)
	}
	err = r.Object(func(name string) error {
		if name == metadataKey {
			return parseMetadata(h, r)
		}
		t, err := parseTensor(r, name)
		h.Tensors = append(h.Tensors, t)
		return err
	})
	if err != nil {
		return formatf("%v", err)
	}
	if rest := strings.TrimLeft(r.Rest(), " "); len(rest) > 0 {
		return formatf("header: %d bytes after the json's end", len(rest))
	}
	return nil
}

func parseMetadata(h *Header, r *strictjson.Reader) error {
	h.Metadata = make(map[string]string)
	err := r.Object(func(key string) error {
		if len(h.Metadata) == maxMetadata {
			return fmt.Errorf("more than %d entries", maxMetadata)
		}
		if len(key) > maxName {
			return fmt.Errorf("the key %s is %d bytes long, more than the limit of %d", quote.Short(key), len(key), maxName)
		}
		value, err := r.String()
		h.Metadata[key] = value
		return err
	})
	if err != nil {
		return fmt.Errorf("%s: %w", metadataKey, err)
	}
	return nil
}

func parseTensor(r *strictjson.Reader, name string) (Tensor, error) {
	if err := checkName(name); err != nil {
		return Tensor{}, err
	}
	t, err := parseFields(r)
	if err != nil {
		return t, fmt.Errorf("tensor %s: %w", quote.Short(name), err)
	}
	t.Name = name
	return t, nil
}

// parseFields reads and checks all of a tensor but its name.
func parseFields(r *strictjson.Reader) (t Tensor, err error) {
	var offsets []int64
	hasType, hasShape := false, false
	err = r.Object(func(key string) (err error) {
		switch key {
		case "dtype":
			var s string
			s, err = r.String()
			t.DType, hasType = DType(s), true
		case "shape":
			hasShape = true
			t.Shape, err = readInts(r, maxDims)
		case "data_offsets":
			offsets, err = readInts(r, 2)
		default:
			return fmt.Errorf("unknown field %s", quote.Short(key))
		}
		if err != nil {
			return fmt.Errorf("%s: %w", key, err)
		}
		return nil
	})
	switch {
	case err != nil:
		return t, err
	case !hasType:
		return t, errors.New("no dtype")
	case !hasShape:
		return t, errors.New("no shape")
	case len(offsets) != 2:
		return t, fmt.Errorf("%d data_offsets, want 2", len(offsets))
	case offsets[0] > offsets[1]:
		return t, fmt.Errorf("data_offsets %v go backwards", offsets)
	}
	t.Offset, t.Size = offsets[0], offsets[1]-offsets[0]
	size, err := tensorSize(t.DType, t.Shape)
	if err != nil {
		return t, err
	}
	if t.Size != size {
		return t, fmt.Errorf("data_offsets %v hold %d bytes, but %s of shape %v has %d", offsets, t.Size, t.DType, t.Shape, size)
	}
	return t, nil
}

// readInts reads a list of up to limit integers of at least 0.
func readInts(r *strictjson.Reader, limit int) ([]int64, error) {
	var all []int64
	err := r.List(func() error {
		if len(all) == limit {
			return fmt.Errorf("more than %d numbers", limit)
		}
		n, err := r.Int(0, math.MaxInt64)
		all = append(all, n)
		return err
	})
	return all, err
}

// checkName checks a tensor's name. A lone surrogate in JSON decodes to U+FFFD,
// which is refused: two files' names must not become one.
func checkName(name string) error {
	switch {
	case name == "":
		return formatf("a tensor's name is empty")
	case len(name) > maxName:
		return formatf("tensor %s: the name is %d bytes long, more than the limit of %d", quote.Short(name), len(name), maxName)
	case !utf8.ValidString(name) || strings.ContainsRune(name, utf8.RuneError):
		return formatf("tensor %s: the name is not valid unicode", quote.Short(name))
	}
	return nil
}

// tensorSize checks a type and shape and returns the number of bytes. Only a
// tensor without data may be of no type.
func tensorSize(dtype DType, shape []int64) (int64, error) {
	size := dtype.Size()
	if size == 0 && dtype != "" {
		return 0, fmt.Errorf("unknown dtype %s", quote.Short(dtype))
	}
	if len(shape) > maxDims {
		return 0, fmt.Errorf("shape of %d dimensions, more than the limit of %d", len(shape), maxDims)
	}
	for _, d := range shape {
		switch {
		case d < 0:
			return 0, fmt.Errorf("shape %v has a negative dimension", shape)
		case size > 0 && d > math.MaxInt64/size:
			return 0, fmt.Errorf("shape %v of %s overflows", shape, dtype)
		}
		size *= d
	}
	return size, nil
}

// checkLayout sorts the tensors by their data and checks that they fill n
// bytes without gap or overlap.
func checkLayout(h *Header, n int64) error {
	// Tensors without data come before the one that starts where they are.
	slices.SortStableFunc(h.Tensors, func(a, b Tensor) int {
		return cmp.Or(cmp.Compare(a.Offset, b.Offset), cmp.Compare(min(a.Size, 1), min(b.Size, 1)))
	})
	h.index = make(map[string]int, len(h.Tensors))
	end := int64(0)
	for i, t := range h.Tensors {
		if t.Offset != end {
			return formatf("tensor %s: data starts at %d, want %d: a gap or an overlap", quote.Short(t.Name), t.Offset, end)
		}
		if t.Size > n-end {
			return formatf("tensor %s: data ends at %d, with %d bytes in the file", quote.Short(t.Name), t.Offset+t.Size, n)
		}
		end += t.Size
		h.index[t.Name] = i
	}
	if end != n {
		return formatf("%d bytes after the last tensor", n-end)
	}
	return nil
}
