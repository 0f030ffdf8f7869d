package mask

import (
	"bytes"
	"image"
)

// Measures are what COCO's annotations say of a mask.
type Measures struct {
	Area        int         // pixels
	RLE         RLE         // of the whole image
	Polygons    [][]float64 // x, y, x, y, … of each part's outline
	PolygonArea float64     // of the outlines: the area with holes filled
}

// Measure measures a mask [H][W]. It fails if the size is not the mask's or is over
// MaxPixels.
func Measure(pixels []byte, W, H int) (Measures, error) {
	if err := Check(len(pixels), W, H); err != nil {
		return Measures{}, err
	}
	// All is computed on the rectangle that the mask fills, which may be a small
	// part of a large image.
	filled := bounds(pixels, W, H)
	part := crop(pixels, W, filled)
	polygons, err := Polygons(part, filled.Dx(), filled.Dy())
	if err != nil {
		return Measures{}, err
	}
	for _, p := range polygons {
		for i := 0; i < len(p); i += 2 {
			p[i] += float64(filled.Min.X)
			p[i+1] += float64(filled.Min.Y)
		}
	}
	area := 0
	for _, v := range part {
		if v != 0 {
			area++
		}
	}
	return Measures{area, encodeRLE(part, filled, W, H), polygons, PolygonArea(polygons)}, nil
}

// bounds returns the smallest rectangle around the pixels of a mask [H][W] that
// are set, an empty one if none is.
func bounds(mask []byte, W, H int) image.Rectangle {
	var r image.Rectangle
	blank := make([]byte, W)
	for y := range H {
		row := mask[y*W : (y+1)*W]
		if bytes.Equal(row, blank) {
			continue
		}
		first, last := 0, W-1
		for row[first] == 0 {
			first++
		}
		for row[last] == 0 {
			last--
		}
		r = r.Union(image.Rect(first, y, last+1, y+1))
	}
	return r
}

// crop returns a rectangle of a mask whose rows are W wide.
func crop(mask []byte, W int, r image.Rectangle) []byte {
	if r.Dx() == W {
		return mask[r.Min.Y*W : r.Max.Y*W]
	}
	part := make([]byte, 0, r.Dx()*r.Dy())
	for y := r.Min.Y; y < r.Max.Y; y++ {
		part = append(part, mask[y*W+r.Min.X:y*W+r.Max.X]...)
	}
	return part
}
