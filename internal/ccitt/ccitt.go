// Package ccitt decodes the compressions of fax machines that TIFF files have (ITU-T
// T.4 and T.6), damaged data as libtiff does.
package ccitt

import (
	"errors"
	"fmt"
	"io"
	"slices"
)

// Kind is a kind of fax compression, by how a line begins.
type Kind int

const (
	RLE         Kind = iota // CCITT RLE: one-dimensional, at a byte
	RLEWords                // the same, at two bytes
	Group3                  // T.4: after an end-of-line code
	Group3Mixed             // T.4 with two-dimensional lines
	Group4                  // T.6: two-dimensional
)

// Reader decodes an image line by line.
type Reader struct {
	data  []byte
	at    int // the next bit
	w     int
	kind  Kind
	bare  bool  // Group 3 without a single end-of-line code
	lines int   // decoded so far
	above []int // where the color changes in the line before
	line  []int // the same in this one
	bad   int   // lines with an invalid code
	short bool  // whether the data ends before the last line
}

// NewReader returns a Reader of lines of width pixels.
func NewReader(data []byte, width int, kind Kind) *Reader {
	return &Reader{data: data, w: width, kind: kind}
}

// errCode says that a line cannot be decoded to its end.
var errCode = errors.New("invalid fax code")

// Read decodes the next line into b, which must be as long as one: a bit a pixel,
// high bit first, black is 1. As in libtiff, a line is white from an invalid code
// on, and so are lines after the end of the data; without a single line the error
// is io.ErrUnexpectedEOF.
func (r *Reader) Read(b []byte) (int, error) {
	if r.short {
		clear(b)
		return len(b), nil
	}
	r.line = r.line[:0]
	err := r.decode()
	switch {
	case err == nil:
	case r.at >= 8*len(r.data):
		if err := r.end(); err != nil {
			return 0, err
		}
	default: // the rest of the line is white
		r.bad++
		if n := len(r.line); n%2 == 1 {
			r.line = r.line[:n-1]
		}
	}
	r.lines++
	r.draw(b)
	r.above, r.line = r.line, r.above
	return len(b), nil
}

// Warnings returns what was mended, a phrase each.
func (r *Reader) Warnings() (all []string) {
	if r.bad > 0 {
		all = append(all, fmt.Sprintf("%d lines with invalid fax codes", r.bad))
	}
	if r.short {
		all = append(all, "the fax data ends before the last line")
	}
	return all
}

// decode goes to the beginning of the next line and decodes it.
func (r *Reader) decode() error {
	switch r.kind {
	case Group4:
		return r.decode2D()
	case RLE:
		r.at = (r.at + 7) &^ 7
	case RLEWords:
		r.at = (r.at + 15) &^ 15
	case Group3, Group3Mixed:
		if !r.bare && !r.seekLine() {
			if r.lines > 0 {
				r.at = 8 * len(r.data)
				return errCode
			}
			r.bare = true
		}
		if r.kind == Group3Mixed {
			r.at++
			if r.bits(r.at-1)>>(longestCode-1) == 0 {
				return r.decode2D()
			}
		}
	}
	return r.decode1D()
}

// end handles data that ends before the last line: the rest is white, unless
// there is no line at all.
func (r *Reader) end() error {
	if r.lines == 0 {
		return io.ErrUnexpectedEOF
	}
	r.short = true
	r.line = r.line[:0]
	return nil
}

// seekLine moves past the next end-of-line code and reports whether there is one.
// Zeros before it are filling.
func (r *Reader) seekLine() bool {
	zeros := 0
	for at := r.at; at < 8*len(r.data); at++ {
		switch {
		case r.data[at/8]>>(7-at%8)&1 == 0:
			zeros++
		case zeros >= endOfLine-1:
			r.at = at + 1
			return true
		default:
			zeros = 0
		}
	}
	return false
}

// decode1D reads a line of runs, of white first.
func (r *Reader) decode1D() error {
	black := false
	for x := 0; x < r.w; black = !black {
		n, err := r.run(black)
		if err != nil {
			return err
		}
		x += n
		if err := r.add(x); err != nil {
			return err
		}
	}
	return nil
}

// decode2D reads a line that is coded by its differences from the one above.
func (r *Reader) decode2D() error {
	black, above := false, 0
	for x := -1; x < r.w; {
		// The next change above to the other color.
		for above > 0 && r.change(above-1) > x {
			above--
		}
		for above&1 == 1 != black || r.change(above) <= x && r.change(above) < r.w {
			above++
		}
		mode, err := r.code(modes)
		if err != nil {
			return err
		}
		switch mode {
		case pass:
			x = r.change(above + 1)
		case horizontal:
			x = max(x, 0)
			for _, color := range []bool{black, !black} {
				n, err := r.run(color)
				if err != nil {
					return err
				}
				x += n
				if err := r.add(x); err != nil {
					return err
				}
			}
		default:
			next := r.change(above) + verticalShift[mode]
			if next < max(x, 0) {
				return errCode
			}
			x, black = next, !black
			if err := r.add(x); err != nil {
				return err
			}
		}
	}
	return nil
}

// change returns where the color changes for the i-th time in the line above.
func (r *Reader) change(i int) int {
	if i < len(r.above) {
		return r.above[i]
	}
	return r.w
}

// add notes a place where the color changes. A line has hardly more of them
// than pixels, however often its codes say that nothing is drawn.
func (r *Reader) add(x int) error {
	if x > r.w || len(r.line) > 2*r.w {
		return errCode
	}
	r.line = append(r.line, x)
	return nil
}

// run reads the length of a run of black or white pixels.
func (r *Reader) run(black bool) (int, error) {
	table := whiteRuns
	if black {
		table = blackRuns
	}
	for total := 0; ; {
		n, err := r.code(table)
		if err != nil {
			return 0, err
		}
		if total += n; total > r.w {
			return 0, errCode
		}
		if n < 64 {
			return total, nil
		}
	}
}

// code reads a code of a table.
func (r *Reader) code(table int) (int, error) {
	c := codeTables()[table][r.bits(r.at)]
	if c.bits == 0 || r.at+c.bits > 8*len(r.data) {
		if r.at+longestCode >= 8*len(r.data) {
			r.at = 8 * len(r.data)
		}
		return 0, errCode
	}
	r.at += c.bits
	return c.value, nil
}

// bits returns the bits from at on that the longest code may have, zeros beyond
// the end.
func (r *Reader) bits(at int) int {
	v := 0
	for i := range 3 {
		v <<= 8
		if n := at/8 + i; n < len(r.data) {
			v |= int(r.data[n])
		}
	}
	return v >> (24 - longestCode - at%8) & (1<<longestCode - 1)
}

// draw sets the black pixels of the line.
func (r *Reader) draw(b []byte) {
	clear(b)
	for changes := range slices.Chunk(r.line, 2) {
		end := r.w
		if len(changes) == 2 {
			end = changes[1]
		}
		for x := changes[0]; x < end; x++ {
			if x&7 == 0 && end-x >= 8 {
				b[x/8] = 0xFF
				x += 7
				continue
			}
			b[x/8] |= 0x80 >> (x & 7)
		}
	}
}
