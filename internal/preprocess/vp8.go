package preprocess

import (
	"image"

	"paligemma/internal/parallel"
)

// fromVP8 converts a lossy WebP picture as libwebp does, to the bit: "fancy"
// upsampling (upsampling.c) and its fixed-point color conversion (yuv.h).
// alpha, if not nil, has a row every stride bytes and is composited over white.
func fromVP8(m *image.YCbCr, alpha []byte, stride int) *RGB {
	w, h := m.Rect.Dx(), m.Rect.Dy()
	cw, ch := (w+1)/2, (h+1)/2
	img := newRGB(w, h)
	parallel.Range(h, 8*w, func(lo, hi int) {
		u, v := make([]byte, w), make([]byte, w)
		for y := lo; y < hi; y++ {
			near := y / 2 * m.CStride
			far := min(max(y/2-1+2*(y&1), 0), ch-1) * m.CStride
			upsampleVP8(u, m.Cb[near:near+cw], m.Cb[far:far+cw])
			upsampleVP8(v, m.Cr[near:near+cw], m.Cr[far:far+cw])
			luma := m.Y[y*m.YStride:][:w]
			dst := img.Pix[3*w*y:][:3*w]
			for x, l := range luma {
				r, g, b := vp8ToRGB(l, u[x], v[x])
				if alpha != nil {
					a := alpha[y*stride+x]
					r, g, b = overWhite(r, a), overWhite(g, a), overWhite(b, a)
				}
				dst[3*x], dst[3*x+1], dst[3*x+2] = r, g, b
			}
		}
	})
	return img
}

// upsampleVP8 doubles a row of chroma: 9/16 of the nearest sample, 3/16 of each
// of its two neighbors towards the pixel, 1/16 of the one across, in two steps
// that each round.
func upsampleVP8(dst, near, far []byte) {
	end := func(i int) byte { return byte((3*uint32(near[i]) + uint32(far[i]) + 2) >> 2) }
	dst[0] = end(0)
	for i := 1; i < len(near); i++ {
		a, b := uint32(near[i-1]), uint32(near[i])
		c, d := uint32(far[i-1]), uint32(far[i])
		across := (a + 3*b + 3*c + d + 8) >> 3
		along := (3*a + b + c + 3*d + 8) >> 3
		dst[2*i-1] = byte((across + a) >> 1)
		if 2*i < len(dst) {
			dst[2*i] = byte((along + b) >> 1)
		}
	}
	if len(dst)&1 == 0 {
		dst[len(dst)-1] = end(len(near) - 1)
	}
}

func vp8ToRGB(y, u, v byte) (r, g, b byte) {
	l, cb, cr := int32(y)*19077>>8, int32(u), int32(v)
	r = clamp((l + cr*26149>>8 - 14234) >> 6)
	g = clamp((l - cb*6419>>8 - cr*13320>>8 + 8708) >> 6)
	b = clamp((l + cb*33050>>8 - 17685) >> 6)
	return r, g, b
}

// clamp brings a sample into the range of a byte.
func clamp(v int32) byte {
	return byte(min(max(v, 0), 255))
}
