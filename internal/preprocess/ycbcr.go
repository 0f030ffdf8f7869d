package preprocess

import (
	"paligemma/internal/parallel"
	"paligemma/internal/pillow"
)

// plane holds some rows of one component of a JPEG at its own resolution. w and
// h are the size that belongs to the picture: what the file has beyond them, up
// to whole blocks, must not take part in upsampling.
type plane struct {
	pix    []byte // rows from top on
	top    int
	stride int
	w, h   int
	hx, vx int // how many pixels of the picture a sample covers
}

func (p *plane) row(y int) []byte {
	return p.pix[p.stride*(min(max(y, 0), p.h-1)-p.top):][:p.w]
}

// keep makes room for rows from first on, and keeps the one above.
func (p *plane) keep(first int) {
	top := max(first-contextRows, p.top)
	copy(p.pix, p.pix[p.stride*(top-p.top):][:p.stride*(first-top)])
	p.top = top
}

// upsample writes row y of the picture to dst as libjpeg-turbo's "fancy"
// upsampling does (jdsample.c): a triangle filter, 3/4 of the nearer sample and
// 1/4 of the farther one in each direction that is halved, with rounding that
// alternates so that there is no bias. Other ratios, and rows of one or two
// samples, are repeated. sums is room for p.w numbers.
func (p *plane) upsample(dst []byte, y int, sums []int32) {
	switch {
	case p.hx == 1 && p.vx == 1:
		copy(dst, p.row(y))
	case p.hx == 2 && p.vx == 1 && p.w > 2:
		in := p.row(y)
		for i, v := range in {
			sums[i] = int32(v)
		}
		triangle(dst, sums[:len(in)], 1, 2, 2)
	case p.hx == 2 && p.vx == 2 && p.w > 2:
		p.blendRows(sums, y)
		triangle(dst, sums[:p.w], 8, 7, 4)
	case p.hx == 1 && p.vx == 2:
		p.blendRows(sums, y)
		bias := int32(1 + y&1)
		for x := range dst {
			dst[x] = byte((sums[x] + bias) >> 2)
		}
	default:
		in := p.row(y / p.vx)
		for x := range dst {
			dst[x] = in[x/p.hx]
		}
	}
}

// blendRows sets sums to thrice the nearer row of samples plus the farther one.
func (p *plane) blendRows(sums []int32, y int) {
	near, far := p.row(y/2), p.row(y/2-1+2*(y&1))
	for i, v := range near {
		sums[i] = 3*int32(v) + int32(far[i])
	}
}

// triangle doubles a row of sums. even and odd are what is added before the
// shift to round samples left and right of a sum's centre.
func triangle(dst []byte, sums []int32, even, odd int32, shift uint) {
	shift &= 31 // known to the compiler
	v := sums[0]
	before := v // at the ends the sample stands for its neighbour
	for i, after := range sums[1:] {
		pair := (*[2]byte)(dst[2*i:])
		pair[0] = byte((3*v + before + even) >> shift)
		pair[1] = byte((3*v + after + odd) >> shift)
		before, v = v, after
	}
	rest := dst[2*(len(sums)-1):]
	rest[0] = byte((3*v + before + even) >> shift)
	if len(rest) > 1 {
		rest[1] = byte((4*v + odd) >> shift)
	}
}

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
func (d *jpegDecoder) colors(dst []byte, first, last int) {
	w := d.w
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
func (f *jpegHeader) converter() func(dst []byte, rows *[4][]byte) {
	switch {
	case len(f.components) == 4 && f.inks:
		return fromInks
	case len(f.components) == 4 && f.ycc():
		return fromYCCK
	case len(f.components) == 4:
		return fromCMYK
	case f.ycc():
		return fromYCC
	case len(f.components) == 3:
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
