package preprocess

import (
	"errors"
	"fmt"
)

// noCode is the first number that is not a code of GIF's LZW: codes have up to
// 12 bits.
const noCode = 4096

// gifLZW decodes the image data of a GIF.
type gifLZW struct {
	blocks []byte // the data from the next block on
	block  []byte // the rest of the present one
	bits   uint32 // read ahead
	count  uint   // of them

	literals   int // the bits of a code for a single index
	clear, end int // codes

	// Since the last clear code.
	next   int  // the next code to be assigned
	width  uint // the bits of a code
	last   int  // the code before, or noCode
	first  byte // the first index of its string
	suffix [noCode]byte
	prefix [noCode]uint16

	buffer [noCode + 1]byte
}

func newGIFLZW(blocks []byte, literals int) (*gifLZW, error) {
	if literals > 12 {
		return nil, fmt.Errorf("codes of %d bits", literals)
	}
	z := &gifLZW{blocks: blocks, literals: literals, clear: 1 << literals, end: 1<<literals + 1}
	z.reset()
	return z, nil
}

// reset forgets all strings.
func (z *gifLZW) reset() {
	z.next, z.width, z.last = z.clear+2, uint(z.literals+1), noCode
}

// decode gives indices to put until it wants no more.
func (z *gifLZW) decode(put func(indices []byte) bool) error {
	for {
		code, err := z.code()
		if err != nil {
			return err
		}
		switch code {
		case z.clear:
			z.reset()
			continue
		case z.end:
			return fmt.Errorf("%w: the image data ends before the last pixel", errTruncated)
		}
		indices, err := z.expand(code)
		if err != nil {
			return err
		}
		z.assign()
		z.last = code
		if !put(indices) {
			return nil
		}
	}
}

// code reads a code.
func (z *gifLZW) code() (int, error) {
	for ; z.count < z.width; z.count += 8 {
		for len(z.block) == 0 {
			if len(z.blocks) == 0 {
				return 0, fmt.Errorf("%w: pixels are missing", errTruncated)
			}
			z.block, z.blocks = gifBlock(z.blocks)
		}
		z.bits |= uint32(z.block[0]) << z.count
		z.block = z.block[1:]
	}
	code := int(z.bits & (1<<z.width - 1))
	z.bits >>= z.width
	z.count -= z.width
	return code, nil
}

// expand returns the string of a code. That of the next code to be assigned is the
// string before with its own first index at the end.
func (z *gifLZW) expand(code int) ([]byte, error) {
	if z.last == noCode && code > z.clear || code > z.next {
		return nil, fmt.Errorf("there is no code %d", code)
	}
	at, c := len(z.buffer), code
	if code == z.next {
		at--
		z.buffer[at], c = z.first, z.last
	}
	for ; c >= z.clear; c = int(z.prefix[c]) {
		if at == 0 || c >= noCode {
			return nil, errors.New("a code stands for too many pixels")
		}
		at--
		z.buffer[at] = z.suffix[c]
	}
	if at == 0 {
		return nil, errors.New("a code stands for too many pixels")
	}
	at--
	z.buffer[at], z.first = byte(c), byte(c)
	return z.buffer[at:], nil
}

// assign gives the next code to the string before the present one with the first
// index of the latter.
func (z *gifLZW) assign() {
	if z.last == noCode || z.next >= noCode {
		return
	}
	z.suffix[z.next], z.prefix[z.next] = z.first, uint16(z.last)
	if z.next == 1<<z.width-1 && z.width < 12 {
		z.width++
	}
	z.next++
}
