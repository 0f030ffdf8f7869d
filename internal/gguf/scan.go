package gguf

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
)

// firstRead is how much of a file is read to begin with; it holds the header
// of any file without a vocabulary.
const firstRead = 64 << 10

// scanner reads a file's header from the start. What it has read stays in buf,
// so a value can be kept as a range of it. The buffer grows by doubling and
// never beyond the file, so a lying count costs nothing.
type scanner struct {
	r    io.ReaderAt
	size int64 // of the file
	buf  []byte
	pos  int // of the next byte, in buf and in the file
	err  error
}

// fail keeps the first error, which every later read returns.
func (s *scanner) fail(format string, args ...any) {
	if s.err == nil {
		s.err = &FormatError{fmt.Sprintf(format, args...)}
	}
}

// left is the number of bytes from pos to the end of the file.
func (s *scanner) left() int64 { return s.size - int64(s.pos) }

// need makes sure that n more bytes are in buf, or fails.
func (s *scanner) need(n int64) bool {
	if s.err != nil {
		return false
	}
	if n <= int64(len(s.buf)-s.pos) {
		return true
	}
	if n > s.left() {
		s.fail("truncated at byte %d: %d bytes wanted, %d left", s.pos, n, s.left())
		return false
	}
	end := int64(s.pos) + n
	if end > maxHeader {
		s.fail("the header is longer than %d bytes", maxHeader)
		return false
	}
	end = min(max(end, 2*int64(len(s.buf)), firstRead), s.size, maxHeader)
	grown := make([]byte, end)
	have := copy(grown, s.buf)
	got, err := s.r.ReadAt(grown[have:], int64(have))
	if got < len(grown)-have {
		if err == nil || errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		s.err = fmt.Errorf("read header: %w", err)
		return false
	}
	s.buf = grown
	return true
}

// take returns the next n bytes, or nil after an error.
func (s *scanner) take(n int64) []byte {
	if !s.need(n) {
		return nil
	}
	b := s.buf[s.pos : s.pos+int(n)]
	s.pos += int(n)
	return b
}

func (s *scanner) uint32() uint32 {
	if b := s.take(4); b != nil {
		return binary.LittleEndian.Uint32(b)
	}
	return 0
}

func (s *scanner) uint64() uint64 {
	if b := s.take(8); b != nil {
		return binary.LittleEndian.Uint64(b)
	}
	return 0
}

// count reads a count of things that take at least each bytes, so that it
// cannot ask for more than the file holds.
func (s *scanner) count(what string, limit, each int64) int64 {
	n := s.uint64()
	if s.err != nil {
		return 0
	}
	if n > uint64(limit) {
		s.fail("%s is %d, more than the limit of %d", what, n, limit)
		return 0
	}
	if int64(n) > s.left()/each {
		s.fail("%s is %d, more than the %d bytes left can hold", what, n, s.left())
		return 0
	}
	return int64(n)
}

// string reads a length and as many bytes.
func (s *scanner) string(what string, limit int64) []byte {
	n := s.uint64()
	if s.err != nil {
		return nil
	}
	if n > uint64(limit) {
		s.fail("%s is %d bytes long, more than the limit of %d", what, n, limit)
		return nil
	}
	if int64(n) > s.left() {
		s.fail("%s is %d bytes long, with %d left in the file", what, n, s.left())
		return nil
	}
	return s.take(int64(n))
}

// align rounds n up to a multiple of a power of two, and is negative if that
// overflows.
func align(n, alignment int64) int64 {
	if n > math.MaxInt64-(alignment-1) {
		return -1
	}
	return (n + alignment - 1) &^ (alignment - 1)
}
