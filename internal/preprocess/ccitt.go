package preprocess

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
)

// Kinds of fax compression (ITU-T T.4 and T.6), by how a line begins.
const (
	faxAligned = iota // CCITT RLE: one-dimensional, at a byte
	faxWord           // the same, at two bytes
	faxGroup3         // after an end-of-line code
	faxGroup4         // two-dimensional
)

// Codes of runs of 0 to 63 pixels, then of 64, 128, … to 1728, then (of both
// colors) to 2560.
const (
	faxWhiteCodes = `00110101 000111 0111 1000 1011 1100 1110 1111 10011 10100 00111 01000 001000 000011 110100 110101
		101010 101011 0100111 0001100 0001000 0010111 0000011 0000100 0101000 0101011 0010011 0100100 0011000 00000010 00000011 00011010
		00011011 00010010 00010011 00010100 00010101 00010110 00010111 00101000 00101001 00101010 00101011 00101100 00101101 00000100 00000101 00001010
		00001011 01010010 01010011 01010100 01010101 00100100 00100101 01011000 01011001 01011010 01011011 01001010 01001011 00110010 00110011 00110100
		11011 10010 010111 0110111 00110110 00110111 01100100 01100101 01101000 01100111 011001100 011001101 011010010 011010011 011010100 011010101
		011010110 011010111 011011000 011011001 011011010 011011011 010011000 010011001 010011010 011000 010011011`
	faxBlackCodes = `0000110111 010 11 10 011 0011 0010 00011 000101 000100 0000100 0000101 0000111 00000100 00000111 000011000
		0000010111 0000011000 0000001000 00001100111 00001101000 00001101100 00000110111 00000101000
		00000010111 00000011000 000011001010 000011001011 000011001100 000011001101 000001101000 000001101001
		000001101010 000001101011 000011010010 000011010011 000011010100 000011010101 000011010110 000011010111
		000001101100 000001101101 000011011010 000011011011 000001010100 000001010101 000001010110 000001010111
		000001100100 000001100101 000001010010 000001010011 000000100100 000000110111 000000111000 000000100111
		000000101000 000001011000 000001011001 000000101011 000000101100 000001011010 000001100110 000001100111
		0000001111 000011001000 000011001001 000001011011 000000110011 000000110100 000000110101 0000001101100
		0000001101101 0000001001010 0000001001011 0000001001100 0000001001101 0000001110010 0000001110011 0000001110100
		0000001110101 0000001110110 0000001110111 0000001010010 0000001010011 0000001010100 0000001010101 0000001011010
		0000001011011 0000001100100 0000001100101`
	faxLongCodes = ` 00000001000 00000001100 00000001101 000000010010 000000010011 000000010100 000000010101
		000000010110 000000010111 000000011100 000000011101 000000011110 000000011111`
	faxModeCodes = `1 011 000011 0000011 010 000010 0000010 0001 001`
)

// Numbers of the codes in faxModeCodes; those before faxPass are vertical.
const (
	faxPass       = 7
	faxHorizontal = 8
)

// faxShift is how far right of the change above a vertical code puts one.
var faxShift = [faxPass]int{0, 1, 2, 3, -1, -2, -3}

const (
	faxLongest   = 13 // bits of a code
	faxEndOfLine = 12 // bits: eleven zeros and a one
)

// faxCode is what some bits begin with; bits is 0 if it is no code.
type faxCode struct {
	value int
	bits  int
}

type faxTable [1 << faxLongest]faxCode

// faxTables are of white runs, black runs and modes.
var faxTables = sync.OnceValue(func() *[3]faxTable {
	var tables [3]faxTable
	for i, codes := range []string{faxWhiteCodes + faxLongCodes, faxBlackCodes + faxLongCodes, faxModeCodes} {
		for n, code := range strings.Fields(codes) {
			if n >= 64 {
				n = 64 * (n - 63)
			}
			tables[i].set(code, n)
		}
	}
	return &tables
})

// set enters a code, which is written in digits.
func (t *faxTable) set(code string, value int) {
	first := 0
	for i, digit := range code {
		first |= int(digit-'0') << (faxLongest - 1 - i)
	}
	for i := range 1 << (faxLongest - len(code)) {
		t[first+i] = faxCode{value, len(code)}
	}
}

// faxReader decodes a strip or tile line by line.
type faxReader struct {
	data   []byte
	at     int // bits that are read
	w      int
	kind   int
	mixed  bool  // Group 3 with two-dimensional lines
	bare   bool  // Group 3 without a single end-of-line code
	lines  int   // that are decoded
	above  []int // where the color changes in the line before
	line   []int // the same in this one
	errors int   // lines with an invalid code
	short  bool  // whether the data ends before the last line
}

// errFaxCode says that a line cannot be decoded to its end.
var errFaxCode = errors.New("invalid fax code")

// Read decodes the next line into b, which is as long as one: black is 1.
func (f *faxReader) Read(b []byte) (int, error) {
	if f.short {
		clear(b)
		return len(b), nil
	}
	f.line = f.line[:0]
	err := f.decode()
	switch {
	case err == nil:
	case f.at >= 8*len(f.data):
		if err := f.end(); err != nil {
			return 0, err
		}
	default: // the rest of the line is white
		f.errors++
		if n := len(f.line); n%2 == 1 {
			f.line = f.line[:n-1]
		}
	}
	f.lines++
	f.draw(b)
	f.above, f.line = f.line, f.above
	return len(b), nil
}

