package preprocess

import "math"

// coeffBits is the precision of the weights: Pillow keeps 8 bits for the sample
// and 2 for the overshoot of a 32-bit accumulator.
const coeffBits = 32 - 8 - 2

const half = int32(1) << (coeffBits - 1) // rounds the shift of clip

// Resize scales src to w × h exactly as Pillow's Image.resize with
// Resampling.BICUBIC does (src/libImaging/Resample.c: a = −0.5, antialiased
// when shrinking, 22-bit weights), horizontal pass first, to the last bit.
// Pillow ≤ 12 and torchvision work in that order; Pillow 13 swaps the passes of
// some tall pictures, which may change a sample by one level. Where w and h are
// src's own it returns a copy. If w or h is not positive, or src is empty, the
// result is an empty picture.
func Resize(src *RGB, w, h int) *RGB {
	if w <= 0 || h <= 0 || src.W <= 0 || src.H <= 0 {
		return &RGB{}
	}
	if src.W == w && src.H == h {
		return &RGB{W: w, H: h, Pix: append([]byte(nil), src.Pix...)}
	}
	out := src
	if out.W != w {
		out = resizeRows(out, w)
	}
	if out.H != h {
		out = resizeColumns(out, h)
	}
	return out
}

// taps are the weights of one output sample: those of the input samples from
// first on.
type taps struct {
	first  int
	weight []int32 // fixed point with coeffBits bits
}

// bicubic is Keys' kernel with a = −0.5. The conversions keep a compiler for a
// machine with fused multiply-add from fusing, which would round differently.
func bicubic(x float64) float64 {
	const a = -0.5
	x = math.Abs(x)
	switch {
	case x < 1:
		return float64(float64(float64(float64((a+2)*x)-(a+3))*x)*x) + 1
	case x < 2:
		return float64(float64(float64(float64(float64(x-5)*x)+8)*x)-4) * a
	}
	return 0
}

// weights computes the taps that scale n samples to m.
func weights(n, m int) []taps {
	scale := float64(n) / float64(m)
	stretch := max(scale, 1) // the kernel widens when shrinking
	support := 2 * stretch
	inverse := 1 / stretch
	out := make([]taps, m)
	var w []float64
	for i := range out {
		center := float64((float64(i) + 0.5) * scale)
		lo := max(int(center-support+0.5), 0)
		hi := min(int(center+support+0.5), n)
		w = w[:0]
		sum := 0.0
		for x := lo; x < hi; x++ {
			v := bicubic((float64(x) - center + 0.5) * inverse)
			w = append(w, v)
			sum += v
		}
		k := make([]int32, len(w))
		for j, v := range w {
			if sum != 0 {
				v /= sum
			}
			k[j] = int32(math.Copysign(math.Floor(math.Abs(float64(v*(1<<coeffBits)))+0.5), v))
		}
		out[i] = taps{first: lo, weight: k}
	}
	return out
}

func clip(acc int32) byte {
	return byte(min(max(acc>>coeffBits, 0), 255))
}

// resizeRows scales each row to w samples.
func resizeRows(src *RGB, w int) *RGB {
	all := weights(src.W, w)
	dst := newRGB(w, src.H)
	parallel(src.H, 3*w*len(all[0].weight), func(lo, hi int) {
		for y := lo; y < hi; y++ {
			in := src.Pix[3*src.W*y : 3*src.W*(y+1)]
			out := dst.Pix[3*w*y : 3*w*(y+1)]
			for _, t := range all {
				r, g, b := half, half, half
				p, k := in[3*t.first:], t.weight
				for ; len(k) >= 4; p, k = p[12:], k[4:] {
					p, k := (*[12]byte)(p), (*[4]int32)(k)
					r += k[0]*int32(p[0]) + k[1]*int32(p[3]) + k[2]*int32(p[6]) + k[3]*int32(p[9])
					g += k[0]*int32(p[1]) + k[1]*int32(p[4]) + k[2]*int32(p[7]) + k[3]*int32(p[10])
					b += k[0]*int32(p[2]) + k[1]*int32(p[5]) + k[2]*int32(p[8]) + k[3]*int32(p[11])
				}
				for i, k := range k {
					r += k * int32(p[3*i])
					g += k * int32(p[3*i+1])
					b += k * int32(p[3*i+2])
				}
				out[0], out[1], out[2] = clip(r), clip(g), clip(b)
				out = out[3:]
			}
		}
	})
	return dst
}

// resizeColumns scales each column to h samples, a whole row at a time.
func resizeColumns(src *RGB, h int) *RGB {
	all := weights(src.H, h)
	n := 3 * src.W
	dst := newRGB(src.W, h)
	parallel(h, n*len(all[0].weight), func(lo, hi int) {
		acc := make([]int32, n)
		for y := lo; y < hi; y++ {
			for i := range acc {
				acc[i] = half
			}
			for j, k := range all[y].weight {
				row := src.Pix[n*(all[y].first+j):][:n]
				for i, v := range row {
					acc[i] += k * int32(v)
				}
			}
			out := dst.Pix[n*y:][:n]
			for i, v := range acc {
				out[i] = clip(v)
			}
		}
	})
	return dst
}
