package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	inputs "paligemma/internal/batch/source"
	"paligemma/internal/result"
	"paligemma/internal/units"
)

// maxLine bounds a line of input, in bytes, without its end.
const maxLine = 1 << 20

// numberedLines returns the lines of data, from 1, without their ends.
func numberedLines(data []byte) func(yield func(number int, line []byte) bool) {
	return func(yield func(int, []byte) bool) {
		number := 0
		for text := range bytes.Lines(data) {
			number++
			if !yield(number, trimEnd(text)) {
				return
			}
		}
	}
}

// splitLines returns the lines that are not empty.
func splitLines(data []byte) ([]string, error) {
	var texts []string
	for number, text := range numberedLines(data) {
		switch {
		case len(text) > maxLine:
			return nil, fmt.Errorf("line %d: %w of %s", number, result.ErrTooLong, units.Count(maxLine, "byte", "bytes"))
		case len(text) > 0:
			texts = append(texts, string(text))
		}
	}
	return texts, nil
}

// trimEnd returns a line without its end.
func trimEnd(text []byte) []byte {
	return bytes.TrimSuffix(bytes.TrimSuffix(text, []byte("\n")), []byte("\r"))
}

// line is a line of input, or the reason why it cannot be read: after
// [result.ErrTooLong] others follow.
type line struct {
	number int // from 1
	text   string
	err    error
}

// failure returns the error with its place.
func (l line) failure() error { return fmt.Errorf("standard input: line %d: %w", l.number, l.err) }

// scanLines reads lines of up to maxLine bytes until the end of r or of ctx.
func scanLines(ctx context.Context, r io.Reader) func(yield func(line) bool) {
	return func(yield func(line) bool) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		lines := make(chan line)
		go func() { // a read cannot be interrupted; it is left behind
			defer close(lines)
			for in := inputs.NewLineReader(r, '\n', maxLine); ; {
				text, err := in.Next()
				if errors.Is(err, io.EOF) {
					return
				}
				select {
				case lines <- line{int(in.Number), string(text), err}:
				case <-ctx.Done():
					return
				}
				if err != nil && !errors.Is(err, result.ErrTooLong) {
					return
				}
			}
		}()
		for {
			select {
			case l, ok := <-lines:
				if !ok || !yield(l) {
					return
				}
			case <-ctx.Done():
				return
			}
		}
	}
}
