package preprocess

import (
	"errors"
	"io"
	"slices"
)

// inUnits reports whether pixels are stored as luma and chroma, other than in a JPEG:
// units of a few luma samples, then one Cb and one Cr for all of them.
func (t *tiffImage) inUnits() bool {
	return t.photometric == tiffYCbCr && t.samples == 3 && t.compression != tiffJPEG
}

// unit returns how many pixels a unit is wide and high.
func (t *tiffImage) unit() (w, h int) {
	if v := t.numbers(tagSubsampling); len(v) == 2 {
		return int(min(v[0], 255)), int(min(v[1], 255))
	}
	return 2, 2
}

// unitsSupported reports whether units are such as libtiff reads.
func (t *tiffImage) unitsSupported() bool {
	w, h := t.unit()
	sizes := [][2]int{{4, 4}, {4, 2}, {4, 1}, {2, 2}, {2, 1}, {1, 2}, {1, 1}}
	return slices.Contains(sizes, [2]int{w, h}) && t.depth == 8 && t.format == tiffUnsigned && !t.planar &&
		t.compression != tiffOldJPEG && (t.predictor == 1 || w*h == 1)
}

// unitBytes returns the size of h rows of w pixels in units.
func (t *tiffImage) unitBytes(w, h int) int64 {
	unitW, unitH := t.unit()
	return int64((w+unitW-1)/unitW) * int64((h+unitH-1)/unitH) * int64(unitW*unitH+2)
}

// units decodes the strip or tile at (x, y) that r reads.
func (t *tiffImage) units(img *RGB, r io.Reader, x, y int) error {
	_, unitH := t.unit()
	row := make([]byte, t.unitBytes(t.cw, 1))
	below := t.rowsBelow(y, unitH) * int64(len(row))
	for end := min(t.h, y+t.ch); y < end; y += unitH {
		if _, err := io.ReadFull(r, row); err != nil {
			return err
		}
		if t.predictor != 1 {
			if err := t.unpredict(row, t.samples); err != nil {
				return err
			}
		}
		for line := range min(unitH, end-y) {
			t.unitLine(img.Pix[3*((y+line)*t.w+x):][:3*min(t.cw, t.w-x)], row, line)
		}
	}
	return checkDeflated(r, below)
}

// unitLine makes RGB of a line of a row of units.
func (t *tiffImage) unitLine(dst, row []byte, line int) {
	unitW, unitH := t.unit()
	n := unitW * unitH
	for ; len(dst) > 0; row = row[n+2:] {
		cb, cr := row[n], row[n+1]
		for i := range min(unitW, len(dst)/3) {
			t.ycc.rgb(dst[3*i:], row[line*unitW+i], cb, cr)
		}
		dst = dst[min(3*unitW, len(dst)):]
	}
}

// yccTables are what libtiff computes RGB with, by samples. The parts of green have 16
// bits of fraction.
type yccTables struct{ luma, crRed, cbBlue, crGreen, cbGreen [256]int32 }

// rgb writes the color of a pixel.
func (y *yccTables) rgb(dst []byte, luma, cb, cr byte) {
	v := y.luma[luma]
	dst[0] = clampByte(v + y.crRed[cr])
	dst[1] = clampByte(v + (y.cbGreen[cb]+y.crGreen[cr])>>16)
	dst[2] = clampByte(v + y.cbBlue[cb])
}

func clampByte(v int32) byte { return byte(min(max(v, 0), 255)) }

// newYCCTables returns the tables for the coefficients and the black and white of the
// file, rounded as libtiff rounds (TIFFYCbCrToRGBInit).
func (t *tiffImage) newYCCTables() (*yccTables, error) {
	share := []float32{0.299, 0.587, 0.114} // of red, green and blue in luma
	if v := t.rationals(tagYCCCoefficients); len(v) == 3 {
		share = v
	}
	reference := []float32{0, 255, 128, 255, 128, 255} // black and white of luma, Cb and Cr
	if v := t.rationals(tagReferenceBlackWhite); len(v) == 6 {
		reference = v
	}
	if share[1] == 0 {
		return nil, errors.New("green has no share in luma")
	}
	for _, v := range reference {
		if v >= 1<<31-1 {
			return nil, errors.New("black or white is out of range")
		}
	}
	red, blue := 2-2*share[0], 2-2*share[2]
	d1, d2 := fraction(red), -fraction(float32(share[0]*red)/share[1])
	d3, d4 := fraction(blue), -fraction(float32(share[2]*blue)/share[1])
	y := new(yccTables)
	for i := range int32(256) {
		cb := stretch(i-128, reference[2]-128, reference[3]-128, 127)
		cr := stretch(i-128, reference[4]-128, reference[5]-128, 127)
		y.luma[i] = stretch(i, reference[0], reference[1], 255)
		y.crRed[i] = (d1*cr + 1<<15) >> 16
		y.cbBlue[i] = (d3*cb + 1<<15) >> 16
		y.crGreen[i] = d2 * cr
		y.cbGreen[i] = d4*cb + 1<<15
	}
	return y, nil
}

// fraction returns v, between 0 and 2, with 16 bits of fraction.
func fraction(v float32) int32 {
	return int32(float64(min(max(v, 0), 2)*(1<<16)) + 0.5)
}

// stretch returns where a sample lies between black and white, of span, a whole number.
func stretch(sample int32, black, white, span float32) int32 {
	distance := white - black
	if distance == 0 {
		distance = 1
	}
	v := float32(float32(sample-int32(black))*span) / distance
	return int32(min(max(v, -128*32), 128*32))
}
