package preprocess

import (
	"bytes"
	"image"
	"image/color/palette"
	"image/gif"
	"math/rand/v2"
	"testing"
)

// TestGIFLongCodes checks a picture of noise, which needs codes of 12 bits and
// clears its table of strings.
func TestGIFLongCodes(t *testing.T) {
	m := image.NewPaletted(image.Rect(0, 0, 160, 150), palette.Plan9)
	r := rand.New(rand.NewPCG(1, 2))
	for i := range m.Pix {
		m.Pix[i] = byte(r.Uint32())
	}
	var b bytes.Buffer
	if err := gif.Encode(&b, m, nil); err != nil {
		t.Fatal(err)
	}
	img, err := Decode(b.Bytes(), Limits{})
	if err != nil {
		t.Fatal(err)
	}
	for i, index := range m.Pix {
		red, green, blue, _ := m.Palette[index].RGBA()
		if want := [3]byte{byte(red >> 8), byte(green >> 8), byte(blue >> 8)}; [3]byte(img.Pix[3*i:]) != want {
			t.Fatalf("pixel %d: %v, want %v", i, img.Pix[3*i:][:3], want)
		}
	}
}
