// Package quote makes foreign text fit to be shown: short, on one line, and
// without characters that steer a terminal. Foreign is what comes from a file, a
// model or another program.
package quote

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// Max is the length of a quotation in a message, in bytes, so that two of them
// and what is said about them are a line.
const Max = 100

const ellipsis = "…"

// Short returns s as a Go string literal of at most Max bytes: a longer one ends
// with an ellipsis. Of a long s no more is read than is shown.
func Short[T ~string | ~[]byte](s T) string {
	text := string(s[:min(len(s), Max+1)]) // a byte is at least one in the literal
	literal := append(make([]byte, 0, Max+len(ellipsis)), '"')
	keep := len(literal) // of literal, if it has to be cut
	for text != "" {
		_, n := utf8.DecodeRuneInString(text)
		escaped := strconv.Quote(text[:n])
		literal = append(literal, escaped[1:len(escaped)-1]...)
		text = text[n:]
		if len(literal) > Max-len(`"`) {
			return string(append(literal[:keep], ellipsis+`"`...))
		}
		if len(literal) <= Max-len(ellipsis+`"`) {
			keep = len(literal)
		}
	}
	return string(append(literal, '"'))
}

// reworded is an error with another message.
type reworded struct {
	message string
	error
}

func (e reworded) Error() string { return e.message }
func (e reworded) Unwrap() error { return e.error }

// Reword returns an error that wraps err and has another message.
func Reword(err error, message string) error { return reworded{message, err} }

// Error bounds the message of an error of another package, which may quote
// foreign text at length. It is nil if err is.
func Error(err error) error {
	if err == nil {
		return nil
	}
	message := err.Error()
	if len(message) <= 2*Max {
		return err
	}
	return Reword(err, middle(message, 2*Max))
}

// Few lists the first three of names, each as show makes it fit, and counts the others.
func Few(names []string, show func(string) string) string {
	const most = 3
	var shown []string
	for _, name := range names[:min(len(names), most)] {
		shown = append(shown, show(name))
	}
	text := strings.Join(shown, ", ")
	if more := len(names) - most; more > 0 {
		text += fmt.Sprintf(" … and %d more", more)
	}
	return text
}

// Line returns text on one line of at most max bytes, which must be 10 or more,
// without characters that steer a terminal. A longer one lacks its middle: what
// an error is about is at its beginning, what to do at its end.
func Line(text string, max int) string {
	text = strings.Map(func(r rune) rune {
		if r == '\n' || r == '\t' {
			return ' '
		}
		return r
	}, middle(text, 8*max)) // bounds the work
	return middle(Terminal(text), max)
}

// middle cuts text in its middle to at most max bytes.
func middle(text string, max int) string {
	if len(text) <= max {
		return text
	}
	head := (max - len(ellipsis)) / 2
	tail := len(text) - (max - len(ellipsis) - head)
	for head > 0 && !utf8.RuneStart(text[head]) {
		head--
	}
	for tail < len(text) && !utf8.RuneStart(text[tail]) {
		tail++
	}
	return text[:head] + ellipsis + text[tail:]
}

// Terminal replaces what could steer a terminal, or make it show something else
// than what is there, by escapes as JSON has them, such as \u009b: control
// characters but tab and newline, line and paragraph separators, marks that turn
// the direction of writing, and characters without a width but those that join
// or part letters and emoji. Bytes that are not UTF-8 become U+FFFD. JSON stays
// the same JSON.
func Terminal(text string) string {
	if !strings.ContainsFunc(text, func(r rune) bool { return r == utf8.RuneError || unsafe(r) }) {
		return text
	}
	var b strings.Builder
	for _, r := range text {
		if unsafe(r) {
			b.WriteString(escape(r))
		} else {
			b.WriteRune(r)
		}
	}
	return b.String()
}

// escape writes a character as JSON does.
func escape(r rune) string {
	if high, low := utf16.EncodeRune(r); high != unicode.ReplacementChar {
		return escape(high) + escape(low)
	}
	return fmt.Sprintf(`\u%04x`, r)
}

// unsafeRanges are the characters that Terminal escapes, in order.
var unsafeRanges = [...][2]rune{
	{0x00, 0x08}, {0x0b, 0x1f}, // C0 but tab and newline
	{0x7f, 0x9f},       // DEL and C1
	{0xad, 0xad},       // soft hyphen
	{0x061c, 0x061c},   // Arabic letter mark
	{0x180e, 0x180e},   // Mongolian vowel separator
	{0x200b, 0x200b},   // zero-width space
	{0x200e, 0x200f},   // left-to-right and right-to-left mark
	{0x2028, 0x202e},   // line and paragraph separator, embeddings, overrides
	{0x2060, 0x206f},   // word joiner, invisible operators, isolates, deprecated ones
	{0xfeff, 0xfeff},   // byte order mark
	{0xfff9, 0xfffb},   // interlinear annotation
	{0x1bca0, 0x1bca3}, // shorthand format controls
	{0x1d173, 0x1d17a}, // musical format controls
	{0xe0000, 0xe007f}, // tags
}

// unsafe reports whether a character is one that Terminal escapes.
func unsafe(r rune) bool {
	if r >= ' ' && r < 0x7f {
		return false
	}
	_, found := slices.BinarySearchFunc(unsafeRanges[:], r, func(bounds [2]rune, r rune) int {
		switch {
		case bounds[1] < r:
			return -1
		case bounds[0] > r:
			return 1
		}
		return 0
	})
	return found
}
