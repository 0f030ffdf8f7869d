package preprocess

import "image"

// plane is one component of a JPEG at its own resolution. w and h are the size
// that belongs to the picture: what the file has beyond them, up to whole
// blocks, must not take part in upsampling.
type plane struct {
	pix    []byte
	stride int
	w, h   int
	hx, vx int // how many pixels of the picture a sample covers
}

func (p *plane) row(y int) []byte {
	return p.pix[p.stride*min(max(y, 0), p.h-1):][:p.w]
}

func planes(m *image.YCbCr) (y, cb, cr plane) {
	w, h := m.Rect.Dx(), m.Rect.Dy()
	hx, vx := 1, 1
	switch m.SubsampleRatio {
	case image.YCbCrSubsampleRatio422:
		hx, vx = 2, 1
	case image.YCbCrSubsampleRatio420:
		hx, vx = 2, 2
	case image.YCbCrSubsampleRatio440:
		hx, vx = 1, 2
	case image.YCbCrSubsampleRatio411:
		hx, vx = 4, 1
	case image.YCbCrSubsampleRatio410:
		hx, vx = 4, 2
	}
	y = plane{pix: m.Y, stride: m.YStride, w: w, h: h, hx: 1, vx: 1}
	cb = plane{pix: m.Cb, stride: m.CStride, w: (w + hx - 1) / hx, h: (h + vx - 1) / vx, hx: hx, vx: vx}
	cr = cb
	cr.pix = m.Cr
	return y, cb, cr
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
func triangle(dst []byte, sums []int32, even, odd int32, shift int) {
	last := len(sums) - 1
	for i, v := range sums {
		before, after := v, v // at the ends the sample stands for its neighbour
		if i > 0 {
			before = sums[i-1]
		}
		if i < last {
			after = sums[i+1]
		}
		dst[2*i] = byte((3*v + before + even) >> shift)
		if 2*i+1 < len(dst) {
			dst[2*i+1] = byte((3*v + after + odd) >> shift)
		}
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

func fromYCbCr(y, cb, cr plane) *RGB {
	img := newRGB(y.w, y.h)
	w := y.w
	parallel(y.h, 6*w, func(lo, hi int) {
		sums := make([]int32, cb.w)
		b, r := make([]byte, w), make([]byte, w)
		for i := lo; i < hi; i++ {
			cb.upsample(b, i, sums)
			cr.upsample(r, i, sums)
			dst := img.Pix[3*w*i:][:3*w]
			for x, l := range y.row(i) {
				dst[3*x], dst[3*x+1], dst[3*x+2] = yccToRGB(l, b[x], r[x])
			}
		}
	})
	return img
}

// fromCMYK converts a JPEG of four components, decoded as plain CMYK: m holds
// 255 minus each stored sample. As Pillow does, inks are taken to be stored
// inverted (Adobe's way) in every file, and are converted without a profile.
func fromCMYK(m *image.CMYK, f jpegHeader) *RGB {
	w, h := m.Rect.Dx(), m.Rect.Dy()
	var stored [4]plane
	for c := range stored {
		stored[c] = plane{w: w, h: h, hx: 1, vx: 1}
		// image/jpeg takes no other ratio than half in both directions, and
		// repeats samples, so that every other one is the original.
		if f.hSampling[c] != f.hSampling[0] {
			stored[c] = plane{w: (w + 1) / 2, h: (h + 1) / 2, hx: 2, vx: 2}
		}
		p := &stored[c]
		p.stride = p.w
		p.pix = make([]byte, p.w*p.h)
		for y := range p.h {
			src := m.Pix[y*p.vx*m.Stride+c:]
			for x := range p.w {
				p.pix[y*p.stride+x] = 255 - src[4*p.hx*x]
			}
		}
	}
	ycck := len(f.adobe) > 0 && f.transform != 0
	img := newRGB(w, h)
	parallel(h, 12*w, func(lo, hi int) {
		sums := make([]int32, w)
		var rows [4][]byte
		for c := range rows {
			rows[c] = make([]byte, w)
		}
		for i := lo; i < hi; i++ {
			for c := range rows {
				stored[c].upsample(rows[c], i, sums)
			}
			dst := img.Pix[3*w*i:][:3*w]
			for x := range w {
				cyan, magenta, yellow, paper := 255-rows[0][x], 255-rows[1][x], 255-rows[2][x], rows[3][x]
				if ycck {
					cyan, magenta, yellow = yccToRGB(rows[0][x], rows[1][x], rows[2][x])
				}
				dst[3*x], dst[3*x+1], dst[3*x+2] = underInk(cyan, paper), underInk(magenta, paper), underInk(yellow, paper)
			}
		}
	})
	return img
}

// underInk is the light that an ink leaves of what black has left, as Pillow
// rounds it (Convert.c).
func underInk(ink, light byte) byte {
	t := uint32(ink)*uint32(light) + 128
	return light - byte((t>>8+t)>>8)
}
