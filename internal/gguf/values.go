package gguf

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"

	"paligemma/internal/quote"
)

// kind is the type of a metadata value, as numbered in the file.
type kind uint32

const (
	kindUint8   kind = 0
	kindInt8    kind = 1
	kindUint16  kind = 2
	kindInt16   kind = 3
	kindUint32  kind = 4
	kindInt32   kind = 5
	kindFloat32 kind = 6
	kindBool    kind = 7
	kindString  kind = 8
	kindArray   kind = 9
	kindUint64  kind = 10
	kindInt64   kind = 11
	kindFloat64 kind = 12
)

var kindNames = [...]string{"uint8", "int8", "uint16", "int16", "uint32", "int32", "float32",
	"bool", "string", "array", "uint64", "int64", "float64"}

// kindSizes are the sizes of the scalars; 0 for string and array.
var kindSizes = [...]int64{1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8}

// value is a metadata value whose bytes have been checked but not decoded: a
// scalar's, a string's without its length, or an array's elements.
type value struct {
	kind  kind
	elem  kind   // of an array
	count int    // of an array's elements
	start int64  // of the bytes in the file
	size  int64  // of the bytes
	kept  []byte // the bytes, if they are at most maxKept
}

// describe names the value's type for humans.
func (v value) describe() string {
	if v.kind == kindArray {
		return fmt.Sprintf("array of %d %s", v.count, kindNames[v.elem])
	}
	return kindNames[v.kind]
}

// parseValue reads a type and a value of it.
func parseValue(s *scanner, key string) value {
	v := value{kind: kind(s.uint32())}
	switch {
	case s.err != nil:
	case v.kind == kindArray:
		parseArray(s, key, &v)
	case v.kind == kindString:
		v.size = s.length(fmt.Sprintf("key %s", quote.Short(key)), maxString)
		v.start = s.pos
		s.skip(v.size)
	case int64(v.kind) >= int64(len(kindNames)):
		s.fail("key %s: unknown type %d", quote.Short(key), v.kind)
	default:
		v.start, v.size = s.pos, kindSizes[v.kind]
		s.skip(v.size)
	}
	if v.kind == kindBool || v.elem == kindBool {
		checkBools(s, key, v)
	}
	if s.err == nil && v.size <= maxKept {
		s.pos = v.start
		v.kept = bytes.Clone(s.take(v.size))
	}
	return v
}

func parseArray(s *scanner, key string, v *value) {
	v.elem = kind(s.uint32())
	if s.err != nil {
		return
	}
	if v.elem == kindArray {
		s.fail("key %s: nested arrays are not supported", quote.Short(key))
		return
	}
	if int64(v.elem) >= int64(len(kindNames)) {
		s.fail("key %s: array of unknown type %d", quote.Short(key), v.elem)
		return
	}
	what := fmt.Sprintf("key %s: the number of elements", quote.Short(key))
	if v.elem == kindString {
		v.count = int(s.count(what, maxArray, 8))
		v.start = s.pos
		s.skipStrings(fmt.Sprintf("key %s: a string", quote.Short(key)), v.count)
		v.size = s.pos - v.start
		return
	}
	v.count = int(s.count(what, maxArray, kindSizes[v.elem]))
	v.start, v.size = s.pos, int64(v.count)*kindSizes[v.elem]
	s.skip(v.size)
}

func checkBools(s *scanner, key string, v value) {
	for s.pos = v.start; s.err == nil && s.pos < v.start+v.size; {
		for _, b := range s.take(min(window, v.start+v.size-s.pos)) {
			if b > 1 {
				s.fail("key %s: a bool is %d, want 0 or 1", quote.Short(key), b)
				return
			}
		}
	}
}

// bytes are the value's bytes, which the caller must not write to.
func (v value) bytes(r io.ReaderAt) ([]byte, error) {
	if v.kept != nil {
		return v.kept, nil
	}
	b := make([]byte, v.size)
	return b, readAt(r, b, v.start)
}

// text is the value's bytes as a string.
func (v value) text(r io.ReaderAt) (string, error) {
	if v.kept != nil {
		return string(v.kept), nil
	}
	var b strings.Builder
	b.Grow(int(v.size))
	if n, err := io.Copy(&b, io.NewSectionReader(r, v.start, v.size)); err != nil {
		return "", err
	} else if n < v.size {
		return "", io.ErrUnexpectedEOF
	}
	return b.String(), nil
}

