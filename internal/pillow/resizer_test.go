package pillow

import (
	"bytes"
	"fmt"
	"hash/crc32"
	"image"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"paligemma/internal/goldens"
)

// TestResizeGoldens compares with Pillow's resize, sample for sample.
func TestResizeGoldens(t *testing.T) {
	all := goldens.Read(t, "goldens.bin.gz")
	n := 0
	for name, want := range all {
		file, _, ok := strings.Cut(name, ".resized_")
		if !ok {
			continue
		}
		n++
		t.Run(name, func(t *testing.T) {
			src := all[file+".rgb"]
			before := bytes.Clone(src.Pix)
			if !bytes.Equal(Resize(src.Pix, src.W, src.H, want.W, want.H), want.Pix) {
				t.Error("differs from Pillow's")
			}
			if !bytes.Equal(src.Pix, before) {
				t.Error("the source has changed")
			}
		})
	}
	if n < 36 {
		t.Errorf("only %d goldens", n)
	}
}

// TestResizeOneColor checks that a picture of one color keeps it at any size.
func TestResizeOneColor(t *testing.T) {
	color := []byte{255, 128, 1}
	src := bytes.Repeat(color, 7*300)
	for _, size := range []image.Point{{1, 1}, {7, 300}, {7, 1}, {1, 300}, {900, 2}, {8, 301}, {3, 5}} {
		t.Run(size.String(), func(t *testing.T) {
			if got := Resize(src, 7, 300, size.X, size.Y); !bytes.Equal(got, bytes.Repeat(color, size.X*size.Y)) {
				t.Error("another color")
			}
		})
	}
	same := Resize(src, 7, 300, 7, 300)
	same[0] = 9
	if src[0] == 9 {
		t.Error("the result shares memory with the source")
	}
}

// noise returns random samples of w × h pixels.
func noise(seed uint64, w, h int) []byte {
	r := rand.New(rand.NewPCG(seed, 7))
	pix := make([]byte, 3*w*h)
	for i := range pix {
		pix[i] = byte(r.Uint32())
	}
	return pix
}

// oriented applies an EXIF orientation, pixel by pixel.
func oriented(src []byte, w, h, orientation int) (dst []byte, dstW, dstH int) {
	dst, dstW, dstH = make([]byte, len(src)), w, h
	if orientation >= 5 {
		dstW, dstH = h, w
	}
	for y := range h {
		for x := range w {
			at := [][2]int{{x, y}, {w - 1 - x, y}, {w - 1 - x, h - 1 - y}, {x, h - 1 - y}, {y, x}, {h - 1 - y, x}, {h - 1 - y, w - 1 - x}, {y, w - 1 - x}}[orientation-1]
			copy(dst[3*(at[1]*dstW+at[0]):][:3], src[3*(y*w+x):])
		}
	}
	return dst, dstW, dstH
}

// TestResizer checks that rows in any portions, with any orientation, give what
// orienting and resizing the whole picture gives.
func TestResizer(t *testing.T) {
	sizes := []image.Point{{1, 1}, {1, 9}, {9, 1}, {7, 5}, {33, 64}, {64, 33}, {200, 3}, {3, 200}, {130, 97}, {2, 201}, {301, 2}}
	targets := []image.Point{{1, 1}, {5, 7}, {33, 64}, {64, 33}, {130, 97}}
	for i, size := range sizes {
		src := noise(uint64(i), size.X, size.Y)
		for orientation := 1; orientation <= 8; orientation++ {
			upright, w, h := oriented(src, size.X, size.Y, orientation)
			t.Run(fmt.Sprint(size, " orientation ", orientation), func(t *testing.T) {
				for _, to := range targets {
					want := Resize(upright, w, h, to.X, to.Y)
					for _, portion := range []int{1, 50} {
						r := NewResizer(size.X, size.Y, orientation, to.X, to.Y)
						for rows := range slices.Chunk(src, 3*size.X*portion) {
							r.Flush(rows)
						}
						if !bytes.Equal(r.Pixels(), want) {
							t.Errorf("to %v by %d rows: another picture", to, portion)
						}
					}
				}
			})
		}
	}
}

// TestTall checks the order of the passes: pictures more than a hundred times as high
// as wide become lower first and wider then, as in Pillow 12.3, whose checksums these are.
func TestTall(t *testing.T) {
	for _, c := range []struct {
		srcW, srcH, w, h int
		sum              uint32
		vertical         bool
	}{
		{6, 1024, 56, 56, 0xaebb11f1, true},
		{3, 301, 28, 300, 0x595c19b5, true},
		{3, 300, 28, 56, 0x69b53599, false},
		{3, 301, 28, 302, 0xded35513, false},
	} {
		t.Run(fmt.Sprintf("%d×%d to %d×%d", c.srcW, c.srcH, c.w, c.h), func(t *testing.T) {
			src := make([]byte, 3*c.srcW*c.srcH)
			for i := range src {
				src[i] = byte(i * i >> 3 * 37)
			}
			got := Resize(src, c.srcW, c.srcH, c.w, c.h)
			if sum := crc32.ChecksumIEEE(got); sum != c.sum {
				t.Errorf("checksum %#x, Pillow's is %#x", sum, c.sum)
			}
			steps := Resize(Resize(src, c.srcW, c.srcH, c.srcW, c.h), c.srcW, c.h, c.w, c.h)
			if bytes.Equal(got, steps) != c.vertical {
				t.Errorf("the vertical pass is first: %t, want %t", !c.vertical, c.vertical)
			}
		})
	}
}

// TestRoom checks that rows may be written into the Resizer's own buffer.
func TestRoom(t *testing.T) {
	src := noise(1, 20, 30)
	r := NewResizer(20, 30, 1, 7, 9)
	for rest := src; len(rest) > 0; {
		n := copy(r.Room(min(4, len(rest)/60)), rest)
		r.Flush(r.Room(4)[:n])
		rest = rest[n:]
	}
	if !bytes.Equal(r.Pixels(), Resize(src, 20, 30, 7, 9)) {
		t.Error("another picture")
	}
}

func BenchmarkResize(b *testing.B) {
	src := make([]byte, 3*4000*3000)
	for i := range src {
		src[i] = byte(i * 7)
	}
	for name, size := range map[string]int{"12MP_to_224": 224, "12MP_to_896": 896} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				Resize(src, 4000, 3000, size, size)
			}
		})
	}
}
