package task

import (
	"fmt"

	"paligemma/internal/mask"
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
	RLE         *mask.RLE   `json:"rle,omitempty"`          // the whole image's mask
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
// the whole image, [H][W] (see mask.Paste).
func (m *Mask) SetPixels(pixels []byte, W, H int) error {
	measures, err := mask.Measure(pixels, W, H)
	if err != nil {
		return fmt.Errorf("mask %s: %w", quote.Short(m.Label), err)
	}
	m.Area, m.RLE, m.Polygons, m.PolygonArea = &measures.Area, &measures.RLE, measures.Polygons, &measures.PolygonArea
	return nil
}
