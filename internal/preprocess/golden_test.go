package preprocess

import (
	"bufio"
	"compress/gzip"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const images = "../../testdata/images"

// goldens reads a file of golden pictures (see testdata/README.md): gzip of a
// line "name width height" and width·height·3 samples, for each.
func goldens(t testing.TB, file string) map[string]*RGB {
	t.Helper()
	f, err := os.Open(filepath.Join(images, file))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	r := bufio.NewReader(z)
	out := map[string]*RGB{}
	for {
		line, err := r.ReadString('\n')
		if err == io.EOF && line == "" {
			return out
		}
		var name string
		var w, h int
		if _, err := fmt.Sscanf(line, "%s %d %d", &name, &w, &h); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		img := newRGB(w, h)
		if _, err := io.ReadFull(r, img.Pix); err != nil {
			t.Fatalf("%s: %s: %v", file, name, err)
		}
		out[name] = img
	}
}

func readPicture(t testing.TB, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(images, name))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

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
		for name, want := range goldens(t, set.file) {
			file, ok := strings.CutSuffix(name, ".rgb")
			if !ok {
				continue
			}
			n++
			t.Run(file, func(t *testing.T) {
				got, err := Decode(readPicture(t, filepath.Join(set.folder, file)), Limits{})
				if err != nil {
					t.Fatal(err)
				}
				most, mean, err := difference(got, want)
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
