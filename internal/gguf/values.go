package gguf

import (
	"encoding/binary"
	"fmt"
	"math"
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

// value is a metadata value whose bytes have been checked but not decoded.
type value struct {
	kind  kind
	elem  kind   // of an array
	count int    // of an array's elements
	data  []byte // a scalar's bytes, a string without its length, an array's elements
	start int    // of data in the file
}

// describe names the value's type for people.
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
		v.data = s.string(fmt.Sprintf("key %q", key), maxString)
	case int64(v.kind) >= int64(len(kindNames)):
		s.fail("key %q: unknown type %d", key, v.kind)
	default:
		v.data = s.take(kindSizes[v.kind])
		if v.kind == kindBool {
			checkBools(s, key, v.data)
		}
	}
	v.start = s.pos - len(v.data)
	return v
}

func parseArray(s *scanner, key string, v *value) {
	v.elem = kind(s.uint32())
	if s.err != nil {
		return
	}
	if v.elem == kindArray {
		s.fail("key %q: nested arrays are not supported", key)
		return
	}
	if int64(v.elem) >= int64(len(kindNames)) {
		s.fail("key %q: array of unknown type %d", key, v.elem)
		return
	}
	what := fmt.Sprintf("key %q: the number of elements", key)
	if v.elem == kindString {
		v.count = int(s.count(what, maxArray, 8))
		start := s.pos
		what = fmt.Sprintf("key %q: a string", key)
		for range v.count {
			s.string(what, maxString)
			if s.err != nil {
				return
			}
		}
		v.data = s.buf[start:s.pos]
		return
	}
	size := kindSizes[v.elem]
	v.count = int(s.count(what, maxArray, size))
	v.data = s.take(int64(v.count) * size)
	if v.elem == kindBool {
		checkBools(s, key, v.data)
	}
}

func checkBools(s *scanner, key string, data []byte) {
	for _, b := range data {
		if b > 1 {
			s.fail("key %q: a bool is %d, want 0 or 1", key, b)
			return
		}
	}
}

// decodeScalar decodes a scalar or string of kind k.
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
	case kindString:
		return string(b)
	case kindUint64:
		return le.Uint64(b)
	case kindInt64:
		return int64(le.Uint64(b))
	case kindFloat64:
		return math.Float64frombits(le.Uint64(b))
	}
	return nil
}

// decodeArray decodes an array of a fixed-size kind whose Go type is T.
func decodeArray[T any](v value) []T {
	all := make([]T, v.count)
	// The only error is a type of no fixed size, and then all stays zero.
	_, _ = binary.Decode(v.data, binary.LittleEndian, all)
	return all
}

// decodeStrings decodes an array of strings. They share the memory of one copy:
// a vocabulary has a quarter of a million.
func decodeStrings(v value) []string {
	all := make([]string, v.count)
	b, text := v.data, string(v.data)
	for i := range all {
		n := binary.LittleEndian.Uint64(b) // checked by parseArray
		all[i] = text[8 : 8+n]
		b, text = b[8+n:], text[8+n:]
	}
	return all
}

// decode decodes any value.
func (v value) decode() any {
	if v.kind != kindArray {
		return decodeScalar(v.kind, v.data)
	}
	switch v.elem {
	case kindUint8:
		return decodeArray[uint8](v)
	case kindInt8:
		return decodeArray[int8](v)
	case kindUint16:
		return decodeArray[uint16](v)
	case kindInt16:
		return decodeArray[int16](v)
	case kindUint32:
		return decodeArray[uint32](v)
	case kindInt32:
		return decodeArray[int32](v)
	case kindFloat32:
		return decodeArray[float32](v)
	case kindBool:
		return decodeArray[bool](v)
	case kindString:
		return decodeStrings(v)
	case kindUint64:
		return decodeArray[uint64](v)
	case kindInt64:
		return decodeArray[int64](v)
	case kindFloat64:
		return decodeArray[float64](v)
	}
	return nil
}
