package gguf

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"strings"
	"unicode/utf8"

	"paligemma/internal/quote"
)

var magic = []byte("GGUF")

// Header is all of a file but its tensors' data. Values of up to maxKept bytes
// lie in memory of their own; longer ones, such as a vocabulary, are read from
// the file when a getter is asked for them, which is an error once the file is
// closed or has become shorter. Getters may be called from several goroutines.
type Header struct {
	Version    uint32   // 2 or 3
	Alignment  int64    // of tensor data, in bytes
	DataOffset int64    // of the data section, from the start of the file
	Tensors    []Tensor // in file order, which is also the order of their data

	keys    []string
	values  map[string]value
	tensors map[string]int
	r       io.ReaderAt // for values longer than maxKept
}

// FormatError says that a file is not a GGUF file this package accepts, as
// opposed to one that could not be read.
type FormatError struct{ Msg string }

// Error is the message, which names the key or tensor concerned.
func (e *FormatError) Error() string { return "invalid gguf: " + e.Msg }

// Lookup finds a tensor by name.
func (h *Header) Lookup(name string) (Tensor, bool) {
	i, ok := h.tensors[name]
	if !ok {
		return Tensor{}, false
	}
	return h.Tensors[i], true
}

// Parse checks everything but the tensors' data of a file of the given size.
// It reads no more of long values than it takes to check them; r must last for
// as long as they may be asked for.
func Parse(r io.ReaderAt, size int64) (*Header, error) {
	s := &scanner{r: r, size: size}
	h := &Header{Alignment: defaultAlignment, r: r}
	tensors, keys := parseStart(s, h)
	parseKeys(s, h, keys)
	parseTensors(s, h, tensors)
	if s.err == nil {
		checkLayout(s, h)
	}
	if s.err != nil {
		return nil, s.err
	}
	return h, nil
}

// parseStart reads the magic, the version and the two counts.
func parseStart(s *scanner, h *Header) (tensors, keys int64) {
	if s.size < int64(len(magic)) {
		s.fail("%d bytes long, too short for the magic", s.size)
	}
	if got := s.take(int64(len(magic))); s.err == nil && !bytes.Equal(got, magic) {
		s.fail("magic is %s, want %s", quote.Short(got), quote.Short(magic))
	}
	h.Version = s.uint32()
	if s.err == nil && h.Version != 2 && h.Version != 3 {
		switch {
		case h.Version == 1:
			s.fail("version 1 is not supported")
		case h.Version&0xffff == 0:
			s.fail("version is %#x: the file is big-endian", h.Version)
		default:
			s.fail("version is %d, want 2 or 3", h.Version)
		}
	}
	// The least that an entry takes: name length and byte, dimensions, one
	// dimension, type, offset; key length and byte, type, one byte of value.
	tensors = s.count("the number of tensors", maxTensors, 8+1+4+8+4+8)
	keys = s.count("the number of keys", maxKeys, 8+1+4+1)
	return tensors, keys
}

func parseKeys(s *scanner, h *Header, n int64) {
	h.values = make(map[string]value, n)
	for i := range n {
		key := s.name(fmt.Sprintf("key %d", i), maxKeyLen)
		if s.err != nil {
			return
		}
		if err := checkName(key); err != nil {
			s.fail("key %d %v", i, err)
			return
		}
		if _, dup := h.values[key]; dup {
			s.fail("key %s is there twice", quote.Short(key))
			return
		}
		v := parseValue(s, key)
		if s.err != nil {
			return
		}
		h.keys = append(h.keys, key)
		h.values[key] = v
	}
	if v, ok := h.values[alignmentKey]; ok {
		if v.kind != kindUint32 {
			s.fail("key %s is %s, want uint32", quote.Short(alignmentKey), v.describe())
			return
		}
		a := int64(binary.LittleEndian.Uint32(v.kept))
		if err := checkAlignment(a); err != nil {
			s.fail("key %s %v", quote.Short(alignmentKey), err)
			return
		}
		h.Alignment = a
	}
}

// checkAlignment checks a value of general.alignment.
func checkAlignment(a int64) error {
	if a < minAlignment || a > maxAlignment || a&(a-1) != 0 {
		return fmt.Errorf("is %d, want a power of two from %d to %d", a, minAlignment, maxAlignment)
	}
	return nil
}

// checkName checks what keys and tensor names have in common.
func checkName(name string) error {
	switch {
	case name == "":
		return fmt.Errorf("is empty")
	case !utf8.ValidString(name):
		return fmt.Errorf("%s is not valid utf-8", quote.Short(name))
	case strings.IndexByte(name, 0) >= 0:
		return fmt.Errorf("%s contains a zero byte", quote.Short(name))
	}
	return nil
}

func parseTensors(s *scanner, h *Header, n int64) {
	if s.err != nil {
		return
	}
	h.tensors = make(map[string]int, n)
	for i := range n {
		t := parseTensor(s, i)
		if s.err != nil {
			return
		}
		if _, dup := h.tensors[t.Name]; dup {
			s.fail("tensor %s is there twice", quote.Short(t.Name))
			return
		}
		h.tensors[t.Name] = len(h.Tensors)
		h.Tensors = append(h.Tensors, t)
	}
}

func parseTensor(s *scanner, i int64) Tensor {
	var t Tensor
	t.Name = s.name(fmt.Sprintf("the name of tensor %d", i), maxName)
	if s.err != nil {
		return t
	}
	if err := checkName(t.Name); err != nil {
		s.fail("the name of tensor %d %v", i, err)
		return t
	}
	dims := s.uint32()
	if s.err == nil && (dims < 1 || dims > maxDims) {
		s.fail("tensor %s: %d dimensions, want 1 to %d", quote.Short(t.Name), dims, maxDims)
		return t
	}
	for range dims {
		d := s.uint64()
		if s.err == nil && d > math.MaxInt64 {
			s.fail("tensor %s: a dimension of %d overflows", quote.Short(t.Name), d)
		}
		t.Shape = append(t.Shape, int64(d))
	}
	t.Type = Type(s.uint32())
	offset := s.uint64()
	if s.err != nil {
		return t
	}
	var err error
	if t.Size, err = tensorSize(t.Type, t.Shape); err != nil {
		s.fail("tensor %s: %v", quote.Short(t.Name), err)
		return t
	}
	if offset > math.MaxInt64 {
		s.fail("tensor %s: offset %d overflows", quote.Short(t.Name), offset)
		return t
	}
	t.Offset = int64(offset)
	return t
}

// checkLayout checks that the tensors' data follow one another with nothing
// but padding between, and fill the file.
func checkLayout(s *scanner, h *Header) {
	end := s.pos // of the last thing in the file; then of its padding
	h.DataOffset = align(end, h.Alignment)
	padded := h.DataOffset
	for _, t := range h.Tensors {
		if want := padded - h.DataOffset; t.Offset != want {
			s.fail("tensor %s: offset is %d, want %d", quote.Short(t.Name), t.Offset, want)
			return
		}
		if t.Size > s.size-padded {
			s.fail("tensor %s: %d bytes at %d reach past the file's end at %d", quote.Short(t.Name), t.Size, padded, s.size)
			return
		}
		end = padded + t.Size
		if padded = align(end, h.Alignment); padded < 0 {
			s.fail("tensor %s: its end overflows", quote.Short(t.Name))
			return
		}
	}
	if s.size > padded {
		s.fail("%d bytes after the last tensor", s.size-end)
	}
}
