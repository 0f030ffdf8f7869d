package npz

import (
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"strings"
	"unicode/utf8"

	"paligemma/internal/half"
	"paligemma/internal/quote"
)

// element is a type of elements.
type element struct {
	size   int // bytes
	decode func([]byte) (v float32, ok bool)
}

var le = binary.LittleEndian

// bfloat16 is a type that NumPy lacks and saves as raw bytes.
var bfloat16 = element{2, func(b []byte) (float32, bool) { return half.FromBF16(le.Uint16(b)), true }}

// elements are the types that are read, by their descr. NumPy writes '|' for the
// byte order of single bytes.
var elements = map[string]element{
	"<f2": {2, func(b []byte) (float32, bool) { return half.FromF16(le.Uint16(b)), true }},
	"|V2": bfloat16, // as NumPy writes raw bytes again
	"<V2": bfloat16, // as it writes JAX's
	"<f4": {4, func(b []byte) (float32, bool) { return math.Float32frombits(le.Uint32(b)), true }},
	"<f8": {8, func(b []byte) (float32, bool) {
		d := math.Float64frombits(le.Uint64(b))
		f := float32(d)
		return f, math.IsInf(d, 0) || !math.IsInf(float64(f), 0)
	}},
	"|b1": {1, func(b []byte) (float32, bool) { return float32(b[0]), b[0] <= 1 }},
	"|i1": {1, func(b []byte) (float32, bool) { return float32(int8(b[0])), true }},
	"|u1": {1, func(b []byte) (float32, bool) { return float32(b[0]), true }},
	"<i2": {2, func(b []byte) (float32, bool) { return float32(int16(le.Uint16(b))), true }},
	"<u2": {2, func(b []byte) (float32, bool) { return float32(le.Uint16(b)), true }},
	"<i4": {4, func(b []byte) (float32, bool) { return float32(int32(le.Uint32(b))), true }},
	"<u4": {4, func(b []byte) (float32, bool) { return float32(le.Uint32(b)), true }},
	"<i8": {8, func(b []byte) (float32, bool) { return float32(int64(le.Uint64(b))), true }},
	"<u8": {8, func(b []byte) (float32, bool) { return float32(le.Uint64(b)), true }},
}

// header is what a .npy says of its array.
type header struct {
	descr   string
	fortran bool    // the first index runs fastest
	shape   []int64 // each at least 1
}

const magic = "\x93NUMPY"

// readHeader reads magic, version, length (2 bytes in version 1.0, 4 later) and
// the dictionary, and returns how many bytes that was.
func readHeader(r io.Reader) (header, int64, error) {
	var start [12]byte
	if _, err := io.ReadFull(r, start[:10]); err != nil {
		return header{}, 0, readError(err)
	}
	if string(start[:6]) != magic {
		return header{}, 0, fmt.Errorf("%w: not a .npy array", ErrInvalid)
	}
	length, used := uint32(le.Uint16(start[8:])), int64(10)
	switch {
	case start[6] == 1 && start[7] == 0:
	case (start[6] == 2 || start[6] == 3) && start[7] == 0:
		if _, err := io.ReadFull(r, start[10:]); err != nil {
			return header{}, 0, readError(err)
		}
		length, used = le.Uint32(start[8:]), 12
	default:
		return header{}, 0, fmt.Errorf("%w: .npy version %d.%d", ErrUnsupported, start[6], start[7])
	}
	if length > maxHeader {
		return header{}, 0, fmt.Errorf("%w: a header of %d bytes, at most %d", ErrTooLarge, length, maxHeader)
	}
	text := make([]byte, length)
	if _, err := io.ReadFull(r, text); err != nil {
		return header{}, 0, readError(err)
	}
	h, err := parseHeader(string(text))
	return h, used + int64(length), err
}

// check returns the type and number of the elements of an array of size bytes,
// header included, if they are what the header says and at most limit.
func (h header) check(headerBytes, size, limit int64) (element, int64, error) {
	elem, ok := elements[h.descr]
	if !ok {
		return elem, 0, fmt.Errorf("%w: element type %s", ErrUnsupported, quote.Short(h.descr))
	}
	n := int64(1)
	for _, d := range h.shape {
		if d > limit/n { // so that n stays small enough for every product
			return elem, 0, fmt.Errorf("%w: shape %v", ErrTooLarge, h.shape)
		}
		n *= d
	}
	if want := headerBytes + n*int64(elem.size); want != size {
		return elem, 0, fmt.Errorf("%w: shape %v of %s needs %d bytes, there are %d", ErrInvalid, h.shape, h.descr, want, size)
	}
	return elem, n, nil
}

