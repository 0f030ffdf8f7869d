package safetensors

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"unicode/utf8"

	"paligemma/internal/quote"
)

// maxDepth bounds the nesting of JSON that is skipped.
const maxDepth = 32

// FormatError says that a file is not one this package accepts, as opposed to
// one that could not be read.
type FormatError struct{ Msg string }

// Error is the message, which names the tensor or field concerned.
func (e *FormatError) Error() string { return e.Msg }

func formatf(format string, args ...any) error {
	return &FormatError{fmt.Sprintf(format, args...)}
}

// jsonReader reads JSON token by token. encoding/json's own decoding into
// structs and maps would let the last of two equal keys win in silence.
type jsonReader struct {
	dec *json.Decoder
}

// newJSONReader checks what encoding/json would silently repair.
func newJSONReader(b []byte) (*jsonReader, error) {
	if !utf8.Valid(b) {
		return nil, formatf("not valid utf-8")
	}
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.UseNumber()
	return &jsonReader{dec}, nil
}

func (r *jsonReader) token() (json.Token, error) {
	t, err := r.dec.Token()
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return nil, formatf("bad json at byte %d: %v", r.dec.InputOffset(), err)
	}
	return t, nil
}

// delim reads one of { } [ ].
func (r *jsonReader) delim(want json.Delim, what string) error {
	t, err := r.token()
	if err != nil {
		return err
	}
	if t != want {
		return formatf("%s: %s where %s is wanted", what, describe(t), quote.Short(want.String()))
	}
	return nil
}

// object reads an object and calls field for each key, which reads the value.
func (r *jsonReader) object(what string, field func(key string) error) error {
	if err := r.delim('{', what); err != nil {
		return err
	}
	return r.fields(what, field)
}

// fields reads the rest of an object after its brace.
func (r *jsonReader) fields(what string, field func(key string) error) error {
	seen := make(map[string]struct{})
	for r.dec.More() {
		key, err := r.string(what)
		if err != nil {
			return err
		}
		if _, dup := seen[key]; dup {
			return formatf("%s: key %s is there twice", what, quote.Short(key))
		}
		seen[key] = struct{}{}
		if err := field(key); err != nil {
			return err
		}
	}
	return r.delim('}', what)
}

func (r *jsonReader) string(what string) (string, error) {
	t, err := r.token()
	if err != nil {
		return "", err
	}
	s, ok := t.(string)
	if !ok {
		return "", formatf("%s: %s where a string is wanted", what, describe(t))
	}
	return s, nil
}

// ints reads an array of up to limit integers of at least 0.
func (r *jsonReader) ints(what string, limit int) ([]int64, error) {
	if err := r.delim('[', what); err != nil {
		return nil, err
	}
	var all []int64
	for r.dec.More() {
		t, err := r.token()
		if err != nil {
			return nil, err
		}
		number, ok := t.(json.Number)
		if !ok {
			return nil, formatf("%s: %s where an integer is wanted", what, describe(t))
		}
		n, err := strconv.ParseUint(number.String(), 10, 63)
		if err != nil {
			return nil, formatf("%s: %s is not an integer from 0 to 2^63-1", what, describe(t))
		}
		if len(all) == limit {
			return nil, formatf("%s: more than %d numbers", what, limit)
		}
		all = append(all, int64(n))
	}
	return all, r.delim(']', what)
}

// skip reads a value of any type.
func (r *jsonReader) skip(what string, depth int) error {
	if depth > maxDepth {
		return formatf("%s: nested more than %d deep", what, maxDepth)
	}
	t, err := r.token()
	if err != nil {
		return err
	}
	switch t {
	case json.Delim('{'):
		return r.fields(what, func(string) error { return r.skip(what, depth+1) })
	case json.Delim('['):
		for r.dec.More() {
			if err := r.skip(what, depth+1); err != nil {
				return err
			}
		}
		return r.delim(']', what)
	}
	return nil
}

// describe returns a token for a message, shortened.
func describe(t json.Token) string {
	switch t := t.(type) {
	case nil:
		return "null"
	case string:
		return quote.Short(t)
	case json.Number:
		return quote.Line(t.String(), quote.Max)
	}
	return fmt.Sprint(t)
}
