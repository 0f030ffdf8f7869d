package preprocess

import (
	"bytes"
	"errors"
	"fmt"
	"math"
)

// pnmFile reads PBM, PGM and PPM (P1 to P6) as Pillow does.
type pnmFile struct {
	w, h, maxval int
	bands        int
	rest         []byte
}

func decodePNM(data []byte, lim Limits) (*RGB, error) {
	if len(data) < 3 || !isPNMSpace(data[2]) {
		return nil, fmt.Errorf("%w: only P1 to P6 are read", ErrUnsupported)
	}
	kind := data[1]
	f := &pnmFile{bands: 1, maxval: 1, rest: data[3:]}
	fields := []*int{&f.w, &f.h}
	if kind != '1' && kind != '4' {
		fields = append(fields, &f.maxval)
	}
	for _, field := range fields {
		v, err := f.headerNumber()
		if err != nil {
			return nil, err
		}
		*field = v
	}
	if f.maxval < 1 || f.maxval > 65535 {
		return nil, fmt.Errorf("the largest sample is %d, not 1 to 65535", f.maxval)
	}
	if kind == '3' || kind == '6' {
		f.bands = 3
	}
	if err := checkSize(f.w, f.h, lim, int64(len(f.rest)), f.least(kind)); err != nil {
		return nil, err
	}
	img := newRGB(f.w, f.h)
	var next func() (int, error)
	switch kind {
	case '4':
		f.bitmap(img)
		return img, nil
	case '1':
		next = f.plainBit
	case '2', '3':
		next = f.plainNumber
	default:
		next = f.binaryNumber
	}
	return img, f.fill(img, next)
}

// least is how many bytes the samples take at least.
func (f *pnmFile) least(kind byte) int64 {
	samples := int64(f.w) * int64(f.h)
	if f.w <= 0 || f.h <= 0 || samples/int64(f.w) != int64(f.h) || samples > math.MaxInt64/8 {
		return 0 // checkSize refuses it
	}
	samples *= int64(f.bands)
	switch kind {
	case '1':
		return samples
	case '2', '3':
		return 2*samples - 1
	case '4':
		return int64(f.h) * ((int64(f.w) + 7) / 8)
	}
	if f.maxval > 255 {
		return 2 * samples
	}
	return samples
}

func isPNMSpace(c byte) bool { return c == ' ' || c >= '\t' && c <= '\r' }

// headerNumber reads a number and the white space after it. A comment ends no
// number.
func (f *pnmFile) headerNumber() (int, error) {
	v, digits := 0, 0
	for len(f.rest) > 0 {
		c := f.rest[0]
		f.rest = f.rest[1:]
		switch {
		case c >= '0' && c <= '9':
			if digits++; digits > 10 {
				return 0, errors.New("a number in the header is too long")
			}
			v = 10*v + int(c-'0')
		case c == '#':
			f.comment()
		case !isPNMSpace(c):
			return 0, fmt.Errorf("there is a %q in the header", c)
		case digits > 0:
			return v, nil
		}
	}
	return 0, errTruncated
}

// comment leaves out the rest of a line.
func (f *pnmFile) comment() {
	if i := bytes.IndexAny(f.rest, "\r\n"); i >= 0 {
		f.rest = f.rest[i+1:]
	} else {
		f.rest = nil
	}
}

// bitmap reads packed bits, of which 1 is black.
func (f *pnmFile) bitmap(img *RGB) {
	convert := indexed(&[256][3]byte{{255, 255, 255}, {}}, 1)
	stride := (f.w + 7) / 8
	for y := range f.h {
		convert(img.Pix[3*y*f.w:][:3*f.w], f.rest[y*stride:])
	}
}

// fill scales samples to 8 bits. Those of gray with more than 8 bits give the
// high byte of what they are with 16 bits, as everywhere.
func (f *pnmFile) fill(img *RGB, next func() (int, error)) error {
	var table []byte
	for v := range f.maxval + 1 {
		part := float64(v) / float64(f.maxval)
		if f.bands == 1 && f.maxval > 255 {
			table = append(table, byte(int(math.RoundToEven(part*65535))>>8))
		} else {
			table = append(table, byte(math.RoundToEven(part*255)))
		}
	}
	step := 3 / f.bands
	for i := 0; i < len(img.Pix); i += step {
		v, err := next()
		if err != nil {
			return err
		}
		c := table[min(v, f.maxval)]
		for j := range step {
			img.Pix[i+j] = c
		}
	}
	return nil
}

func (f *pnmFile) binaryNumber() (int, error) {
	v := int(f.rest[0])
	if f.rest = f.rest[1:]; f.maxval > 255 {
		v = v<<8 | int(f.rest[0])
		f.rest = f.rest[1:]
	}
	return v, nil
}

// plainBit reads a digit, of which 1 is black.
func (f *pnmFile) plainBit() (int, error) {
	for len(f.rest) > 0 {
		c := f.rest[0]
		f.rest = f.rest[1:]
		switch {
		case c == '0' || c == '1':
			return int('1' - c), nil
		case c == '#':
			f.comment()
		case !isPNMSpace(c):
			return 0, fmt.Errorf("there is a %q among the bits", c)
		}
	}
	return 0, errTruncated
}

// plainNumber reads a decimal sample.
func (f *pnmFile) plainNumber() (int, error) {
	v, digits := 0, 0
	for len(f.rest) > 0 {
		c := f.rest[0]
		f.rest = f.rest[1:]
		switch {
		case c >= '0' && c <= '9':
			v = 10*v + int(c-'0')
			if digits++; digits > 10 || v > f.maxval {
				return 0, fmt.Errorf("a sample is larger than %d", f.maxval)
			}
		case c == '#':
			f.comment()
		case !isPNMSpace(c):
			return 0, fmt.Errorf("there is a %q among the samples", c)
		case digits > 0:
			return v, nil
		}
	}
	if digits == 0 {
		return 0, errTruncated
	}
	return v, nil
}
