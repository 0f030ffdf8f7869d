package quote

import (
	"io"
	"slices"
	"unicode/utf8"
)

// Writer escapes what is written to a terminal, as Terminal does.
type Writer struct {
	w    io.Writer
	rest []byte // of a character whose end has not been written yet
}

// NewWriter returns a writer to the terminal w.
func NewWriter(w io.Writer) *Writer { return &Writer{w: w} }

// Write writes p but for the beginning of a character at its end, which waits for
// what follows.
func (t *Writer) Write(p []byte) (int, error) {
	data := p
	if len(t.rest) > 0 {
		data = slices.Concat(t.rest, p)
	}
	end := len(data)
	for n := 1; n < utf8.UTFMax && n <= len(data); n++ {
		if tail := data[len(data)-n:]; utf8.RuneStart(tail[0]) {
			if !utf8.FullRune(tail) {
				end -= n
			}
			break
		}
	}
	t.rest = slices.Clone(data[end:])
	if _, err := io.WriteString(t.w, Terminal(string(data[:end]))); err != nil {
		return 0, err
	}
	return len(p), nil
}

// Flush writes the beginning of a character that nothing follows.
func (t *Writer) Flush() error {
	rest := t.rest
	t.rest = nil
	if len(rest) == 0 {
		return nil
	}
	_, err := io.WriteString(t.w, Terminal(string(rest)))
	return err
}
