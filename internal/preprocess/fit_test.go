package preprocess

import (
	"bytes"
	"image"
	stdjpeg "image/jpeg"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"testing"
)

// fitStreamed is [Fit] of a JPEG that is decoded by bands, whatever its size.
func fitStreamed(data []byte, size int, lim Limits) (Fitted, error) {
	d, err := openJPEG(data, lim)
	if err != nil {
		return Fitted{}, err
	}
	return (&Source{jpeg: d}).Fit(size)
}

// noise returns a picture of random samples.
func noise(seed uint64, w, h int) *RGB {
	r := rand.New(rand.NewPCG(seed, 7))
	img := newRGB(w, h)
	for i := range img.Pix {
		img.Pix[i] = byte(r.Uint32())
	}
	return img
}

// TestResizer: rows in any portions, with any orientation, give what turning and
// resizing the whole picture gives.
func TestResizer(t *testing.T) {
	sizes := []image.Point{{1, 1}, {1, 9}, {9, 1}, {7, 5}, {33, 64}, {64, 33}, {200, 3}, {3, 200}, {130, 97}}
	targets := []image.Point{{1, 1}, {5, 7}, {33, 64}, {64, 33}, {130, 97}}
	for i, size := range sizes {
		src := noise(uint64(i), size.X, size.Y)
		for _, to := range targets {
			for orientation := 1; orientation <= 8; orientation++ {
				want := Resize(orient(src, orientation), to.X, to.Y)
				for _, portion := range []int{1, 50} {
					r := NewResizer(src.W, src.H, orientation, to.X, to.Y)
					for rows := range slices.Chunk(src.Pix, 3*src.W*portion) {
						r.Write(rows)
					}
					if got := r.Picture(); got.W != to.X || got.H != to.Y || !bytes.Equal(got.Pix, want.Pix) {
						t.Errorf("%v to %v, orientation %d, by %d rows: another picture", size, to, orientation, portion)
					}
				}
			}
		}
	}
}

// turned returns a JPEG with an EXIF orientation.
func turned(data []byte, orientation byte) []byte {
	exif := "\xff\xe1\x00\x22Exif\x00\x00MM\x00*\x00\x00\x00\x08\x00\x01\x01\x12\x00\x03\x00\x00\x00\x01\x00" + string([]byte{orientation}) + "\x00\x00\x00\x00\x00\x00"
	return slices.Concat(data[:2], []byte(exif), data[2:])
}

// TestFit: all kinds of JPEG, decoded by bands into the resize, have the bits of
// Decode and Resize, in all orientations.
func TestFit(t *testing.T) {
	files := append(jpegFiles(t), damagedFiles(t)...)
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for orientation := byte(1); orientation <= 8; orientation++ {
			data := turned(without(t, data, markerAPP1), orientation)
			img, err := Decode(data, Limits{})
			if err != nil {
				t.Fatalf("%s: %v", file, err)
			}
			for _, size := range []int{14, 60} {
				want := Resize(img, size, size)
				for name, fit := range map[string]func([]byte, int, Limits) (Fitted, error){"Fit": Fit, "by bands": fitStreamed} {
					got, err := fit(data, size, DefaultLimits)
					if err != nil {
						t.Fatalf("%s, %s: %v", file, name, err)
					}
					if !bytes.Equal(got.RGB.Pix, want.Pix) || got.Size != image.Pt(img.W, img.H) || !slices.Equal(got.Warnings, img.Warnings) {
						t.Errorf("%s, orientation %d, to %d, %s: another picture", file, orientation, size, name)
					}
				}
			}
		}
	}
	if len(files) < 40 {
		t.Errorf("only %d files", len(files))
	}
}

// TestFitOthers: what is not a JPEG is decoded and resized.
func TestFitOthers(t *testing.T) {
	for _, file := range []string{"scene.png", "anim.gif", "lossy.webp"} {
		data := readPicture(t, file)
		img, err := Decode(data, Limits{})
		if err != nil {
			t.Fatal(err)
		}
		got, err := Fit(data, 30, Limits{})
		if err != nil || !bytes.Equal(got.RGB.Pix, Resize(img, 30, 30).Pix) || got.Size != image.Pt(img.W, img.H) {
			t.Errorf("%s: %v, or another picture", file, err)
		}
	}
	for _, size := range []int{0, -1, 1<<14 + 1} {
		if _, err := Fit(readPicture(t, "one.png"), size, Limits{}); err == nil {
			t.Errorf("size %d is accepted", size)
		}
	}
	if _, err := Fit(nil, 14, Limits{}); err == nil {
		t.Error("no data is accepted")
	}
}

// damagedFiles are the files of testdata/images/damaged.
func damagedFiles(t testing.TB) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(images, "damaged", "*.jpg"))
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// largeJPEG returns a baseline JPEG with halved chroma of that many pixels, in one
// color.
func largeJPEG(t testing.TB, w, h int) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := stdjpeg.Encode(&b, image.NewYCbCr(image.Rect(0, 0, w, h), image.YCbCrSubsampleRatio420), nil); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// allocated returns how many bytes f allocates.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// TestFitMemory: of a large baseline JPEG only bands are there at a time.
func TestFitMemory(t *testing.T) {
	// Each goroutine counts, though its memory is free again at once.
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(2))
	data := largeJPEG(t, 4400, 4000)
	for orientation := byte(1); orientation <= 8; orientation += 5 {
		data := turned(data, orientation)
		n := allocated(func() {
			if f, err := Fit(data, 224, Limits{}); err != nil || f.Size.X+f.Size.Y != 8400 {
				t.Error(err)
			}
		})
		if n > 10<<20 {
			t.Errorf("orientation %d: %d bytes for 17.6 megapixels", orientation, n)
		}
	}
}

// BenchmarkFit100MP shows in B/op what 100 megapixels take beside their file.
func BenchmarkFit100MP(b *testing.B) {
	baseline := largeJPEG(b, 11600, 8700)
	for name, data := range map[string][]byte{"upright": baseline, "turned": turned(baseline, 6)} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := Fit(data, 896, Limits{MaxPixels: 1 << 28}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