// decodeScalar decodes a scalar of kind k.
func decodeScalar(k kind, b []byte) any {
	le := binary.LittleEndian
	switch k {
	case kindUint8:
		return b[0]
	case kindInt8:
		return int8(b[0])
	case kindUint16:
		return le.Uint16(b)
	case kindInt16:
		return int16(le.Uint16(b))
	case kindUint32:
		return le.Uint32(b)
	case kindInt32:
		return int32(le.Uint32(b))
	case kindFloat32:
		return math.Float32frombits(le.Uint32(b))
	case kindBool:
		return b[0] != 0
	case kindUint64:
		return le.Uint64(b)
	case kindInt64:
		return int64(le.Uint64(b))
	case kindFloat64:
		return math.Float64frombits(le.Uint64(b))
	}
	return nil
}

// decodeArray decodes an array of a fixed-size kind whose Go type is T. It
// reads a long one in pieces, so as not to have it in memory twice.
func decodeArray[T any](v value, r io.ReaderAt) ([]T, error) {
	all := make([]T, v.count)
	if v.kept != nil {
		decodeNumbers(all, v.kept)
		return all, nil
	}
	size, buf := int(kindSizes[v.elem]), make([]byte, window)
	for done := 0; done < len(all); {
		part := all[done:min(len(all), done+window/size)]
		b := buf[:len(part)*size]
		if err := readAt(r, b, v.start+int64(done*size)); err != nil {
			return nil, err
		}
		decodeNumbers(part, b)
		done += len(part)
	}
	return all, nil
}

// decodeNumbers decodes len(dst) numbers.
func decodeNumbers[T any](dst []T, b []byte) {
	if dst, ok := any(dst).([]int32); ok {
		// A vocabulary has millions; binary.Decode makes a call for each.
		for i := range dst {
			dst[i] = int32(binary.LittleEndian.Uint32(b[4*i:]))
		}
		return
	}
	// The only error is a type of no fixed size, and then all stays zero.
	_, _ = binary.Decode(b, binary.LittleEndian, dst)
}

// decodeStrings decodes an array of strings. They share the memory of one copy:
// a vocabulary has a quarter of a million.
func decodeStrings(v value, r io.ReaderAt) ([]string, error) {
	text, err := v.text(r)
	if err != nil {
		return nil, err
	}
	all := make([]string, v.count)
	for i := range all {
		// parseArray has checked this, but the file may be another by now.
		if len(text) < 8 || uint64Of(text) > uint64(len(text)-8) {
			return nil, errChanged
		}
		end := 8 + uint64Of(text)
		all[i], text = text[8:end], text[end:]
	}
	return all, nil
}

// uint64Of is binary.LittleEndian.Uint64 of a string.
func uint64Of(s string) uint64 {
	_ = s[7]
	return uint64(s[0]) | uint64(s[1])<<8 | uint64(s[2])<<16 | uint64(s[3])<<24 |
		uint64(s[4])<<32 | uint64(s[5])<<40 | uint64(s[6])<<48 | uint64(s[7])<<56
}

var errChanged = errors.New("the file was changed while it was in use")

// decode decodes any value; r is read for a long one.
func (v value) decode(r io.ReaderAt) (any, error) {
	switch v.kind {
	case kindArray:
	case kindString:
		return v.text(r)
	default:
		return decodeScalar(v.kind, v.kept), nil
	}
	switch v.elem {
	case kindUint8:
		return decodeArray[uint8](v, r)
	case kindInt8:
		return decodeArray[int8](v, r)
	case kindUint16:
		return decodeArray[uint16](v, r)
	case kindInt16:
		return decodeArray[int16](v, r)
	case kindUint32:
		return decodeArray[uint32](v, r)
	case kindInt32:
		return decodeArray[int32](v, r)
	case kindFloat32:
		return decodeArray[float32](v, r)
	case kindBool:
		return decodeArray[bool](v, r)
	case kindString:
		return decodeStrings(v, r)
	case kindUint64:
		return decodeArray[uint64](v, r)
	case kindInt64:
		return decodeArray[int64](v, r)
	case kindFloat64:
		return decodeArray[float64](v, r)
	}
	return nil, nil
}
