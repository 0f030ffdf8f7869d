package preprocess

import (
	"encoding/binary"
	"math"

	"paligemma/internal/pillow"
)

// alpha returns the number of the sample that is the opacity, or 0, and whether
// the colors are multiplied by it.
func (t *tiffImage) alpha(colors int) (sample int, premultiplied bool) {
	switch {
	case t.samples <= colors || t.photometric == tiffCMYK:
		return 0, false
	case len(t.extra) == 0:
		if t.photometric == tiffRGB && t.samples == 4 {
			return 3, false // Pillow's guess
		}
		return 0, false
	case t.extra[0] == 1:
		return colors, true
	case t.extra[0] == 2 || t.extra[0] == 999: // the latter by CorelDRAW
		return colors, false
	}
	return 0, false
}

// converter returns the function that makes RGB of a row of samples.
func (t *tiffImage) converter() func(dst, src []byte) {
	switch {
	case t.photometric == tiffPalette, t.photometric != tiffRGB && t.photometric != tiffCMYK && t.depth <= 8:
		return t.tableConverter()
	case t.photometric == tiffRGB:
		return t.colorConverter()
	case t.photometric == tiffCMYK:
		step, skip := t.depth/8, t.samples*t.depth/8
		high := t.high()
		return func(dst, src []byte) {
			for ; len(dst) > 0; dst, src = dst[3:], src[skip:] {
				paper := 255 - src[3*step+high]
				for i := range 3 {
					dst[i] = pillow.UnderInk(src[i*step+high], paper)
				}
			}
		}
	}
	return t.grayConverter()
}

// high is where the high byte of a sample is.
func (t *tiffImage) high() int {
	if t.depth == 16 && t.order == binary.ByteOrder(binary.LittleEndian) {
		return 1
	}
	return 0
}

func (t *tiffImage) colorConverter() func(dst, src []byte) {
	step, skip, high := t.depth/8, t.samples*t.depth/8, t.high()
	alpha, premultiplied := t.alpha(3)
	return func(dst, src []byte) {
		for ; len(dst) > 0; dst, src = dst[3:], src[skip:] {
			for i := range 3 {
				c := src[i*step+high]
				if alpha > 0 {
					c = overWhiteTIFF(c, src[alpha*step+high], premultiplied)
				}
				dst[i] = c
			}
		}
	}
}

// overWhiteTIFF is [overWhite] for samples that may be multiplied by the opacity,
// which Pillow undoes first.
func overWhiteTIFF(c, a byte, premultiplied bool) byte {
	if premultiplied && a > 0 {
		c = byte(min(255*int(c)/int(a), 255))
	}
	return overWhite(c, a)
}

// tableConverter looks up samples of up to 8 bits.
func (t *tiffImage) tableConverter() func(dst, src []byte) {
	var table [256][3]byte
	most := 1<<t.depth - 1
	colors := t.numbers(tagColorMap)
	n := len(colors) / 3
	for i := range most + 1 {
		v := byte(255 * i / most)
		switch {
		case t.photometric == tiffWhiteIsZero:
			table[i] = [3]byte{255 - v, 255 - v, 255 - v}
		case t.photometric != tiffPalette:
			table[i] = [3]byte{v, v, v}
		case i < n:
			table[i] = [3]byte{byte(colors[i] >> 8), byte(colors[n+i] >> 8), byte(colors[2*n+i] >> 8)}
		}
	}
	if t.samples == 1 || t.planar {
		return indexed(&table, uint(t.depth))
	}
	alpha, premultiplied := t.alpha(1)
	return func(dst, src []byte) {
		for ; len(dst) > 0; dst, src = dst[3:], src[t.samples:] {
			c := table[src[0]]
			for i := range 3 {
				if alpha > 0 {
					c[i] = overWhiteTIFF(c[i], src[alpha], premultiplied)
				}
				dst[i] = c[i]
			}
		}
	}
}

// grayConverter makes gray of samples of more than 8 bits: the high byte of
// unsigned ones of 12 or 16 bits; others are clipped, as in Pillow.
func (t *tiffImage) grayConverter() func(dst, src []byte) {
	value := t.graySample()
	invert := t.photometric == tiffWhiteIsZero && t.format == tiffUnsigned && t.depth <= 16
	return func(dst, src []byte) {
		for i := 0; 3*i < len(dst); i++ {
			v := value(src, i*t.samples)
			if invert {
				v = 255 - v
			}
			dst[3*i], dst[3*i+1], dst[3*i+2] = v, v, v
		}
	}
}

// graySample returns the function that reads sample i of a row.
func (t *tiffImage) graySample() func(src []byte, i int) byte {
	switch {
	case t.format == tiffFloats:
		return func(src []byte, i int) byte {
			v := math.Float32frombits(t.order.Uint32(src[4*i:]))
			if !(v > 0) {
				return 0
			}
			return byte(min(v, 255))
		}
	case t.depth == 32:
		return func(src []byte, i int) byte { return byte(min(max(int32(t.order.Uint32(src[4*i:])), 0), 255)) }
	case t.depth == 12:
		return func(src []byte, i int) byte {
			if i%2 == 0 {
				return src[i/2*3]
			}
			return src[i/2*3+1]<<4 | src[i/2*3+2]>>4
		}
	case t.format == tiffSigned:
		return func(src []byte, i int) byte { return byte(min(max(int16(t.order.Uint16(src[2*i:])), 0), 255)) }
	}
	return func(src []byte, i int) byte { return byte(t.order.Uint16(src[2*i:]) >> 8) }
}

// planeConverter takes one sample of each pixel. Planes come in order: opacity
// and black are applied to what is there.
func (t *tiffImage) planeConverter(plane int) func(dst, src []byte) {
	colors, alpha, premultiplied := 1, 0, false
	switch t.photometric {
	case tiffRGB, tiffYCbCr:
		colors = 3
		alpha, premultiplied = t.alpha(3)
	case tiffCMYK:
		colors = 3
	}
	if colors == 1 && plane == 0 {
		return t.converter()
	}
	step, high := t.depth/8, t.high()
	return func(dst, src []byte) {
		for ; len(dst) > 0; dst, src = dst[3:], src[step:] {
			v := src[high]
			for i := range 3 {
				switch {
				case colors == 3 && plane == i:
					dst[i] = v
				case t.photometric == tiffCMYK && plane == 3:
					dst[i] = pillow.UnderInk(dst[i], 255-v)
				case alpha > 0 && plane == alpha:
					dst[i] = overWhiteTIFF(dst[i], v, premultiplied)
				}
			}
		}
	}
}
