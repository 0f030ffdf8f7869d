package preprocess

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"paligemma/internal/goldens"
)

// jpegs are patterns of the JPEGs among the pictures.
var jpegs = []string{"*.jpg", "extra/*.jpg", "damaged/*.jpg"}

// difference returns the largest and the mean difference of samples, or an
// error where the sizes differ.
func difference(a, b *RGB) (most int, mean float64, err error) {
	if a.W != b.W || a.H != b.H || len(a.Pix) != len(b.Pix) {
		return 0, 0, fmt.Errorf("%d×%d (%d bytes), want %d×%d (%d)", a.W, a.H, len(a.Pix), b.W, b.H, len(b.Pix))
	}
	sum := 0
	for i, v := range a.Pix {
		d := int(v) - int(b.Pix[i])
		d = max(d, -d)
		sum += d
		most = max(most, d)
	}
	return most, float64(sum) / float64(len(a.Pix)), nil
}

// TestDecodeGoldens compares with what Pillow decoded: every sample is equal.
func TestDecodeGoldens(t *testing.T) {
	for _, set := range []struct{ file, folder string }{{"goldens.bin.gz", ""}, {"extra.bin.gz", "extra"}, {"kinds.bin.gz", "kinds"}, {"damaged.bin.gz", "damaged"}} {
		n := 0
		for name, want := range goldens.Read(t, set.file) {
			file, ok := strings.CutSuffix(name, ".rgb")
			if !ok {
				continue
			}
			n++
			t.Run(file, func(t *testing.T) {
				got, err := Decode(goldens.File(t, filepath.Join(set.folder, file)), Limits{})
				if err != nil {
					t.Fatal(err)
				}
				most, mean, err := difference(got, &RGB{W: want.W, H: want.H, Pix: want.Pix})
				if err != nil {
					t.Fatal(err)
				}
				t.Logf("%s: largest difference %d, mean %.5f", file, most, mean)
				switch {
				case file == "gray16.png": // Pillow clips it to white: see TestGray16
				case most != 0:
					t.Errorf("largest difference %d, mean %.5f, want equal", most, mean)
				}
			})
		}
		if n < 32 {
			t.Errorf("%s: only %d pictures", set.file, n)
		}
	}
}
