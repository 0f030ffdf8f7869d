package gguf

import (
	"fmt"
	"math"
	"slices"

	"paligemma/internal/quote"
)

// MissingKeyError is a getter's error for a key that the file lacks.
type MissingKeyError struct{ Key string }

// Error names the key.
func (e *MissingKeyError) Error() string {
	return fmt.Sprintf("gguf key %s is missing", quote.Short(e.Key))
}

// TypeError is a getter's error for a value of another type or out of range.
type TypeError struct {
	Key  string
	Want string // such as "uint32" or "array of string"
	Got  string // such as "int32" or "array of 3 int32"
}

// Error names the key and both types.
func (e *TypeError) Error() string {
	return fmt.Sprintf("gguf key %s is %s, want %s", quote.Short(e.Key), e.Got, e.Want)
}

// Has reports whether the file has the key, of whatever type.
func (h *Header) Has(key string) bool {
	_, ok := h.values[key]
	return ok
}

// Keys lists the metadata keys in file order.
func (h *Header) Keys() []string { return slices.Clone(h.keys) }

// KeyType describes the type of a key's value, such as "uint32" or "array of
// 257216 string"; it is empty for a missing key.
func (h *Header) KeyType(key string) string {
	if v, ok := h.values[key]; ok {
		return v.describe()
	}
	return ""
}

// Value decodes a key's value to the Go type of the same meaning (uint8 …
// float64, bool, string, or a slice of one), or to nil for a missing key and
// for a long value that cannot be read any more.
func (h *Header) Value(key string) any {
	v, ok := h.values[key]
	if !ok {
		return nil
	}
	got, err := v.decode(h.r)
	if err != nil {
		return nil
	}
	return got
}

// get decodes a value if it is of the wanted kind; elem matters to arrays only.
func get[T any](h *Header, key string, want, elem kind) (T, error) {
	var none T
	v, ok := h.values[key]
	if !ok {
		return none, &MissingKeyError{key}
	}
	if v.kind != want || (want == kindArray && v.elem != elem) {
		name := kindNames[want]
		if want == kindArray {
			name += " of " + kindNames[elem]
		}
		return none, &TypeError{Key: key, Want: name, Got: v.describe()}
	}
	decoded, err := v.decode(h.r)
	if err != nil {
		return none, fmt.Errorf("gguf key %s: %w", quote.Short(key), err)
	}
	got, _ := decoded.(T)
	return got, nil
}

// String returns the string at key. The file need not keep it valid UTF-8.
func (h *Header) String(key string) (string, error) {
	return get[string](h, key, kindString, 0)
}

// ShortString returns the string at key if it is as short as names are. One of
// more than 4096 bytes is an error, and is not read.
func (h *Header) ShortString(key string) (string, error) {
	if n, err := h.StringLen(key); err == nil && n > maxKept {
		return "", &TypeError{Key: key, Got: fmt.Sprintf("a string of %d bytes", n), Want: fmt.Sprintf("at most %d", maxKept)}
	}
	return h.String(key)
}

// Bool returns the bool at key.
func (h *Header) Bool(key string) (bool, error) { return get[bool](h, key, kindBool, 0) }

// Uint32 returns the uint32 at key.
func (h *Header) Uint32(key string) (uint32, error) { return get[uint32](h, key, kindUint32, 0) }

// Uint64 returns the uint64 at key.
func (h *Header) Uint64(key string) (uint64, error) { return get[uint64](h, key, kindUint64, 0) }

// Int32 returns the int32 at key.
func (h *Header) Int32(key string) (int32, error) { return get[int32](h, key, kindInt32, 0) }

// Float32 returns the float32 at key.
func (h *Header) Float32(key string) (float32, error) {
	return get[float32](h, key, kindFloat32, 0)
}

// Int returns the integer at key, of any integer type, if an int can hold it.
func (h *Header) Int(key string) (int, error) {
	v, ok := h.values[key]
	if !ok {
		return 0, &MissingKeyError{key}
	}
	var n int64
	switch x := decodeScalar(v.kind, v.kept).(type) {
	case uint8:
		n = int64(x)
	case int8:
		n = int64(x)
	case uint16:
		n = int64(x)
	case int16:
		n = int64(x)
	case uint32:
		n = int64(x)
	case int32:
		n = int64(x)
	case int64:
		n = x
	case uint64:
		if x > math.MaxInt64 {
			return 0, &TypeError{Key: key, Want: "an integer in range", Got: fmt.Sprint(x)}
		}
		n = int64(x)
	default:
		return 0, &TypeError{Key: key, Want: "an integer", Got: v.describe()}
	}
	if n < math.MinInt || n > math.MaxInt {
		return 0, &TypeError{Key: key, Want: "an integer in range", Got: fmt.Sprint(n)}
	}
	return int(n), nil
}

// Strings returns a copy of the array of strings at key.
func (h *Header) Strings(key string) ([]string, error) {
	return get[[]string](h, key, kindArray, kindString)
}

// Int32s returns a copy of the array of int32 at key.
func (h *Header) Int32s(key string) ([]int32, error) {
	return get[[]int32](h, key, kindArray, kindInt32)
}

// Uint32s returns a copy of the array of uint32 at key.
func (h *Header) Uint32s(key string) ([]uint32, error) {
	return get[[]uint32](h, key, kindArray, kindUint32)
}

// Float32s returns a copy of the array of float32 at key.
func (h *Header) Float32s(key string) ([]float32, error) {
	return get[[]float32](h, key, kindArray, kindFloat32)
}

// ArrayLen is the number of elements of an array, without decoding it.
func (h *Header) ArrayLen(key string) (int, error) {
	v, ok := h.values[key]
	if !ok {
		return 0, &MissingKeyError{key}
	}
	if v.kind != kindArray {
		return 0, &TypeError{Key: key, Want: "an array", Got: v.describe()}
	}
	return v.count, nil
}

// StringLen is the number of bytes of the string at key, without reading it.
func (h *Header) StringLen(key string) (int, error) {
	v, ok := h.values[key]
	if !ok {
		return 0, &MissingKeyError{key}
	}
	if v.kind != kindString {
		return 0, &TypeError{Key: key, Want: kindNames[kindString], Got: v.describe()}
	}
	return int(v.size), nil
}
