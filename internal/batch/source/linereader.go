package source

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"

	"paligemma/internal/atomicfile"
	"paligemma/internal/result"
	"paligemma/internal/units"
)

// eachLine calls f with the lines of a file of records, until it returns false. The
// error of a line that is too long wraps [result.ErrTooLong]; others end the shard.
func (o *Options) eachLine(r *reading, path string, end byte, limit int, f func(line []byte, number int64, err error) bool) {
	in, err := o.open(path)
	if err != nil {
		r.fail(err)
		return
	}
	defer in.close()
	lines := NewLineReader(in, end, limit)
	for {
		line, err := lines.Next()
		switch {
		case errors.Is(err, io.EOF):
			return
		case err != nil && !errors.Is(err, result.ErrTooLong):
			r.fail(err)
			return
		case err != nil:
			err = fmt.Errorf("line %d: %w", lines.Number, err)
		}
		if !f(line, lines.Number, err) {
			return
		}
	}
}

// lineID is the id of a record that has none: the file, and the line from 1.
func lineID(file string, number int64) string { return fmt.Sprintf("%s#%d", file, number) }

// LineReader reads lines, the first without a byte order mark.
type LineReader struct {
	Number int64 // of the line, from 1

	r   *bufio.Reader
	end byte
	max int
	buf []byte
}

// NewLineReader returns a reader of lines with an end, of at most limit bytes without it.
func NewLineReader(r io.Reader, end byte, limit int) *LineReader {
	return &LineReader{r: bufio.NewReaderSize(r, 1<<16), end: end, max: limit}
}

var byteOrderMark = []byte("\xef\xbb\xbf")

// Next returns the next line without its end, which the last may lack; it is valid
// until the next call. A line that is too long is passed over and not held: its
// error wraps [result.ErrTooLong], and others follow.
func (l *LineReader) Next() ([]byte, error) {
	l.buf, l.Number = l.buf[:0], l.Number+1
	long := false
	for {
		part, err := l.r.ReadSlice(l.end)
		if long = long || len(l.buf)+len(part) > l.max+2; !long {
			l.buf = append(l.buf, part...)
		}
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case errors.Is(err, io.EOF) && !long && len(l.buf) == 0:
			return nil, io.EOF
		case err != nil && !errors.Is(err, io.EOF):
			return nil, atomicfile.Cause(err)
		}
		break
	}
	line := bytes.TrimSuffix(l.buf, []byte{l.end})
	if l.end == '\n' {
		line = bytes.TrimSuffix(line, []byte("\r"))
	}
	if l.Number == 1 {
		line = bytes.TrimPrefix(line, byteOrderMark)
	}
	if long || len(line) > l.max {
		return nil, fmt.Errorf("%w of %s", result.ErrTooLong, units.Count(l.max, "byte", "bytes"))
	}
	return line, nil
}
