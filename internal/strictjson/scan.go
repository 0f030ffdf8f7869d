package strictjson

import (
	"encoding/json"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

// Number reads a number as it is written.
func (r *Reader) Number() (json.Number, error) {
	if err := r.want(Number, "a number"); err != nil {
		return "", err
	}
	start := r.at
	if r.text[r.at] == '-' {
		r.at++
	}
	if r.at < len(r.text) && r.text[r.at] == '0' {
		r.at++ // no other digit may follow
	} else if !r.digits() {
		return "", r.unexpected("a digit")
	}
	if r.next('.') && !r.digits() {
		return "", r.unexpected("a digit")
	}
	if r.next('e') || r.next('E') {
		if !r.next('+') {
			r.next('-')
		}
		if !r.digits() {
			return "", r.unexpected("a digit")
		}
	}
	return json.Number(r.text[start:r.at]), nil
}

// next skips the byte c, if that is next.
func (r *Reader) next(c byte) bool {
	if r.at < len(r.text) && r.text[r.at] == c {
		r.at++
		return true
	}
	return false
}

// digits skips digits and reports whether there were any.
func (r *Reader) digits() bool {
	start := r.at
	for r.at < len(r.text) && isDigit(r.text[r.at]) {
		r.at++
	}
	return r.at > start
}

// string reads a string, whose quotation mark is next.
func (r *Reader) string() (string, error) {
	r.at++
	start := r.at
	for ; r.at < len(r.text); r.at++ {
		switch c := r.text[r.at]; {
		case c == '"':
			r.at++
			return r.text[start : r.at-1], nil
		case c == '\\':
			return r.escaped(r.text[start:r.at])
		case c < ' ':
			return "", bad(r.at, "a control character in a string")
		}
	}
	return "", bad(r.at, "it ends inside a string")
}

// escaped reads the rest of a string, from the first backslash on, after what
// was read of it.
func (r *Reader) escaped(before string) (string, error) {
	var b strings.Builder
	b.WriteString(before)
	for r.at < len(r.text) {
		switch c := r.text[r.at]; {
		case c == '"':
			r.at++
			return b.String(), nil
		case c == '\\':
			char, err := r.escape()
			if err != nil {
				return "", err
			}
			b.WriteRune(char)
		case c < ' ':
			return "", bad(r.at, "a control character in a string")
		default:
			b.WriteByte(c)
			r.at++
		}
	}
	return "", bad(r.at, "it ends inside a string")
}

// escapes are the characters after a backslash, and what they stand for.
var escapes = map[byte]rune{'"': '"', '\\': '\\', '/': '/', 'b': '\b', 'f': '\f', 'n': '\n', 'r': '\r', 't': '\t'}

// escape reads an escape. A surrogate without its other half becomes U+FFFD, as
// in encoding/json.
func (r *Reader) escape() (rune, error) {
	if r.at+1 >= len(r.text) {
		return 0, bad(len(r.text), "it ends inside a string")
	}
	if c, ok := escapes[r.text[r.at+1]]; ok {
		r.at += 2
		return c, nil
	}
	first, ok := hex4(r.text[r.at:])
	if !ok {
		return 0, bad(r.at, "not an escape that json has")
	}
	r.at += 6
	if !utf16.IsSurrogate(first) {
		return first, nil
	}
	if second, ok := hex4(r.text[r.at:]); ok {
		if char := utf16.DecodeRune(first, second); char != unicode.ReplacementChar {
			r.at += 6
			return char, nil
		}
	}
	return utf8.RuneError, nil
}

// hex4 reads \uXXXX at the beginning of text.
func hex4(text string) (rune, bool) {
	if len(text) < 6 || text[0] != '\\' || text[1] != 'u' {
		return 0, false
	}
	n, err := strconv.ParseUint(text[2:6], 16, 16)
	return rune(n), err == nil
}
