package preprocess

import (
	"bytes"
	"image"
	stdjpeg "image/jpeg"
	"os"
	"strings"
	"testing"
)

// FuzzJPEG compares with image/jpeg: a sequential file that both accept has the
// same luma, up to the rounding of the inverse DCT. Of progressive files it is
// only asked that they do no harm: where the data is damaged, image/jpeg carries
// a run of empty bands into the next scan.
func FuzzJPEG(f *testing.F) {
	for _, file := range jpegFiles(f) {
		if data, err := os.ReadFile(file); err == nil && len(data) < 8<<10 {
			f.Add(data)
		}
	}
	lim := Limits{MaxPixels: 1 << 16}
	f.Fuzz(func(t *testing.T, data []byte) {
		img, err := Decode(data, lim)
		if err != nil {
			if strings.Contains(err.Error(), "decoder failed") {
				t.Fatal(err)
			}
			return
		}
		if sniff(data) != "JPEG" {
			return
		}
		if img.W <= 0 || img.H <= 0 || len(img.Pix) != 3*img.W*img.H || int64(img.W*img.H) > lim.MaxPixels {
			t.Fatalf("%d×%d with %d bytes", img.W, img.H, len(img.Pix))
		}
		d, planes, err := planesOf(data, true)
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
		c, p := &d.comps[0], &planes[0]
		if d.progressive || p.hx != 1 || p.vx != 1 || laterTables(data) {
			return
		}
		for y := range p.h {
			for x := range p.w {
				if diff := int(p.row(y)[x]) - int(luma[y*stride+x]); diff > 4 || diff < -4 {
					if large((*[64]int16)(c.coef[64*(y/8*c.stride+x/8):]), c.quant) {
						continue
					}
					t.Fatalf("(%d, %d): %d, image/jpeg has %d", x, y, p.row(y)[x], luma[y*stride+x])
				}
			}
		}
	})
}

// large tells whether numbers may leave 16 bits, where libjpeg's arithmetic is
// its own.
func large(coef, quant *[64]int16) bool {
	sum := 0
	for i, c := range coef {
		sum += max(int(c), -int(c)) * int(uint16(quant[i]))
	}
	return sum > 4000
}

// laterTables tells whether a quantisation table follows a scan: image/jpeg uses
// the last one, libjpeg that of a component's first scan.
func laterTables(data []byte) bool {
	scans, found := 0, false
	err := walkJPEG(data, func(marker byte, _, _ []byte) error {
		switch marker {
		case markerSOS:
			scans++
		case markerDQT:
			found = found || scans > 0
		}
		return nil
	})
	return err != nil || found
}
