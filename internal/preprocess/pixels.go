package preprocess

import (
	"fmt"
	"image"
	"image/color"
	"runtime"
	"sync"
)

// overWhite composites a sample c with alpha a (not premultiplied) over white.
func overWhite(c, a byte) byte {
	return byte((uint32(c)*uint32(a) + 255*(255-uint32(a)) + 127) / 255)
}

// fromImage converts what the PNG and WebP decoders return. 16-bit samples give
// their high byte, alpha is composited over white.
func fromImage(m image.Image) (*RGB, error) {
	b := m.Bounds()
	w, h := b.Dx(), b.Dy()
	var row func(dst []byte, y int) // converts a row
	switch m := m.(type) {
	case *image.Gray:
		row = func(dst []byte, y int) {
			src := m.Pix[y*m.Stride:]
			for x := range w {
				v := src[x]
				dst[3*x], dst[3*x+1], dst[3*x+2] = v, v, v
			}
		}
	case *image.Gray16:
		row = func(dst []byte, y int) {
			src := m.Pix[y*m.Stride:]
			for x := range w {
				v := src[2*x]
				dst[3*x], dst[3*x+1], dst[3*x+2] = v, v, v
			}
		}
	case *image.RGBA: // the PNG decoder's type for pictures without alpha
		row = func(dst []byte, y int) {
			src := m.Pix[y*m.Stride:]
			for x := range w {
				dst[3*x], dst[3*x+1], dst[3*x+2] = src[4*x], src[4*x+1], src[4*x+2]
			}
		}
	case *image.RGBA64: // likewise, 16-bit
		row = func(dst []byte, y int) {
			src := m.Pix[y*m.Stride:]
			for x := range w {
				dst[3*x], dst[3*x+1], dst[3*x+2] = src[8*x], src[8*x+2], src[8*x+4]
			}
		}
	case *image.NRGBA:
		row = func(dst []byte, y int) {
			src := m.Pix[y*m.Stride:]
			for x := range w {
				a := src[4*x+3]
				dst[3*x], dst[3*x+1], dst[3*x+2] = overWhite(src[4*x], a), overWhite(src[4*x+1], a), overWhite(src[4*x+2], a)
			}
		}
	case *image.NRGBA64:
		row = func(dst []byte, y int) {
			src := m.Pix[y*m.Stride:]
			for x := range w {
				a := src[8*x+6]
				dst[3*x], dst[3*x+1], dst[3*x+2] = overWhite(src[8*x], a), overWhite(src[8*x+2], a), overWhite(src[8*x+4], a)
			}
		}
	case *image.Paletted:
		pal := flattenPalette(m.Palette)
		row = func(dst []byte, y int) {
			src := m.Pix[y*m.Stride:]
			for x := range w {
				c := &pal[src[x]]
				dst[3*x], dst[3*x+1], dst[3*x+2] = c[0], c[1], c[2]
			}
		}
	default:
		return nil, fmt.Errorf("%w: decoded as %T", ErrUnsupported, m)
	}
	img := newRGB(w, h)
	parallel(h, 3*w, func(lo, hi int) {
		for y := lo; y < hi; y++ {
			row(img.Pix[3*w*y:3*w*(y+1)], y)
		}
	})
	return img, nil
}

// flattenPalette composites each colour over white. Entries that the palette
// lacks are black.
func flattenPalette(p color.Palette) (out [256][3]byte) {
	for i, c := range p {
		if i == len(out) {
			break
		}
		n := color.NRGBAModel.Convert(c).(color.NRGBA)
		out[i] = [3]byte{overWhite(n.R, n.A), overWhite(n.G, n.A), overWhite(n.B, n.A)}
	}
	return out
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

// fill paints all of img in one colour.
func fill(img *RGB, c [3]byte) {
	for i := 0; i+2 < len(img.Pix); i += 3 {
		img.Pix[i], img.Pix[i+1], img.Pix[i+2] = c[0], c[1], c[2]
	}
}

// parallel calls f for consecutive parts of [0, n) that cover it, on all
// processors when there is enough work to pay for that; work is the cost of one
// item in some nanoseconds. A panic of f, if there ever is one, becomes the
// caller's, where [Decode] can catch it.
func parallel(n, work int, f func(lo, hi int)) {
	parts := min(runtime.GOMAXPROCS(0), n, n*work/50_000)
	if parts <= 1 {
		f(0, n)
		return
	}
	var wg sync.WaitGroup
	panics := make([]any, parts)
	for i := range parts {
		wg.Go(func() {
			defer func() { panics[i] = recover() }()
			f(n*i/parts, n*(i+1)/parts)
		})
	}
	wg.Wait()
	for _, p := range panics {
		if p != nil {
			panic(p)
		}
	}
}
