// Package strictjson reads JSON that comes from outside: the one reader of
// checkpoints' configurations, tokenizers, safetensors headers and requests. It refuses
// what encoding/json accepts or mends in silence: a key that an object has
// twice, field names in another case, bytes that are not UTF-8, text after the
// value, nesting beyond maxDepth, and objects with more than maxKeys keys. It reads value by value, so that a caller
// can bound what it keeps before it is allocated, and it says where a fault is.
package strictjson

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"paligemma/internal/quote"
)

// maxDepth is the number of objects and lists that may enclose a value.
const maxDepth = 32

// maxKeys is the number of keys that an object may have, each of which takes memory
// until its end. The largest vocabularies have half of it.
const maxKeys = 1 << 19

// Raw is the text of a value, without white space around it.
type Raw = json.RawMessage

// Kind is the kind of a value.
type Kind byte

// The kinds of values, and Invalid for what does not begin one.
const (
	Invalid Kind = iota
	Null
	Bool
	Number
	String
	List
	Object
)

// Reader reads a text from its beginning to its end. Strings that it returns
// share the text's memory where they can. After an error it must not be used.
type Reader struct {
	text  string
	at    int // the next byte
	depth int // objects and lists around it
}

// NewReader returns a reader of text, which must be UTF-8.
func NewReader(text string) (*Reader, error) {
	if !utf8.ValidString(text) {
		return nil, errors.New("not valid utf-8")
	}
	if strings.HasPrefix(text, "\ufeff") {
		return nil, errors.New("bad json at byte 0: a byte order mark, which json may not begin with")
	}
	return &Reader{text: text}, nil
}

// Parse reads a text that is one value: maps, slices, strings, json.Number, bool
// and nil.
func Parse(text string) (any, error) {
	r, err := NewReader(text)
	if err != nil {
		return nil, err
	}
	v, err := r.Value()
	if err != nil {
		return nil, err
	}
	return v, r.End()
}

// bad returns an error about the text at byte at.
func bad(at int, format string, args ...any) error {
	return fmt.Errorf("bad json at byte %d: %s", at, fmt.Sprintf(format, args...))
}

// unexpected returns an error about the next byte, which is not what was wanted.
func (r *Reader) unexpected(want string) error {
	if r.at >= len(r.text) {
		return bad(r.at, "it ends where %s is wanted", want)
	}
	c, _ := utf8.DecodeRuneInString(r.text[r.at:])
	return bad(r.at, "%s where %s is wanted", quote.Short(string(c)), want)
}

// space skips white space.
func (r *Reader) space() {
	for r.at < len(r.text) {
		switch r.text[r.at] {
		case ' ', '\t', '\n', '\r':
			r.at++
		default:
			return
		}
	}
}

// accept skips white space and the byte c, if that is next.
func (r *Reader) accept(c byte) bool {
	r.space()
	if r.at < len(r.text) && r.text[r.at] == c {
		r.at++
		return true
	}
	return false
}

// Kind returns the kind of the next value.
func (r *Reader) Kind() Kind {
	r.space()
	if r.at >= len(r.text) {
		return Invalid
	}
	switch c := r.text[r.at]; {
	case c == '{':
		return Object
	case c == '[':
		return List
	case c == '"':
		return String
	case c == '-' || isDigit(c):
		return Number
	case c == 't' || c == 'f':
		return Bool
	case c == 'n':
		return Null
	}
	return Invalid
}

// want checks that the next value is of a kind, which name names.
func (r *Reader) want(kind Kind, name string) error {
	got := r.Kind()
	if got == kind {
		return nil
	}
	if got == Invalid {
		return r.unexpected(name)
	}
	start := r.at
	if err := r.Skip(); err != nil {
		return err
	}
	return fmt.Errorf("%s where %s is wanted", describe(got, r.text[start:r.at]), name)
}

// describe names a value in a message.
func describe(kind Kind, text string) string {
	switch kind {
	case Object:
		return "an object"
	case List:
		return "a list"
	case String:
		if s, err := strconv.Unquote(text); err == nil {
			return quote.Short(s)
		}
	}
	return quote.Line(text, quote.Max)
}

// End checks that nothing but white space follows.
func (r *Reader) End() error {
	if r.space(); r.at < len(r.text) {
		return bad(r.at, "something follows its end")
	}
	return nil
}

// Rest returns the text after what was read.
func (r *Reader) Rest() string { return r.text[r.at:] }

// enter begins an object or a list, leave ends it.
func (r *Reader) enter() error {
	if r.depth == maxDepth {
		return bad(r.at, "nested more than %d deep", maxDepth)
	}
	r.at++
	r.depth++
	return nil
}

func (r *Reader) leave() { r.depth-- }