// decode goes to the beginning of the next line and decodes it.
func (f *faxReader) decode() error {
	switch f.kind {
	case faxGroup4:
		return f.decode2D()
	case faxAligned:
		f.at = (f.at + 7) &^ 7
	case faxWord:
		f.at = (f.at + 15) &^ 15
	case faxGroup3:
		if !f.bare && !f.seekLine() {
			if f.lines > 0 {
				f.at = 8 * len(f.data)
				return errFaxCode
			}
			f.bare = true
		}
		if f.mixed {
			f.at++
			if f.bits(f.at-1)>>(faxLongest-1) == 0 {
				return f.decode2D()
			}
		}
	}
	return f.decode1D()
}

// end is the end of the data before that of the last line. The rest is white,
// as in libtiff, unless there is no line at all.
func (f *faxReader) end() error {
	if f.lines == 0 {
		return errTruncated
	}
	f.short = true
	f.line = f.line[:0]
	return nil
}

// seekLine goes behind the next end-of-line code, if there is one. Zeros before
// it fill bytes.
func (f *faxReader) seekLine() bool {
	zeros := 0
	for at := f.at; at < 8*len(f.data); at++ {
		switch {
		case f.data[at/8]>>(7-at%8)&1 == 0:
			zeros++
		case zeros >= faxEndOfLine-1:
			f.at = at + 1
			return true
		default:
			zeros = 0
		}
	}
	return false
}

// bits returns the bits from at on that the longest code may have, zeros beyond
// the end.
func (f *faxReader) bits(at int) int {
	v := 0
	for i := range 3 {
		v <<= 8
		if n := at/8 + i; n < len(f.data) {
			v |= int(f.data[n])
		}
	}
	return v >> (24 - faxLongest - at%8) & (1<<faxLongest - 1)
}

// code reads a code of a table.
func (f *faxReader) code(table int) (int, error) {
	c := faxTables()[table][f.bits(f.at)]
	if c.bits == 0 || f.at+c.bits > 8*len(f.data) {
		if f.at+faxLongest >= 8*len(f.data) {
			f.at = 8 * len(f.data)
		}
		return 0, errFaxCode
	}
	f.at += c.bits
	return c.value, nil
}

// run reads the length of a run of black or white pixels.
func (f *faxReader) run(black bool) (int, error) {
	table := 0
	if black {
		table = 1
	}
	for total := 0; ; {
		n, err := f.code(table)
		if err != nil {
			return 0, err
		}
		if total += n; total > f.w {
			return 0, errFaxCode
		}
		if n < 64 {
			return total, nil
		}
	}
}

// add notes a place where the color changes. A line has hardly more of them
// than pixels, however often its codes say that nothing is drawn.
func (f *faxReader) add(x int) error {
	if x > f.w || len(f.line) > 2*f.w {
		return errFaxCode
	}
	f.line = append(f.line, x)
	return nil
}

// decode1D reads a line of runs, of white first.
func (f *faxReader) decode1D() error {
	black := false
	for x := 0; x < f.w; black = !black {
		n, err := f.run(black)
		if err != nil {
			return err
		}
		x += n
		if err := f.add(x); err != nil {
			return err
		}
	}
	return nil
}

// decode2D reads a line that is told by its differences from the one above.
func (f *faxReader) decode2D() error {
	black, above := false, 0
	for x := -1; x < f.w; {
		// The next change above to the other color.
		for above > 0 && f.change(above-1) > x {
			above--
		}
		for above&1 == 1 != black || f.change(above) <= x && f.change(above) < f.w {
			above++
		}
		mode, err := f.code(2)
		if err != nil {
			return err
		}
		switch mode {
		case faxPass:
			x = f.change(above + 1)
		case faxHorizontal:
			x = max(x, 0)
			for _, color := range []bool{black, !black} {
				n, err := f.run(color)
				if err != nil {
					return err
				}
				x += n
				if err := f.add(x); err != nil {
					return err
				}
			}
		default:
			next := f.change(above) + faxShift[mode]
			if next < max(x, 0) {
				return errFaxCode
			}
			x, black = next, !black
			if err := f.add(x); err != nil {
				return err
			}
		}
	}
	return nil
}

// change returns where the color changes for the i-th time in the line above.
func (f *faxReader) change(i int) int {
	if i < len(f.above) {
		return f.above[i]
	}
	return f.w
}

// draw sets the black pixels of the line.
func (f *faxReader) draw(b []byte) {
	clear(b)
	for changes := range slices.Chunk(f.line, 2) {
		end := f.w
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

// warnings tells what is wrong with the data.
func (f *faxReader) warnings() (all []string) {
	if f.errors > 0 {
		all = append(all, fmt.Sprintf("%d lines with invalid fax codes", f.errors))
	}
	if f.short {
		all = append(all, "the fax data ends before the last line")
	}
	return all
}
