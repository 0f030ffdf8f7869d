package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"paligemma/internal/pictures"
	"paligemma/internal/preprocess"
	"paligemma/internal/result"
)

// streamedPrefix begins the names of the pictures in standard input, which are counted
// from 1.
const streamedPrefix = stdinName + "#"

// streamPlace stands for the number of a picture of a stream in names of files.
const streamPlace = "\x00"

// stream is the pictures of standard input. One goroutine at a time uses it.
type stream struct {
	scanner *pictures.Scanner
	limits  preprocess.Limits // of each picture
	count   int               // of pictures so far
	ended   bool
}

// newStream returns the pictures in standard input. Nothing is read yet.
func (a *app) newStream(o limitOptions) *stream {
	limits := a.limits(stdinName, o)
	return &stream{scanner: pictures.NewScanner(a.In, limits.MaxBytes), limits: limits}
}

// next reads the next picture and decodes it if it is not large; at the end of the
// stream the error is [io.EOF].
func (s *stream) next(ctx context.Context) (*Image, error) {
	if s.ended {
		return nil, io.EOF
	}
	start := time.Now()
	data, err := await(ctx, s.scanner.Next)
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if errors.Is(err, io.EOF) && s.count > 0 {
		s.ended = true
		return nil, io.EOF
	}
	s.count++
	source := source{path: streamedPrefix + strconv.Itoa(s.count), stream: true}
	switch {
	case errors.Is(err, io.EOF):
		err = errors.New("it is empty")
	case errors.Is(err, pictures.ErrFormat):
		err = errors.New("it does not begin with a PNG or JPEG picture, which --stream-images needs")
	case errors.Is(err, pictures.ErrTooLong):
		return nil, result.ImageError{Err: fmt.Errorf("%s: %w (--max-bytes N allows more)", source.shown(), err)}
	}
	if err != nil {
		s.ended = true
		return nil, result.ImageError{Err: fmt.Errorf("standard input: %w", cause(err))}
	}
	decoded, err := preprocess.Open(data, s.limits)
	if err != nil {
		return nil, result.ImageError{Err: fmt.Errorf("%s: %w", source.shown(), err)}
	}
	return &Image{source: source, data: data, decoded: decoded, took: time.Since(start)}, nil
}

// numbered returns the target of a picture of a stream: names with its number.
func (t target) numbered(i *Image) target {
	if !i.stream {
		return t
	}
	number := strings.TrimPrefix(i.path, streamedPrefix)
	t.shown = i.shown()
	t.name = strings.ReplaceAll(t.name, streamPlace, number)
	t.drawing = strings.ReplaceAll(t.drawing, streamPlace, number)
	return t
}

// firstPicture returns the first of several pictures, if data begins with one and
// something other than padding follows, and whether that is so.
func firstPicture(data []byte) ([]byte, bool) {
	n := pictures.Length(data)
	if n == 0 || strings.Trim(string(data[n:min(int64(len(data)), n+4096)]), "\x00\r\n") == "" {
		return data, false
	}
	return data[:n], true
}
