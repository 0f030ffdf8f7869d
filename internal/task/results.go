package task

import (
	"math"

	"paligemma/internal/mask"
)

// Found is an object as the command line's JSON has it.
type Found struct {
	Label      string     `json:"label"`
	Box        [4]float64 `json:"box"`        // x0, y0, x1, y1, pixels
	Normalized [4]float64 `json:"normalized"` // the same between 0 and 1
	Confidence *float64   `json:"confidence,omitempty"`
	Mask       *MaskData  `json:"mask,omitempty"`
}

// MaskData is a mask as the command line's JSON has it. Without a mask decoder
// the fields from Area on are missing.
type MaskData struct {
	Codes       []int       `json:"codes"`                  // 16 values of 0..127
	Area        *int        `json:"area,omitempty"`         // pixels of the mask
	RLE         *mask.RLE   `json:"rle,omitempty"`          // the whole image's mask
	Polygons    [][]float64 `json:"polygons,omitempty"`     // COCO: x, y, x, y, … of each part's outline
	PolygonArea *float64    `json:"polygon_area,omitempty"` // of the outlines: the area with holes filled
	MaskFile    string      `json:"mask_file,omitempty"`
}

// Box is a labelled box as a deprecated list of the command line's JSON has it.
type Box struct {
	Label      string     `json:"label"`
	Box        [4]float64 `json:"box"`
	Normalized [4]float64 `json:"normalized"`
	Confidence *float64   `json:"confidence,omitempty"`
}

// Mask is a labelled mask as a deprecated list of the command line's JSON has it.
type Mask struct {
	Label      string     `json:"label"`
	Box        [4]float64 `json:"box"`
	Confidence *float64   `json:"confidence,omitempty"`
	MaskData
}

// Lists returns objects as the deprecated lists: all boxes, and the masks of those
// objects that have one.
func Lists(objects []Found) ([]Box, []Mask) {
	boxes, masks := make([]Box, len(objects)), []Mask{}
	for i, o := range objects {
		boxes[i] = Box{o.Label, o.Box, o.Normalized, o.Confidence}
		if o.Mask != nil {
			masks = append(masks, Mask{o.Label, o.Box, o.Confidence, *o.Mask})
		}
	}
	return boxes, masks
}

// Round returns a coordinate with four decimals at most. Its shortest form in JSON
// then has no exponent, which some parsers cannot read.
func Round(v float64) float64 { return math.Round(v*1e4) / 1e4 }

// RoundBox rounds the coordinates of a box.
func RoundBox(box [4]float64) [4]float64 {
	for i, v := range box {
		box[i] = Round(v)
	}
	return box
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

// Pieces returns notes of what Parse left out, in the form the command line prints.
func Pieces(dropped []Note) []Piece {
	pieces := make([]Piece, len(dropped))
	for i, n := range dropped {
		pieces[i] = Piece{cut(n.Text, maxPiece), n.Problem, n.Offset}
	}
	return pieces
}
