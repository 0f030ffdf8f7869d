package mask

import (
	"fmt"

	"paligemma/internal/pillow"
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
// The resize is Pillow's ([pillow.ResizeFloats]), to the bit.
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
	pillow.ResizeFloats(logits, Size, Size, x1-x0, y1-y0, func(y int, row []float32) {
		at := (y0+y)*W + x0
		for x, v := range row {
			if v > 0 {
				mask[at+x] = 1
			}
		}
	})
	return mask, nil
}
