package mask

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
)

// encode returns the RLE of a mask [H][W], as the product makes it.
func encode(mask []byte, W, H int) (RLE, error) {
	m, err := Measure(mask, W, H)
	return m.RLE, err
}

// TestRLEGoldens: counts, area and box equal pycocotools', and decoding gives
// the mask back.
func TestRLEGoldens(t *testing.T) {
	for _, g := range readRLEGoldens(t) {
		mask := g.mask(t)
		want := RLE{Size: [2]int{g.Height, g.Width}, Counts: g.Counts}
		got, err := encode(mask, g.Width, g.Height)
		if err != nil || got != want {
			t.Errorf("%s: RLE %v, %v; want %v", g.Name, got, err, want)
		}
		back, err := DecodeRLE(want)
		if err != nil || !bytes.Equal(back, mask) {
			t.Errorf("%s: DecodeRLE differs (error %v)", g.Name, err)
		}
		if area, err := want.Area(); err != nil || area != g.Area {
			t.Errorf("%s: area %d, %v; want %d", g.Name, area, err, g.Area)
		}
		if box, err := want.BBox(); err != nil || box != g.BBox {
			t.Errorf("%s: box %v, %v; want %v", g.Name, box, err, g.BBox)
		}
	}
}

func TestEncodeRLEAnyNonzero(t *testing.T) {
	a, err1 := encode([]byte{0, 255, 7, 0}, 2, 2)
	b, err2 := encode([]byte{0, 1, 1, 0}, 2, 2)
	if a != b || err1 != nil || err2 != nil {
		t.Errorf("%v, %v; %v, %v", a, err1, b, err2)
	}
}

func TestEncodeRLERejects(t *testing.T) {
	for _, c := range []struct{ n, w, h int }{{3, 2, 2}, {5, 2, 2}, {0, -1, 0}, {0, 0, 1 << 60}, {1, 1 << 40, 1 << 40}, {0, 1 << 32, 1 << 32}} {
		if r, err := encode(make([]byte, c.n), c.w, c.h); err == nil {
			t.Errorf("the RLE of %d bytes as %d×%d = %v, want an error", c.n, c.w, c.h, r)
		}
	}
	if r, err := encode(nil, 0, 5); err != nil || r.Counts != "0" {
		t.Errorf("mask without pixels: %v, %v", r, err)
	}
}

func TestDecodeRLERejects(t *testing.T) {
	for _, c := range []struct {
		what string
		rle  RLE
	}{
		{"nothing", RLE{Size: [2]int{2, 2}}},
		{"too short", RLE{[2]int{2, 2}, "3"}},
		{"too long", RLE{[2]int{2, 2}, "32"}},
		{"negative length", RLE{[2]int{2, 2}, "N"}},
		{"negative after a difference", RLE{[2]int{2, 2}, "011N"}}, // 0, 1, 1, 1−2
		{"cut in a length", RLE{[2]int{9, 9}, "P"}},
		{"length of 8 characters", RLE{[2]int{2, 2}, "oooooooo0"}},
		{"character below", RLE{[2]int{2, 2}, "4/"}},
		{"character above", RLE{[2]int{2, 2}, "4p"}},
		{"line feed", RLE{[2]int{2, 2}, "4\n"}},
		{"negative size", RLE{[2]int{-2, -2}, "4"}},
		{"huge size", RLE{[2]int{1 << 32, 1 << 32}, "0"}},
		{"over the limit", RLE{[2]int{1 << 14, 1<<14 + 1}, "0"}},
	} {
		if _, err := DecodeRLE(c.rle); !errors.Is(err, ErrRLE) {
			t.Errorf("%s: DecodeRLE: %v, want ErrRLE", c.what, err)
		}
		if _, err := c.rle.Area(); !errors.Is(err, ErrRLE) {
			t.Errorf("%s: Area: %v, want ErrRLE", c.what, err)
		}
		if _, err := c.rle.BBox(); !errors.Is(err, ErrRLE) {
			t.Errorf("%s: BBox: %v, want ErrRLE", c.what, err)
		}
	}
	if mask, err := DecodeRLE(RLE{[2]int{2, 2}, "4"}); err != nil || !bytes.Equal(mask, make([]byte, 4)) {
		t.Errorf("the valid neighbor: %v, %v", mask, err)
	}
	// Every prefix of a good one is too short.
	g := readGoldens(t)[0].RLE
	for i := range g.Counts {
		if _, err := DecodeRLE(RLE{g.Size, g.Counts[:i]}); err == nil {
			t.Fatalf("the first %d characters are accepted", i)
		}
	}
}

