package preprocess

import (
	"image"
)

// overWhite composites a sample c with alpha a (not premultiplied) over white.
func overWhite(c, a byte) byte {
	return byte((uint32(c)*uint32(a) + 255*(255-uint32(a)) + 127) / 255)
}

// fromNRGBA composites m over white. It reuses m's memory.
func fromNRGBA(m *image.NRGBA) *RGB {
	w, h := m.Rect.Dx(), m.Rect.Dy()
	dst := m.Pix[:0:len(m.Pix)]
	for y := range h {
		for src := m.Pix[y*m.Stride:][:4*w]; len(src) > 0; src = src[4:] {
			c, a := (*[3]byte)(src), src[3]
			dst = append(dst, overWhite(c[0], a), overWhite(c[1], a), overWhite(c[2], a))
		}
	}
	return &RGB{W: w, H: h, Pix: dst}
}

// paste copies src into dst with its upper left corner at (x, y), leaving out
// what falls outside.
func paste(dst, src *RGB, x, y int) {
	n := min(src.W, dst.W-x)
	if n <= 0 {
		return
	}
	for sy := 0; sy < src.H && y+sy < dst.H; sy++ {
		copy(dst.Pix[3*((y+sy)*dst.W+x):][:3*n], src.Pix[3*sy*src.W:])
	}
}

// fill paints all of img in one color.
func fill(img *RGB, c [3]byte) {
	for i := 0; i+2 < len(img.Pix); i += 3 {
		img.Pix[i], img.Pix[i+1], img.Pix[i+2] = c[0], c[1], c[2]
	}
}

// indexed returns the function that looks up samples of depth bits, packed from
// the high end of each byte, in a table.
func indexed(table *[256][3]byte, depth uint) func(dst, src []byte) {
	mask := byte(1<<depth - 1)
	return func(dst, src []byte) {
		for bit := uint(0); len(dst) > 0; dst, bit = dst[3:], bit+depth {
			v := src[bit/8] >> (8 - depth - bit%8) & mask
			dst[0], dst[1], dst[2] = table[v][0], table[v][1], table[v][2]
		}
	}
}