// parseHeader reads the dictionary, a Python literal
//
//	{'descr': '<f4', 'fortran_order': False, 'shape': (128, 512), }
//
// with these three keys, each once, in any order; then blanks and a line feed.
func parseHeader(text string) (header, error) {
	if !utf8.ValidString(text) {
		return header{}, fmt.Errorf("%w: the header is not UTF-8", ErrInvalid)
	}
	p := literal{text: text}
	var h header
	seen := map[string]bool{}
	p.expect("{")
	for !p.accept("}") && p.err == nil {
		key := p.str()
		if p.err == nil && seen[key] {
			p.fail("key %s is there twice", quote.Short(key))
		}
		seen[key] = true
		p.expect(":")
		if err := h.field(&p, key); err != nil {
			return header{}, err
		}
		if !p.accept(",") && p.peek() != '}' {
			p.fail("no ',' or '}' after %s", quote.Short(key))
		}
	}
	if p.err == nil && len(seen) != 3 {
		p.fail("keys are missing")
	}
	if p.end(); p.err != nil {
		return header{}, p.err
	}
	if h.descr == "|O" {
		return header{}, fmt.Errorf("%w: Python objects", ErrUnsupported)
	}
	return h, nil
}

// field reads the value of a key.
func (h *header) field(p *literal, key string) error {
	switch key {
	case "descr":
		if p.peek() == '[' {
			return fmt.Errorf("%w: structured elements", ErrUnsupported)
		}
		h.descr = p.str()
	case "fortran_order":
		h.fortran = p.boolean()
	case "shape":
		h.shape = p.tuple()
	default:
		p.fail("unknown key %s", quote.Short(key))
	}
	return nil
}

// literal reads pieces of a Python literal. The first error stays, and nothing
// is read after it.
type literal struct {
	text string
	pos  int
	err  error
}

func (p *literal) fail(format string, args ...any) {
	if p.err == nil {
		p.err = fmt.Errorf("%w: array header, byte %d: %s", ErrInvalid, p.pos, fmt.Sprintf(format, args...))
	}
}

// end checks that only blanks and a line feed follow.
func (p *literal) end() {
	if p.err == nil && (p.blanks() != len(p.text)-1 || p.text[len(p.text)-1] != '\n') {
		p.fail("it does not end with blanks and a line feed")
	}
}

// blanks skips spaces and returns the position after them.
func (p *literal) blanks() int {
	for p.pos < len(p.text) && p.text[p.pos] == ' ' {
		p.pos++
	}
	return p.pos
}

// peek returns the next byte that is not a space, 0 at the end.
func (p *literal) peek() byte {
	if p.blanks() == len(p.text) {
		return 0
	}
	return p.text[p.pos]
}

func (p *literal) accept(s string) bool {
	if p.blanks(); p.err != nil || !strings.HasPrefix(p.text[p.pos:], s) {
		return false
	}
	p.pos += len(s)
	return true
}

func (p *literal) expect(s string) {
	if !p.accept(s) {
		p.fail("no %s", quote.Short(s))
	}
}

// str reads a string in single or double quotes, without escapes.
func (p *literal) str() string {
	quote := p.peek()
	if quote != '\'' && quote != '"' {
		p.fail("no string")
		return ""
	}
	rest := p.text[p.pos+1:]
	end := strings.IndexByte(rest, quote)
	if end < 0 || strings.ContainsAny(rest[:end], "\\\n") {
		p.fail("a string that does not end, or with an escape")
		return ""
	}
	p.pos += end + 2
	return rest[:end]
}

func (p *literal) boolean() bool {
	if p.accept("True") {
		return true
	}
	p.expect("False")
	return false
}

// tuple reads (), (3,), (3, 4) or (3, 4,): at most maxDims numbers from 1 on.
func (p *literal) tuple() []int64 {
	shape := []int64{}
	p.expect("(")
	comma := true // before the next number
	for !p.accept(")") && p.err == nil {
		if !comma {
			p.fail("no ',' or ')' in the shape")
			return nil
		}
		d := p.dimension()
		if shape = append(shape, d); len(shape) > maxDims {
			p.fail("more than %d dimensions", maxDims)
			return nil
		}
		comma = p.accept(",")
	}
	if len(shape) == 1 && !comma {
		p.fail("the shape is not a tuple")
	}
	return shape
}

// dimension reads a decimal number from 1 to maxDimension.
func (p *literal) dimension() int64 {
	start := p.blanks()
	v := int64(0)
	for p.pos < len(p.text) && p.text[p.pos] >= '0' && p.text[p.pos] <= '9' && v <= maxDimension {
		v = 10*v + int64(p.text[p.pos]-'0')
		p.pos++
	}
	switch {
	case p.pos == start:
		p.fail("the shape has something that is not a number")
	case p.text[start] == '0':
		p.fail("a dimension of 0, or with a leading 0")
	case v > maxDimension:
		p.fail("a dimension over %d", maxDimension)
	}
	return v
}
