package task

import (
	"encoding/json"
	"os"
	"testing"

	"paligemma/internal/mask"
)

// maskGolden is a case of testdata/mask/mask.json: a text, its box and its mask.
type maskGolden struct {
	Text          string
	Width, Height int
	Box           [4]float64 `json:"box_pixels_float_x0y0x1y1"`
	Area          int
	RLE           mask.RLE `json:"coco_rle"`
}

func maskGoldens(t testing.TB) []maskGolden {
	t.Helper()
	var cases []maskGolden
	data, err := os.ReadFile("../../testdata/mask/mask.json")
	if err == nil {
		err = json.Unmarshal(data, &cases)
	}
	if err != nil || len(cases) != 12 {
		t.Fatalf("%d cases, want 12 (error %v)", len(cases), err)
	}
	return cases
}

// TestMaskGoldens: the boxes of texts are the reference's, and a decoded mask gets
// its measures.
func TestMaskGoldens(t *testing.T) {
	for _, g := range maskGoldens(t) {
		t.Run(g.Text, func(t *testing.T) {
			r := Parse(g.Text, g.Width, g.Height)
			if len(r.Objects) != 1 || len(notes(r)) != 0 {
				t.Fatalf("%+v", r)
			}
			if o := r.Objects[0]; o.Box != g.Box || o.Label != "thing" {
				t.Errorf("box %v %q, want %v", o.Box, o.Label, g.Box)
			}
			pixels, err := mask.DecodeRLE(g.RLE)
			if err != nil {
				t.Fatal(err)
			}
			m, err := mask.Measure(pixels, g.Width, g.Height)
			if err != nil {
				t.Fatal(err)
			}
			if m.RLE != g.RLE || m.Area != g.Area {
				t.Errorf("rle %v, area %d; want %v, %d", m.RLE, m.Area, g.RLE, g.Area)
			}
		})
	}
}
