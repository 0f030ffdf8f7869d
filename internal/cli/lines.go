package cli

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	"paligemma/internal/result"
	"paligemma/internal/units"
)

// maxLine bounds a line of input, in bytes, without its end.
const maxLine = 1 << 20

// errLongLine says that a line was skipped.
var errLongLine = fmt.Errorf("%w of %s", result.ErrTooLong, units.Count(maxLine, "byte", "bytes"))

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
			return nil, fmt.Errorf("line %d: %w", number, errLongLine)
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
// errLongLine others follow.
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
			buf := bufio.NewReaderSize(r, 64<<10)
			for n := 1; ; n++ {
				text, err := readLine(buf)
				if errors.Is(err, io.EOF) {
					return
				}
				select {
				case lines <- line{n, text, err}:
				case <-ctx.Done():
					return
				}
				if err != nil && !errors.Is(err, errLongLine) {
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

// readLine reads a line and returns it without its end, which a last line may
// lack. It reads to the end of a line that is too long, without holding it.
func readLine(r *bufio.Reader) (string, error) {
	var text []byte
	long := false
	for {
		part, err := r.ReadSlice('\n')
		if !long {
			text = append(text, part...)
		}
		if len(text) > maxLine+len("\r\n") {
			text, long = nil, true
		}
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case errors.Is(err, io.EOF) && (long || len(text) > 0):
		case errors.Is(err, io.EOF):
			return "", io.EOF
		case err != nil:
			return "", cause(err)
		}
		text = trimEnd(text)
		if long || len(text) > maxLine {
			return "", errLongLine
		}
		return string(text), nil
	}
}
