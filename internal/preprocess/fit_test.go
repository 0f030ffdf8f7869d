package preprocess

import (
	"bytes"
	"image"
	stdjpeg "image/jpeg"
	"os"
	"runtime"
	"slices"
	"testing"

	"paligemma/internal/goldens"
)

// fitStreamed is [Fit] of a JPEG that is decoded by bands, whatever its size.
func fitStreamed(data []byte, size int, lim Limits) (Fitted, error) {
	d, err := openJPEG(data, lim)
	if err != nil {
		return Fitted{}, err
	}
	return (&Source{jpeg: d}).Fit(size)
}

// withOrientation returns a JPEG with an EXIF orientation.
func withOrientation(data []byte, orientation byte) []byte {
	exif := "\xff\xe1\x00\x22Exif\x00\x00MM\x00*\x00\x00\x00\x08\x00\x01\x01\x12\x00\x03\x00\x00\x00\x01\x00" + string([]byte{orientation}) + "\x00\x00\x00\x00\x00\x00"
	return slices.Concat(data[:2], []byte(exif), data[2:])
}

// TestFit: all kinds of JPEG, decoded by bands into the resize, have the bits of
// Decode and Resize, in all orientations.
func TestFit(t *testing.T) {
	files := goldens.Glob(t, 40, jpegs...)
	for _, file := range files {
		t.Run(file, func(t *testing.T) {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			for orientation := byte(1); orientation <= 8; orientation++ {
				data := withOrientation(data, orientation)
				img, err := Decode(data, Limits{})
				if err != nil {
					t.Fatal(err)
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
		})
	}
}

// TestFitOthers: what is not a JPEG is decoded and resized.
func TestFitOthers(t *testing.T) {
	for _, file := range []string{"scene.png", "anim.gif", "lossy.webp"} {
		t.Run(file, func(t *testing.T) {
			data := goldens.File(t, file)
			img, err := Decode(data, Limits{})
			if err != nil {
				t.Fatal(err)
			}
			got, err := Fit(data, 30, Limits{})
			if err != nil || !bytes.Equal(got.RGB.Pix, Resize(img, 30, 30).Pix) || got.Size != image.Pt(img.W, img.H) {
				t.Errorf("%v, or another picture", err)
			}
		})
	}
	for _, size := range []int{0, -1, 1<<14 + 1} {
		if _, err := Fit(goldens.File(t, "one.png"), size, Limits{}); err == nil {
			t.Errorf("size %d is accepted", size)
		}
	}
	if _, err := Fit(nil, 14, Limits{}); err == nil {
		t.Error("no data is accepted")
	}
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
		data := withOrientation(data, orientation)
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

// BenchmarkFit100MP shows in B/op what 100 megapixels take besides their file.
func BenchmarkFit100MP(b *testing.B) {
	baseline := largeJPEG(b, 11600, 8700)
	for name, data := range map[string][]byte{"upright": baseline, "rotated": withOrientation(baseline, 6)} {
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
