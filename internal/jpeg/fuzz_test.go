package jpeg

import (
	"bytes"
	"image"
	stdjpeg "image/jpeg"
	"os"
	"testing"

	"paligemma/internal/goldens"
	"paligemma/internal/pillow"
)

// FuzzJPEG compares with image/jpeg: a sound sequential file has the same luma, up
// to the rounding of the inverse DCT. Of damaged and progressive files it is asked
// that they do no harm, and that rows that go straight into a resize give what the
// whole picture gives.
func FuzzJPEG(f *testing.F) {
	for _, file := range goldens.Glob(f, 40, "*.jpg", "extra/*.jpg", "damaged/*.jpg") {
		if data, err := os.ReadFile(file); err == nil && len(data) < 8<<10 {
			f.Add(data)
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		img, err := decode(data)
		if err != nil {
			return
		}
		if img.w <= 0 || img.h <= 0 || img.done != len(img.pix) {
			t.Fatalf("%d×%d with %d bytes of %d", img.w, img.h, img.done, len(img.pix))
		}
		d, err := Open(data)
		if err != nil {
			t.Fatal(err)
		}
		r := pillow.NewResizer(img.w, img.h, 1, 9, 9)
		if err := d.Decode(r); err != nil || !bytes.Equal(r.Pixels(), pillow.Resize(img.pix, img.w, img.h, 9, 9)) {
			t.Fatalf("by rows: %v, or another picture", err)
		}
		if len(img.warnings) == 0 {
			compareLuma(t, data)
		}
	})
}

// compareLuma compares the luma of a sound file with image/jpeg's.
func compareLuma(t *testing.T, data []byte) {
	t.Helper()
	d, _, err := kept(data)
	if err != nil {
		t.Fatal(err)
	}
	m, err := stdjpeg.Decode(bytes.NewReader(data))
	if err != nil {
		return
	}
	var luma []byte
	stride := 0
	switch m := m.(type) {
	case *image.Gray:
		luma, stride = m.Pix, m.Stride
	case *image.YCbCr:
		luma, stride = m.Y, m.YStride
	default:
		return
	}
	c := &d.comps[0]
	if d.progressive || c.out.hx != 1 || c.out.vx != 1 || laterTables(data) {
		return
	}
	for y := range c.high {
		for x := range c.wide {
			coef := (*[64]int16)(c.coef[64*(y*c.stride+x):])
			if large(coef, c.quant) {
				continue
			}
			var block [64]byte
			inverseDCT(block[:], 8, coef, c.quant)
			for i, v := range block {
				px, py := 8*x+i%8, 8*y+i/8
				if px >= d.Width || py >= d.Height {
					continue
				}
				if diff := int(v) - int(luma[py*stride+px]); diff > 4 || diff < -4 {
					t.Fatalf("(%d, %d): %d, image/jpeg has %d", px, py, v, luma[py*stride+px])
				}
			}
		}
	}
}

// large reports whether numbers may leave 16 bits, where libjpeg's arithmetic is
// its own.
func large(coef, quant *[64]int16) bool {
	sum := 0
	for i, c := range coef {
		sum += max(int(c), -int(c)) * int(uint16(quant[i]))
	}
	return sum > 4000
}

// laterTables reports whether a quantization table follows a scan: image/jpeg uses
// the last one, libjpeg that of a component's first scan.
func laterTables(data []byte) bool {
	i := bytes.Index(data, []byte{0xFF, markerSOS})
	return i >= 0 && bytes.Contains(data[i:], []byte{0xFF, markerDQT})
}
