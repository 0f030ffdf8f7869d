package preprocess

import (
	"image"
	"math"
	"testing"

	"paligemma/internal/goldens"
)

// TestResizeEmpty checks that there is no picture of an empty one, or of no size.
func TestResizeEmpty(t *testing.T) {
	for _, c := range []struct {
		src  *RGB
		w, h int
	}{{newRGB(7, 300), 0, 5}, {newRGB(7, 300), 5, -1}, {&RGB{}, 5, 5}} {
		if got := Resize(c.src, c.w, c.h); got.W != 0 || got.H != 0 || len(got.Pix) != 0 {
			t.Errorf("%d×%d: %d×%d", c.w, c.h, got.W, got.H)
		}
	}
}

func TestNormalize(t *testing.T) {
	img := &RGB{W: 128, H: 2, Pix: make([]byte, 3*256)}
	for v := range 256 {
		img.Pix[3*v], img.Pix[3*v+1], img.Pix[3*v+2] = byte(v), byte(255-v), byte(v^0x55)
	}
	half := [3]float32{0.5, 0.5, 0.5}
	got := Normalize(img, half, half)
	for v := range 256 {
		f := func(v byte) float32 { return float32(v)/127.5 - 1 }
		if got[v] != f(byte(v)) || got[256+v] != f(byte(255-v)) || got[512+v] != f(byte(v^0x55)) {
			t.Errorf("sample %d: %v %v %v", v, got[v], got[256+v], got[512+v])
		}
	}
	if got[0] != -1 || got[255] != 1 {
		t.Errorf("range %v to %v", got[0], got[255])
	}
	mean, std := [3]float32{0.48145466, 0.4578275, 0.40821073}, [3]float32{0.26862954, 0.26130258, 0.27577711}
	got = Normalize(img, mean, std)
	for c := range 3 {
		for i := range 256 {
			want := (float64(img.Pix[3*i+c])/255 - float64(mean[c])) / float64(std[c])
			if diff := float64(got[256*c+i]) - want; math.Abs(diff) > 1e-6 {
				t.Errorf("channel %d, sample %d: %v, want %v", c, img.Pix[3*i+c], got[256*c+i], want)
			}
		}
	}
}

// TestFitPixels: all steps, from a file to the numbers that the tower takes.
func TestFitPixels(t *testing.T) {
	half := [3]float32{0.5, 0.5, 0.5}
	all := goldens.Read(t, "goldens.bin.gz")
	for file, size := range map[string]image.Point{"scene.png": {200, 150}, "rgba.png": {120, 90}, "lossy.webp": {120, 80}, "anim.gif": {90, 60}} {
		t.Run(file, func(t *testing.T) {
			f, err := Fit(goldens.File(t, file), 56, Limits{})
			if err != nil {
				t.Fatal(err)
			}
			got := Normalize(f.RGB, half, half)
			want := all[file+".resized_56"].Pix
			if f.Size != size || len(got) != len(want) {
				t.Fatalf("%v, %d numbers", f.Size, len(got))
			}
			for i, v := range want {
				if at := i%3*56*56 + i/3; got[at] != float32(v)/127.5-1 {
					t.Fatalf("number %d is %v", at, got[at])
				}
			}
		})
	}
	if f, err := Fit(goldens.File(t, "exif6.jpg"), 14, Limits{}); err != nil || f.Size != image.Pt(100, 150) {
		t.Errorf("rotated picture: %v, %v", f.Size, err)
	}
	data := goldens.File(t, "one.png")
	for _, size := range []int{0, -1, 1 << 20} {
		if _, err := Fit(data, size, Limits{}); err == nil {
			t.Errorf("size %d is accepted", size)
		}
	}
	if _, err := Fit(nil, 14, Limits{}); err == nil {
		t.Error("no data is accepted")
	}
}
