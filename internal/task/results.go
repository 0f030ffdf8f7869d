package task

import "paligemma/internal/mask"

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

// Pieces returns notes of what Parse left out, in the form the command line prints.
func Pieces(dropped []Note) []Piece {
	pieces := make([]Piece, len(dropped))
	for i, n := range dropped {
		pieces[i] = Piece{cut(n.Text, maxPiece), n.Problem, n.Offset}
	}
	return pieces
}
