//go:build heif

package preprocess

import (
	"bytes"
	"encoding/binary"
	"errors"
	"testing"

	"paligemma/internal/goldens"
)

// TestHEIF looks at pictures that get redder to the right and greener downwards,
// as they are stored.
func TestHEIF(t *testing.T) {
	for file, c := range map[string]struct {
		w, h        int
		red, green  [2]int // where these are strongest
		orientation int
	}{
		"oriented1.avif": {40, 24, [2]int{39, 0}, [2]int{0, 23}, 1},
		"oriented6.avif": {24, 40, [2]int{23, 39}, [2]int{0, 0}, 6},
		"oriented7.avif": {24, 40, [2]int{23, 0}, [2]int{0, 39}, 7},
		"plain.heic":     {160, 96, [2]int{159, 0}, [2]int{0, 95}, 1},
	} {
		t.Run(file, func(t *testing.T) {
			data := goldens.File(t, "heif/"+file)
			img, err := Decode(data, Limits{})
			if err != nil {
				t.Fatal(err)
			}
			if img.W != c.w || img.H != c.h {
				t.Fatalf("%d×%d", img.W, img.H)
			}
			at := func(p [2]int) []byte { return img.Pix[3*(p[1]*img.W+p[0]):][:3] }
			if r, g := at(c.red), at(c.green); r[0] < 200 || r[1] > 40 || g[1] < 200 || g[0] > 40 {
				t.Errorf("at %v %v, at %v %v", c.red, r, c.green, g)
			}
			if _, err := Decode(data, Limits{MaxPixels: int64(c.w*c.h) - 1}); !errors.Is(err, ErrTooLarge) {
				t.Errorf("over the limit: %v", err)
			}
		})
	}
}

// TestHEIFLimits: a size is refused before the decoder sees it.
func TestHEIFLimits(t *testing.T) {
	data := goldens.File(t, "heif/oriented1.avif")
	at := bytes.Index(data, []byte("ispe"))
	huge := bytes.Clone(data)
	binary.BigEndian.PutUint32(huge[at+8:], 2_000_000)
	if _, err := Decode(huge, Limits{}); !errors.Is(err, ErrTooLarge) {
		t.Errorf("two million pixels wide: %v", err)
	}
	for n := range data[:at+8] {
		if _, err := Decode(data[:n], Limits{}); err == nil {
			t.Errorf("accepted with %d of %d bytes", n, len(data))
		}
	}
}