// Object reads an object: it calls field for each key, which must read the
// value. A key that is there twice is an error.
func (r *Reader) Object(field func(key string) error) error {
	if err := r.want(Object, "an object"); err != nil {
		return err
	}
	if err := r.enter(); err != nil {
		return err
	}
	defer r.leave()
	seen := map[string]struct{}{}
	for first := true; !r.accept('}'); first = false {
		if !first && !r.accept(',') {
			return r.unexpected(`"," or "}"`)
		}
		if r.space(); r.at >= len(r.text) || r.text[r.at] != '"' {
			return r.unexpected("a key")
		}
		start := r.at
		key, err := r.string()
		if err != nil {
			return err
		}
		if _, twice := seen[key]; twice {
			return bad(start, "key %s is there twice", quote.Short(key))
		}
		if len(seen) == maxKeys {
			return bad(start, "more than %d keys in an object", maxKeys)
		}
		seen[key] = struct{}{}
		if !r.accept(':') {
			return r.unexpected(`":"`)
		}
		if err := field(key); err != nil {
			return err
		}
	}
	return nil
}

// List reads a list: it calls element for each value, which must read it.
func (r *Reader) List(element func() error) error {
	if err := r.want(List, "a list"); err != nil {
		return err
	}
	if err := r.enter(); err != nil {
		return err
	}
	defer r.leave()
	for first := true; !r.accept(']'); first = false {
		if !first && !r.accept(',') {
			return r.unexpected(`"," or "]"`)
		}
		if err := element(); err != nil {
			return err
		}
	}
	return nil
}

// String reads a string.
func (r *Reader) String() (string, error) {
	if err := r.want(String, "a string"); err != nil {
		return "", err
	}
	return r.string()
}

// Bool reads true or false.
func (r *Reader) Bool() (bool, error) {
	if err := r.want(Bool, "true or false"); err != nil {
		return false, err
	}
	if r.text[r.at] == 't' {
		return true, r.word("true")
	}
	return false, r.word("false")
}

// Null reads null if that is next, and reports whether it was.
func (r *Reader) Null() (bool, error) {
	if r.Kind() != Null {
		return false, nil
	}
	return true, r.word("null")
}

// word reads a word of JSON.
func (r *Reader) word(word string) error {
	if !strings.HasPrefix(r.text[r.at:], word) {
		return r.unexpected("a value")
	}
	r.at += len(word)
	return nil
}

// Int reads a whole number from low to high that is written without a fraction
// and without an exponent.
func (r *Reader) Int(low, high int64) (int64, error) {
	n, err := r.Number()
	if err != nil {
		return 0, err
	}
	i, err := strconv.ParseInt(string(n), 10, 64)
	if err != nil || i < low || i > high {
		return 0, fmt.Errorf("%s where an integer from %d to %d is wanted", quote.Line(string(n), quote.Max), low, high)
	}
	return i, nil
}

// float reads a number that a float64 holds.
func (r *Reader) float() (float64, error) {
	n, err := r.Number()
	if err != nil {
		return 0, err
	}
	f, err := n.Float64()
	if err != nil {
		return 0, fmt.Errorf("%s is beyond a float64", quote.Line(string(n), quote.Max))
	}
	return f, nil
}

// Raw reads a value of any kind and returns its text.
func (r *Reader) Raw() (Raw, error) {
	text, err := r.Text(r.Skip)
	return Raw(text), err
}

// Text calls read, which must read a value, and returns the value's text.
func (r *Reader) Text(read func() error) (string, error) {
	r.space()
	start := r.at
	err := read()
	return r.text[start:r.at], err
}

// Skip reads a value of any kind.
func (r *Reader) Skip() error {
	switch r.Kind() {
	case Object:
		return r.Object(func(string) error { return r.Skip() })
	case List:
		return r.List(r.Skip)
	}
	_, err := r.Value()
	return err
}

// Value reads a value of any kind.
func (r *Reader) Value() (any, error) {
	switch r.Kind() {
	case Object:
		m := map[string]any{}
		err := r.Object(func(key string) (err error) {
			m[key], err = r.Value()
			return err
		})
		return m, err
	case List:
		var list []any
		err := r.List(func() error {
			v, err := r.Value()
			list = append(list, v)
			return err
		})
		return list, err
	case String:
		return r.string()
	case Number:
		return r.Number()
	case Bool:
		return r.Bool()
	case Null:
		return nil, r.word("null")
	}
	return nil, r.unexpected("a value")
}

// Fields reads an object: each field that into names is read into what it
// points to, a *string, *bool, *float64 or *Raw, or by a func() error;
// all others are skipped. null leaves what is there, as if it were missing.
func (r *Reader) Fields(into map[string]any) error {
	return r.Object(func(key string) error {
		to, known := into[key]
		if !known {
			return r.Skip()
		}
		if null, err := r.Null(); null {
			return err
		}
		if err := r.into(to); err != nil {
			return fmt.Errorf("%s: %w", key, err)
		}
		return nil
	})
}

// into reads the next value into what to points to.
func (r *Reader) into(to any) (err error) {
	switch to := to.(type) {
	case *string:
		*to, err = r.String()
	case *bool:
		*to, err = r.Bool()
	case *float64:
		*to, err = r.float()
	case *Raw:
		*to, err = r.Raw()
	case func() error:
		err = to()
	default:
		err = fmt.Errorf("%T is not a type to read into", to)
	}
	return err
}