// FuzzDecodeRLE: what is accepted survives encoding and decoding, and area and
// box are the mask's.
func FuzzDecodeRLE(f *testing.F) {
	for _, g := range readRLEGoldens(f) {
		if len(g.Counts) < 200 {
			f.Add(g.Height, g.Width, g.Counts)
		}
	}
	f.Add(2, 2, "011N")
	f.Add(3, 5, "_"+strings.Repeat("0", 15))
	f.Fuzz(func(t *testing.T, h, w int, counts string) {
		r := RLE{[2]int{h, w}, counts}
		if h > 1<<12 || w > 1<<12 { // keeps the masks small
			if Check(-1, w, h) == nil {
				return
			}
		}
		mask, err := DecodeRLE(r)
		if err != nil {
			return
		}
		again, err := encode(mask, w, h)
		if err != nil {
			t.Fatal(err)
		}
		back, err := DecodeRLE(again)
		if err != nil || !bytes.Equal(back, mask) {
			t.Fatalf("%v became %v (error %v)", r, again, err)
		}
		area, err := r.Area()
		if want := bytes.Count(mask, []byte{1}); area != want || err != nil {
			t.Fatalf("area %d, %v; want %d", area, err, want)
		}
		x0, y0, x1, y1 := w, h, 0, 0
		for i, v := range mask {
			if v != 0 {
				x0, x1 = min(x0, i%w), max(x1, i%w+1)
				y0, y1 = min(y0, i/w), max(y1, i/w+1)
			}
		}
		want := [4]int{}
		if area > 0 {
			want = [4]int{x0, y0, x1 - x0, y1 - y0}
		}
		if box, err := r.BBox(); box != want || err != nil {
			t.Fatalf("box %v, %v; want %v", box, err, want)
		}
	})
}

// What is computed on the part of a mask that is filled is what the whole mask
// gives.
func TestMeasureOfPart(t *testing.T) {
	random := rand.New(rand.NewPCG(8, 9))
	for i := range 20_000 {
		W, H := 1+random.IntN(12), 1+random.IntN(12)
		if i%50 == 0 {
			W, H = 60+random.IntN(90), 1+random.IntN(90)
		}
		mask := make([]byte, W*H)
		x0, y0 := random.IntN(W), random.IntN(H)
		x1, y1 := x0+random.IntN(W-x0+1), y0+random.IntN(H-y0+1)
		for y := y0; y < y1; y++ {
			for x := x0; x < x1; x++ {
				if i%3 == 0 || random.IntN(3) > 0 {
					mask[y*W+x] = byte(1 + random.IntN(255))
				}
			}
		}
		m, err := Measure(mask, W, H)
		if err != nil {
			t.Fatal(err)
		}
		rle, err1 := encode(mask, W, H)
		polygons, err2 := Polygons(mask, W, H)
		if err1 != nil || err2 != nil || m.RLE != rle || !reflect.DeepEqual(m.Polygons, polygons) {
			t.Fatalf("%d×%d %v: %+v, want %+v", W, H, mask, m.RLE, rle)
		}
		back, err := DecodeRLE(rle)
		if err != nil {
			t.Fatal(err)
		}
		area := 0
		for j, v := range mask {
			if (v != 0) != (back[j] != 0) {
				t.Fatalf("%d×%d: pixel %d", W, H, j)
			}
			area += int(back[j])
		}
		if m.Area != area {
			t.Fatalf("area %d, want %d", m.Area, area)
		}
	}
}
