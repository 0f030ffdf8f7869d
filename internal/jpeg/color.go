package jpeg

import (
	"paligemma/internal/parallel"
	"paligemma/internal/pillow"
)

// yccTable holds libjpeg's fixed-point YCbCr to RGB terms (jdcolor.c): what Cr
// adds to red and Cb to blue, and both to green, the last with 16 bits of
// fraction.
var yccTable = func() (t struct{ red, blue, greenCr, greenCb [256]int32 }) {
	for i := range int32(256) {
		x := i - 128
		t.red[i] = (91881*x + 1<<15) >> 16   // 1.40200
		t.blue[i] = (116130*x + 1<<15) >> 16 // 1.77200
		t.greenCr[i] = -46802 * x            // 0.71414
		t.greenCb[i] = -22554*x + 1<<15      // 0.34414
	}
	return t
}()

func clamp(v int32) byte {
	return byte(min(max(v, 0), 255))
}

func yccToRGB(y, cb, cr byte) (r, g, b byte) {
	l := int32(y)
	return clamp(l + yccTable.red[cr]), clamp(l + (yccTable.greenCb[cb]+yccTable.greenCr[cr])>>16), clamp(l + yccTable.blue[cb])
}

// colors makes RGB of the rows from first to last-1 of all components.
func (d *Decoder) colors(dst []byte, first, last int) {
	w := d.Width
	convert := d.converter()
	parallel.Range(last-first, 3*w*len(d.comps), func(lo, hi int) {
		sums := make([]int32, w)
		var rows [4][]byte
		for c := range d.comps {
			rows[c] = make([]byte, w)
		}
		for y := lo; y < hi; y++ {
			for c := range d.comps {
				if p := &d.comps[c].out; p.hx == 1 && p.vx == 1 {
					rows[c] = p.row(first + y)
				} else {
					p.upsample(rows[c], first+y, sums)
				}
			}
			convert(dst[3*w*y:][:3*w], &rows)
		}
	})
}

// converter returns what makes RGB of a row of samples of all components.
func (d *Decoder) converter() func(dst []byte, rows *[4][]byte) {
	switch {
	case len(d.components) == 4 && d.PlainInks:
		return fromInks
	case len(d.components) == 4 && d.ycc():
		return fromYCCK
	case len(d.components) == 4:
		return fromCMYK
	case d.ycc():
		return fromYCC
	case len(d.components) == 3:
		return interleave
	default:
		return fromGray
	}
}

func fromGray(dst []byte, rows *[4][]byte) {
	for x, v := range rows[0] {
		dst[3*x], dst[3*x+1], dst[3*x+2] = v, v, v
	}
}

func interleave(dst []byte, rows *[4][]byte) {
	r, g, b := rows[0], rows[1], rows[2]
	for x := range r {
		dst[3*x], dst[3*x+1], dst[3*x+2] = r[x], g[x], b[x]
	}
}

func fromYCC(dst []byte, rows *[4][]byte) {
	l, cb, cr := rows[0], rows[1], rows[2]
	cb, cr = cb[:len(l)], cr[:len(l)]
	for x, y := range l {
		d := (*[3]byte)(dst[3*x:])
		d[0], d[1], d[2] = yccToRGB(y, cb[x], cr[x])
	}
}

// fromCMYK takes inks to be stored inverted (Adobe's way), as Pillow does with
// every file, and converts without a profile.
func fromCMYK(dst []byte, rows *[4][]byte) {
	for x, paper := range rows[3] {
		cyan, magenta, yellow := 255-rows[0][x], 255-rows[1][x], 255-rows[2][x]
		dst[3*x], dst[3*x+1], dst[3*x+2] = pillow.UnderInk(cyan, paper), pillow.UnderInk(magenta, paper), pillow.UnderInk(yellow, paper)
	}
}

// fromInks is [fromCMYK] for inks that are stored as they are.
func fromInks(dst []byte, rows *[4][]byte) {
	for x, black := range rows[3] {
		paper := 255 - black
		dst[3*x], dst[3*x+1], dst[3*x+2] = pillow.UnderInk(rows[0][x], paper), pillow.UnderInk(rows[1][x], paper), pillow.UnderInk(rows[2][x], paper)
	}
}

// fromYCCK is [fromCMYK] for inks stored as luma and chroma.
func fromYCCK(dst []byte, rows *[4][]byte) {
	for x, paper := range rows[3] {
		cyan, magenta, yellow := yccToRGB(rows[0][x], rows[1][x], rows[2][x])
		dst[3*x], dst[3*x+1], dst[3*x+2] = pillow.UnderInk(cyan, paper), pillow.UnderInk(magenta, paper), pillow.UnderInk(yellow, paper)
	}
}
