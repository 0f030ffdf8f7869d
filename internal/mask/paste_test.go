package mask

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"testing"
)

// goldens are files of testdata/mask (see its README).
const goldens = "../../testdata/mask"

// golden is one case of mask.json.
type golden struct {
	Text          string // what Parse reads the box from
	Width, Height int
	Box           [4]float64 `json:"box_pixels_float_x0y0x1y1"`
	IntBox        [4]int     `json:"box_pixels_int_x0y0x1y1"`
	Area          int
	RLE           RLE        `json:"coco_rle"`
	BBox          [4]float64 `json:"coco_bbox_xywh"`
}

func readJSON(t testing.TB, name string, v any) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(goldens, name))
	if err == nil {
		err = json.Unmarshal(data, v)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func readGoldens(t testing.TB) []golden {
	t.Helper()
	var cases []golden
	readJSON(t, "mask.json", &cases)
	if len(cases) != 12 {
		t.Fatalf("mask.json has %d cases, want 12", len(cases))
	}
	return cases
}

// readLogits returns the decoder's logits of every case, [12][64·64].
func readLogits(t testing.TB) [][]float32 {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(goldens, "logits.f32"))
	if err != nil {
		t.Fatal(err)
	}
	const n = Size * Size
	if len(data) != 12*n*4 {
		t.Fatalf("logits.f32 has %d bytes", len(data))
	}
	logits := make([][]float32, 12)
	for i := range logits {
		logits[i] = make([]float32, n)
		for j := range logits[i] {
			logits[i][j] = math.Float32frombits(binary.LittleEndian.Uint32(data[4*(i*n+j):]))
		}
	}
	return logits
}

// rleGolden is one case of rle.json.
type rleGolden struct {
	Name          string
	Width, Height int
	Bits          string // base64 of the mask, row-major, a bit a pixel, high bit first
	Counts        string
	Area          int
	BBox          [4]int
}

func (g rleGolden) mask(t testing.TB) []byte {
	t.Helper()
	bits, err := base64.StdEncoding.DecodeString(g.Bits)
	if err != nil {
		t.Fatal(err)
	}
	mask := make([]byte, g.Width*g.Height)
	for i := range mask {
		mask[i] = bits[i/8] >> (7 - i%8) & 1
	}
	return mask
}

func readRLEGoldens(t testing.TB) []rleGolden {
	t.Helper()
	var cases []rleGolden
	readJSON(t, "rle.json", &cases)
	if len(cases) == 0 {
		t.Fatal("rle.json is empty")
	}
	return cases
}

// TestPasteGoldens: boxes → full-size masks, RLE, area and box, equal to Pillow's
// and pycocotools'.
func TestPasteGoldens(t *testing.T) {
	logits := readLogits(t)
	for i, g := range readGoldens(t) {
		t.Run(g.Text, func(t *testing.T) {
			pixels, err := Paste(logits[i], g.Box, g.Width, g.Height)
			if err != nil {
				t.Fatal(err)
			}
			want, err := DecodeRLE(g.RLE)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(pixels, want) {
				t.Error("the mask differs from Pillow's")
			}
			m, err := Measure(pixels, g.Width, g.Height)
			if err != nil || m.RLE != g.RLE || m.Area != g.Area {
				t.Errorf("rle %v, area %d (error %v); want %v, %d", m.RLE, m.Area, err, g.RLE, g.Area)
			}
			box, err := m.RLE.BBox()
			if err != nil || [4]float64{float64(box[0]), float64(box[1]), float64(box[2]), float64(box[3])} != g.BBox {
				t.Errorf("bbox %v, %v; want %v", box, err, g.BBox)
			}
		})
	}
}

func TestPasteEdges(t *testing.T) {
	ones := make([]float32, Size*Size)
	for i := range ones {
		ones[i] = 1
	}
	count := func(box [4]float64) int {
		mask, err := Paste(ones, box, 20, 10)
		if err != nil {
			t.Fatal(err)
		}
		if len(mask) != 200 {
			t.Fatalf("mask of %d bytes", len(mask))
		}
		return bytes.Count(mask, []byte{1})
	}
	for _, c := range []struct {
		box  [4]float64
		want int
	}{
		{[4]float64{0, 0, 20, 10}, 200},
		{[4]float64{1.9, 2.9, 5.9, 4.9}, 4 * 2}, // 1..5 × 2..4
		{[4]float64{3, 3, 3.9, 9}, 0},           // empty
		{[4]float64{9, 3, 4, 9}, 0},             // inverted
	} {
		if got := count(c.box); got != c.want {
			t.Errorf("box %v: %d pixels, want %d", c.box, got, c.want)
		}
	}
	nan := append([]float32(nil), ones...)
	nan[7] = float32(math.NaN())
	for _, c := range []struct {
		what   string
		logits []float32
		box    [4]float64
		w, h   int
	}{
		{"too few logits", ones[1:], [4]float64{0, 0, 1, 1}, 20, 10},
		{"NaN logit", nan, [4]float64{0, 0, 1, 1}, 20, 10},
		{"box beyond the right", ones, [4]float64{0, 0, 20.5, 1}, 20, 10},
		{"box beyond the top", ones, [4]float64{0, -0.5, 1, 1}, 20, 10},
		{"NaN in the box", ones, [4]float64{0, math.NaN(), 1, 1}, 20, 10},
		{"negative image", ones, [4]float64{}, -1, 10},
		{"huge image", ones, [4]float64{}, 1 << 40, 1 << 40},
	} {
		if _, err := Paste(c.logits, c.box, c.w, c.h); err == nil {
			t.Errorf("%s: no error", c.what)
		}
	}
}
