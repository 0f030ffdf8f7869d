package task

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"

	"paligemma/internal/quote"
)

// maxSide bounds the longer side of an image that is described by its size, in pixels.
const maxSide = 1 << 30

// ParseBox reads "x0,y0,x1,y1", in pixels.
func ParseBox(text string) (box [4]float64, err error) {
	parts := strings.SplitN(text, ",", len(box)+1)
	if len(parts) != len(box) {
		return box, errors.New("want x0,y0,x1,y1 in pixels")
	}
	for i, part := range parts {
		v, err := strconv.ParseFloat(strings.TrimSpace(part), 64)
		if err != nil || math.IsNaN(v) || math.IsInf(v, 0) {
			return box, fmt.Errorf("%s is not a number of pixels", quote.Short(part))
		}
		box[i] = v
	}
	return box, CheckBox(box)
}

// ParseSize reads WxH, the size of an image in pixels.
func ParseSize(text string) (w, h int, err error) {
	width, height, ok := strings.Cut(strings.ToLower(text), "x")
	w, err1 := strconv.Atoi(width)
	h, err2 := strconv.Atoi(height)
	if !ok || err1 != nil || err2 != nil || w < 1 || h < 1 {
		return 0, 0, fmt.Errorf("%s: want the width and height in pixels, such as 640x480", quote.Short(text))
	}
	if max(w, h) > maxSide {
		return 0, 0, fmt.Errorf("%s: a side is longer than %d pixels", quote.Short(text), maxSide)
	}
	return w, h, nil
}
