// Package pictures cuts a stream of PNG and JPEG files, such as ffmpeg's image2pipe
// writes, into the files.
package pictures

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

const (
	pngStart  = "\x89PNG\r\n\x1a\n"
	jpegStart = "\xff\xd8\xff"
)

// Markers of JPEG.
const (
	markerTEM  = 0x01
	markerRST0 = 0xd0
	markerSOI  = 0xd8
	markerEOI  = 0xd9
)

// maxChunk is the longest chunk that PNG allows, in bytes.
const maxChunk = 1<<31 - 1

// ErrFormat says that a stream does not begin with a picture.
var ErrFormat = errors.New("neither PNG nor JPEG")

// ErrTooLong is wrapped by errors about a picture over the limit. The scanner is then
// at its end.
var ErrTooLong = errors.New("more than the limit")

// Scanner reads pictures one after the other and holds no more than one of them.
type Scanner struct {
	r       *bufio.Reader
	max     int64
	begun   bool
	picture []byte
	size    int64
	whole   bool
}

// NewScanner returns a scanner of pictures of at most max bytes each.
func NewScanner(r io.Reader, max int64) *Scanner {
	return &Scanner{r: bufio.NewReaderSize(r, 64<<10), max: max}
}

// Next returns the bytes of the next picture, of the last one as far as they are there.
// What stands between two pictures is skipped. At the end the error is [io.EOF].
func (s *Scanner) Next() ([]byte, error) {
	scan, err := s.seek()
	if err != nil {
		return nil, err
	}
	s.picture, s.size, s.whole = nil, 0, false
	if err := scan(); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	if s.size > s.max {
		return nil, fmt.Errorf("%d bytes are %w of %d", s.size, ErrTooLong, s.max)
	}
	picture := s.picture
	s.picture = nil
	return picture, nil
}

// Length returns the length of the picture that data begins with; 0 if it is not whole
// or of another format.
func Length(data []byte) int64 {
	s := NewScanner(bytes.NewReader(data), 0)
	if _, err := s.Next(); err != nil && !errors.Is(err, ErrTooLong) || !s.whole {
		return 0
	}
	return s.size
}

// seek goes to the beginning of the next picture and returns what reads it.
func (s *Scanner) seek() (scan func() error, err error) {
	for {
		head, err := s.r.Peek(len(pngStart))
		switch {
		case bytes.HasPrefix(head, []byte(pngStart)):
			s.begun = true
			return s.png, nil
		case bytes.HasPrefix(head, []byte(jpegStart)):
			s.begun = true
			return s.jpeg, nil
		case len(head) == 0:
			return nil, err
		case !s.begun:
			return nil, ErrFormat
		}
		ahead, _ := s.r.Peek(s.r.Buffered())
		if _, err := s.r.Discard(1 + indexStart(ahead[1:])); err != nil {
			return nil, err
		}
	}
}

// indexStart returns the index of the first byte that may begin a picture, or the length.
func indexStart(b []byte) int {
	for i, c := range b {
		if c == pngStart[0] || c == jpegStart[0] {
			return i
		}
	}
	return len(b)
}

// add takes bytes of the picture, and drops all of it when they are too many.
func (s *Scanner) add(b []byte) {
	s.size += int64(len(b))
	if s.size > s.max {
		s.picture = nil
		return
	}
	s.picture = append(s.picture, b...)
}

// copy takes the next n bytes.
func (s *Scanner) copy(n int64) error {
	for n > 0 {
		b, err := s.r.Peek(int(min(n, int64(s.r.Size()))))
		s.add(b)
		_, _ = s.r.Discard(len(b))
		if n -= int64(len(b)); n > 0 && err != nil {
			return err
		}
	}
	return nil
}

// peek returns the next n bytes, which are not read yet. If there are fewer, it takes
// them.
func (s *Scanner) peek(n int) ([]byte, error) {
	head, err := s.r.Peek(n)
	if err != nil {
		_ = s.copy(int64(len(head)))
	}
	return head, err
}

// png reads chunks until IEND.
func (s *Scanner) png() error {
	if err := s.copy(int64(len(pngStart))); err != nil {
		return err
	}
	for {
		head, err := s.peek(8)
		if err != nil {
			return err
		}
		length, end := int64(binary.BigEndian.Uint32(head)), string(head[4:]) == "IEND"
		if length > maxChunk {
			return nil // damaged: what follows is looked through for the next picture
		}
		if err := s.copy(8 + length + 4); err != nil {
			return err
		}
		if end {
			s.whole = true
			return nil
		}
	}
}

// jpeg reads segments and what is between them until EOI. Pictures in segments, such as
// thumbnails, are skipped with these; a new beginning elsewhere ends a picture that was
// cut.
func (s *Scanner) jpeg() error {
	if err := s.copy(2); err != nil {
		return err
	}
	for {
		marker, err := s.marker()
		if err != nil {
			return err
		}
		if marker == markerSOI {
			return nil
		}
		if err := s.copy(2); err != nil {
			return err
		}
		switch {
		case marker == markerEOI:
			s.whole = true
			return nil
		case marker == 0, marker == markerTEM, marker >= markerRST0 && marker < markerSOI:
			continue // nothing belongs to them
		}
		head, err := s.peek(2)
		if err != nil {
			return err
		}
		if err := s.copy(int64(max(binary.BigEndian.Uint16(head), 2))); err != nil {
			return err
		}
	}
}

// marker goes to the next marker, which is not read yet, and returns its code; 0 of a
// byte of data that looks like one.
func (s *Scanner) marker() (byte, error) {
	for {
		if _, err := s.r.Peek(1); err != nil {
			return 0, err
		}
		ahead, _ := s.r.Peek(s.r.Buffered())
		at := bytes.IndexByte(ahead, 0xff)
		if at < 0 {
			at = len(ahead)
		}
		if err := s.copy(int64(at)); err != nil {
			return 0, err
		}
		if at == len(ahead) {
			continue
		}
		head, err := s.peek(2)
		if err != nil {
			return 0, err
		}
		if head[1] != 0xff { // else it fills
			return head[1], nil
		}
		if err := s.copy(1); err != nil {
			return 0, err
		}
	}
}
