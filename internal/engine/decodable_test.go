package engine

import (
	"fmt"
	"image"
	"testing"

	"paligemma/internal/mask"
)

func TestDecodable(t *testing.T) {
	for _, c := range []struct{ w, h, want int }{
		{0, 0, MaxMasks},
		{1, 1, MaxMasks},
		{640, 480, MaxMasks},
		{4000, 3000, 89},
		{16384, 16384, 4},
		{16385, 16384, 0},
		{1 << 30, 1 << 30, 0},
		{mask.MaxPixels, 1, 4},
	} {
		t.Run(fmt.Sprintf("%dx%d", c.w, c.h), func(t *testing.T) {
			if got := decodable(image.Pt(c.w, c.h)); got != c.want {
				t.Errorf("%d, want %d", got, c.want)
			}
		})
	}
}
