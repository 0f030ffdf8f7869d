package gguf

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
)

// window is how much of a file is read at a time; it holds the header of any
// file without a vocabulary.
const window = 64 << 10

// scanner reads a file's header from the start, through a window that only
// moves to what is asked for: what is skipped is never read.
type scanner struct {
	r    io.ReaderAt
	size int64  // of the file
	pos  int64  // of the next byte
	buf  []byte // the window
	base int64  // of buf in the file
	err  error
}

// fail keeps the first error, which every later read returns.
func (s *scanner) fail(format string, args ...any) {
	if s.err == nil {
		s.err = &FormatError{fmt.Sprintf(format, args...)}
	}
}

// left is the number of bytes from pos to the end of the file.
func (s *scanner) left() int64 { return s.size - s.pos }

// has makes sure that the file and the header have room for n more bytes, or
// fails.
func (s *scanner) has(n int64) bool {
	switch {
	case s.err != nil:
	case n > s.left():
		s.fail("truncated at byte %d: %d bytes wanted, %d left", s.pos, n, s.left())
	case s.pos+n > maxHeader:
		s.fail("the header is longer than %d bytes", maxHeader)
	}
	return s.err == nil
}

// skip passes over n bytes.
func (s *scanner) skip(n int64) {
	if s.has(n) {
		s.pos += n
	}
}

// take returns the next n bytes, or nil after an error. They are valid until
// the next read; n is at most a window.
func (s *scanner) take(n int64) []byte {
	if !s.has(n) {
		return nil
	}
	if s.pos < s.base || s.pos+n > s.base+int64(len(s.buf)) {
		if s.buf == nil {
			s.buf = make([]byte, min(window, s.size))
		}
		s.base, s.buf = s.pos, s.buf[:min(int64(cap(s.buf)), s.left())]
		if s.err = readAt(s.r, s.buf, s.pos); s.err != nil {
			s.err = fmt.Errorf("read header: %w", s.err)
			return nil
		}
	}
	at := s.pos - s.base
	s.pos += n
	return s.buf[at : at+n]
}

// readAt fills b from a file that is as long as it should be.
func readAt(r io.ReaderAt, b []byte, off int64) error {
	n, err := r.ReadAt(b, off)
	switch {
	case n == len(b):
		return nil
	case err == nil || errors.Is(err, io.EOF):
		return io.ErrUnexpectedEOF
	}
	return err
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

// length reads the length of a string that the file has room for.
func (s *scanner) length(what string, limit int64) int64 {
	n := s.uint64()
	if s.err != nil {
		return 0
	}
	if n > uint64(limit) {
		s.fail("%s is %d bytes long, more than the limit of %d", what, n, limit)
		return 0
	}
	if int64(n) > s.left() {
		s.fail("%s is %d bytes long, with %d left in the file", what, n, s.left())
		return 0
	}
	return int64(n)
}

// skipStrings passes over n strings.
func (s *scanner) skipStrings(what string, n int) {
	for n > 0 && s.err == nil {
		s.skip(s.length(what, maxString))
		n--
		if s.err != nil || s.pos > s.base+int64(len(s.buf)) {
			continue
		}
		// Strings that lie in the window as a whole: they are many and short.
		b := s.buf[s.pos-s.base:]
		for n > 0 && len(b) >= 8 {
			size := binary.LittleEndian.Uint64(b)
			if size > uint64(len(b)-8) {
				break
			}
			b = b[8+size:]
			n--
		}
		s.pos = s.base + int64(len(s.buf)-len(b))
		s.has(0)
	}
}

// name reads a length and as many bytes, no more than a window.
func (s *scanner) name(what string, limit int64) string {
	return string(s.take(s.length(what, limit)))
}

// align rounds n up to a multiple of a power of two, and is negative if that
// overflows.
func align(n, alignment int64) int64 {
	if n > math.MaxInt64-(alignment-1) {
		return -1
	}
	return (n + alignment - 1) &^ (alignment - 1)
}
