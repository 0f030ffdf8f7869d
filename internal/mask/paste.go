package mask

import (
	"fmt"
	"math"
)

// Size is the side of the mask decoder's output.
const Size = 64

// Paste puts a decoded mask into the image: logits [64][64] are resized to
// the box with every side cut to an integer, what is above 0 belongs to the
// mask, and the rest of the image W wide and H high does not. box is x0, y0, x1,
// y1 in pixels, as Parse gives it. The result is [H][W] of 0 and 1, all 0 if the
// integer box is empty or inverted (big_vision:
// evaluators/proj/paligemma/transfers/segmentation.py).
//
// The resize gives the very floats of Pillow's (up to 12; see resizeRows).
//
// It fails on logits of another length or with a NaN, on a box that leaves the
// image, and on an image of more than MaxPixels.
func Paste(logits []float32, box [4]float64, W, H int) ([]byte, error) {
	if len(logits) != Size*Size {
		return nil, fmt.Errorf("paste mask: %d logits, want %d×%d", len(logits), Size, Size)
	}
	for _, v := range logits {
		if v != v {
			return nil, fmt.Errorf("paste mask: a logit is not a number")
		}
	}
	if err := Check(-1, W, H); err != nil {
		return nil, fmt.Errorf("paste mask: %w", err)
	}
	for i, size := range [4]int{W, H, W, H} {
		if !(box[i] >= 0 && box[i] <= float64(size)) {
			return nil, fmt.Errorf("paste mask: box %v leaves the image of %d×%d", box, W, H)
		}
	}
	mask := make([]byte, W*H)
	x0, y0, x1, y1 := int(box[0]), int(box[1]), int(box[2]), int(box[3])
	if x1 <= x0 || y1 <= y0 {
		return mask, nil
	}
	resizeRows(logits, Size, Size, x1-x0, y1-y0, func(y int, row []float32) {
		at := (y0+y)*W + x0
		for x, v := range row {
			if v > 0 {
				mask[at+x] = 1
			}
		}
	})
	return mask, nil
}

// resizeRows resizes src [srcH][srcW] to w × h as Pillow does for mode F with
// BILINEAR, and hands out the rows from top to bottom; a row is only valid
// during its call. All sizes are at least 1.
//
// Pillow (Resample.c): a horizontal and then a vertical pass, each skipped if it
// would not change the size; sums in float64, in the order of the samples; every
// pass rounds to float32. (Pillow 13 takes the vertical pass first where only
// the height shrinks; that moves some floats by their last bit.)
func resizeRows(src []float32, srcW, srcH, w, h int, each func(y int, row []float32)) {
	if w != srcW {
		weights := triangle(srcW, w)
		wide := make([]float32, srcH*w)
		for y := range srcH {
			in := src[y*srcW : (y+1)*srcW]
			out := wide[y*w : (y+1)*w]
			for x, k := range weights {
				sum := 0.0
				for i, weight := range k.weights {
					sum += float64(float64(in[k.first+i]) * weight) // the conversion forbids a fused multiply-add
				}
				out[x] = float32(sum)
			}
		}
		src = wide
	}
	if h == srcH {
		for y := range h {
			each(y, src[y*w:(y+1)*w])
		}
		return
	}
	row := make([]float32, w)
	sums := make([]float64, w)
	for y, k := range triangle(srcH, h) {
		clear(sums)
		for i, weight := range k.weights {
			for x, v := range src[(k.first+i)*w : (k.first+i+1)*w] {
				sums[x] += float64(float64(v) * weight)
			}
		}
		for x, sum := range sums {
			row[x] = float32(sum)
		}
		each(y, row)
	}
}

// kernel is what makes one output sample: the weights of input samples first,
// first+1, ….
type kernel struct {
	first   int
	weights []float64
}

// triangle returns the n kernels that resize size samples to n: a triangle as
// wide as two input samples, or, where the picture shrinks, two output samples,
// cut at the edges and normalised (Pillow: precompute_coeffs).
func triangle(size, n int) []kernel {
	scale := float64(size) / float64(n)
	support := math.Max(scale, 1)
	stretch := 1 / support
	kernels := make([]kernel, n)
	for i := range kernels {
		center := (float64(i) + 0.5) * scale
		first := max(int(center-support+0.5), 0)
		end := min(int(center+support+0.5), size)
		weights := make([]float64, max(end-first, 0))
		total := 0.0
		for j := range weights {
			weights[j] = math.Max(1-math.Abs((float64(j+first)-center+0.5)*stretch), 0)
			total += weights[j]
		}
		for j := range weights {
			if total != 0 {
				weights[j] /= total
			}
		}
		kernels[i] = kernel{first, weights}
	}
	return kernels
}
