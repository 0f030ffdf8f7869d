package task

import (
	"bytes"
	"fmt"
	"image"

	"paligemma/internal/quote"
)

// Box is a labelled box as the command line's JSON has it.
type Box struct {
	Label      string     `json:"label"`
	Box        [4]float64 `json:"box"`        // x0, y0, x1, y1, pixels
	Normalized [4]float64 `json:"normalized"` // the same between 0 and 1
	Confidence *float64   `json:"confidence,omitempty"`
}

// Mask is a labelled mask as the command line's JSON has it. Without a mask
// decoder the fields from Area on are missing.
type Mask struct {
	Label string     `json:"label"`
	Box   [4]float64 `json:"box"`   // x0, y0, x1, y1, pixels
	Codes []int      `json:"codes"` // 16 values of 0..127

	Confidence *float64 `json:"confidence,omitempty"`

	Area        *int        `json:"area,omitempty"`         // pixels of the mask
	RLE         *RLE        `json:"rle,omitempty"`          // the whole image's mask
	Polygons    [][]float64 `json:"polygons,omitempty"`     // COCO: x, y, x, y, … of each part's outline
	PolygonArea *float64    `json:"polygon_area,omitempty"` // of the outlines: the area with holes filled
	MaskFile    string      `json:"mask_file,omitempty"`
}

// Piece is a piece of text that Parse left out, as the command line's JSON has
// it.
type Piece struct {
	Text   string `json:"text"` // at most maxPiece bytes of it
	Reason string `json:"reason"`
	Offset int    `json:"offset"` // in the text, bytes
}

// maxPiece bounds the text of a Piece, in bytes: its offset finds the rest.
const maxPiece = 200

// Pieces returns what Parse left out, in the form the command line prints.
func (r Result) Pieces() []Piece {
	pieces := make([]Piece, len(r.Dropped))
	for i, n := range r.Dropped {
		pieces[i] = Piece{cut(n.Text, maxPiece), n.Problem, n.Offset}
	}
	return pieces
}

// Masks are the objects that have mask codes, without the decoded masks (see
// Mask.SetPixels).
func (r Result) Masks() []Mask {
	masks := []Mask{}
	for _, o := range r.Objects {
		if o.Codes != nil {
			masks = append(masks, Mask{Label: o.Label, Box: o.Box, Codes: o.Codes})
		}
	}
	return masks
}

// SetPixels fills in area, RLE, polygons and their area from a decoded mask of
// the whole image, [H][W] (see PasteMask).
func (m *Mask) SetPixels(mask []byte, W, H int) error {
	if err := checkMask(len(mask), W, H); err != nil {
		return fmt.Errorf("mask %s: %w", quote.Short(m.Label), err)
	}
	// All is computed on the rectangle that the mask fills, which may be a small
	// part of a large image.
	filled := bounds(mask, W, H)
	part := crop(mask, W, filled)
	rle := encodeRLE(part, filled, W, H)
	polygons, err := Polygons(part, filled.Dx(), filled.Dy())
	if err != nil {
		return fmt.Errorf("mask %s: %w", quote.Short(m.Label), err)
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
	polygonArea := PolygonArea(polygons)
	m.Area, m.RLE, m.Polygons, m.PolygonArea = &area, &rle, polygons, &polygonArea
	return nil
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
