package draw

import (
	"bytes"
	"errors"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"math"
	"slices"
	"strings"
	"testing"
)

var gray = color.NRGBA{100, 100, 100, 255}

// canvas is a gray picture.
func canvas(t *testing.T, w, h int) *image.NRGBA {
	t.Helper()
	img, err := FromRGB(bytes.Repeat([]byte{gray.R}, 3*w*h), w, h)
	if err != nil {
		t.Fatal(err)
	}
	return img
}

func TestFromRGB(t *testing.T) {
	img, err := FromRGB([]byte{1, 2, 3, 4, 5, 6}, 1, 2)
	if err != nil || img.NRGBAAt(0, 0) != (color.NRGBA{1, 2, 3, 255}) || img.NRGBAAt(0, 1) != (color.NRGBA{4, 5, 6, 255}) {
		t.Errorf("%v, %v", img, err)
	}
	for _, c := range [][3]int{{5, 1, 2}, {7, 1, 2}, {0, -1, 2}, {0, 1 << 40, 1 << 40}} {
		if _, err := FromRGB(make([]byte, c[0]), c[1], c[2]); err == nil {
			t.Errorf("FromRGB accepts %v", c)
		}
	}
}

// TestDrawBox: a frame of the line's width inside the box, and nothing else.
func TestDrawBox(t *testing.T) {
	for _, box := range [][4]float64{{10, 20, 60, 50}, {60, 50, 10, 20}} { // the second is inverted
		img := canvas(t, 100, 80)
		if _, err := Objects(img, []Object{{Box: box}}, Options{LineWidth: 3}); err != nil {
			t.Fatal(err)
		}
		outer := image.Rect(10, 20, 60, 50)
		inner := outer.Inset(3)
		for y := range 80 {
			for x := range 100 {
				want := gray
				if p := image.Pt(x, y); p.In(outer) && !p.In(inner) {
					want = labelColor("")
				}
				if got := img.NRGBAAt(x, y); got != want {
					t.Fatalf("box %v: pixel %d, %d is %v, want %v", box, x, y, got, want)
				}
			}
		}
	}
}

func TestDrawMask(t *testing.T) {
	img := canvas(t, 40, 40)
	mask := make([]byte, 1600)
	for y := 10; y < 30; y++ {
		for x := 10; x < 30; x++ {
			mask[y*40+x] = 1
		}
	}
	c := labelColor("")
	if err := Mask(img, c, mask, Options{}); err != nil {
		t.Fatal(err)
	}
	if got := img.NRGBAAt(10, 15); got != c {
		t.Errorf("the rim is %v, want %v", got, c)
	}
	want := uint8(math.Round(100*0.55 + float64(c.R)*0.45))
	if got := img.NRGBAAt(20, 20); got.R != want || got.A != 255 {
		t.Errorf("the middle is %v, want red %d", got, want)
	}
	if got := img.NRGBAAt(9, 15); got != gray {
		t.Errorf("outside is %v", got)
	}
	wide := canvas(t, 40, 40)
	if err := Mask(wide, c, mask, Options{LineWidth: 8}); err != nil {
		t.Fatal(err)
	}
	if rim, middle := wide.NRGBAAt(13, 20), wide.NRGBAAt(14, 20); rim != c || middle == c {
		t.Errorf("an outline of 4 pixels ends in %v, %v", rim, middle)
	}
	before := slices.Clone(img.Pix)
	if err := Mask(img, c, make([]byte, 5), Options{}); err == nil || !bytes.Equal(img.Pix, before) {
		t.Errorf("a mask of another size: %v", err)
	}
}

// TestDrawLabel: a plate with text above the box, or inside it where there is no
// room, always whole and in the picture.
func TestDrawLabel(t *testing.T) {
	for _, c := range []struct {
		name  string
		w, h  int
		box   [4]float64
		label string
		where image.Rectangle // has all of the plate
	}{
		{"above", 200, 100, [4]float64{50, 60, 150, 90}, "cat", image.Rect(50, 30, 150, 60)},
		{"at the top", 200, 100, [4]float64{50, 2, 150, 90}, "cat", image.Rect(50, 2, 150, 40)},
		{"at the right", 200, 100, [4]float64{190, 60, 200, 90}, "elephant", image.Rect(100, 30, 200, 60)},
		{"at the bottom", 200, 100, [4]float64{0, 99, 10, 100}, "cat", image.Rect(0, 60, 100, 99)},
		{"too long", 200, 100, [4]float64{0, 60, 10, 90}, strings.Repeat("very long ", 100000), image.Rect(0, 30, 200, 60)},
	} {
		t.Run(c.name, func(t *testing.T) {
			without, with := canvas(t, c.w, c.h), canvas(t, c.w, c.h)
			if _, err := Objects(with, []Object{{Label: c.label, Box: c.box}}, Options{}); err != nil {
				t.Fatal(err)
			}
			drawBox(without, boxRect(c.box, without.Bounds()), labelColor(c.label), 1)
			var changed image.Rectangle
			colors := map[color.NRGBA]bool{}
			for y := range c.h {
				for x := range c.w {
					if got := with.NRGBAAt(x, y); got != without.NRGBAAt(x, y) {
						changed = changed.Union(image.Rect(x, y, x+1, y+1))
						colors[got] = true
					}
				}
			}
			if changed.Dx() < 10 || changed.Dy() < 7 || !changed.In(c.where) {
				t.Errorf("the label lies at %v, want inside %v", changed, c.where)
			}
			if !colors[labelColor(c.label)] || len(colors) < 2 {
				t.Errorf("no plate or no text: %v", colors)
			}
		})
	}
}

func TestPrintable(t *testing.T) {
	for in, want := range map[string]string{
		"":                         "",
		" \t\n":                    "",
		"a\x1b[31m\x00b\r\nc":      "a [31m b c",
		"größer 猫":                 "größer 猫",
		"\xffx":                    "x",
		strings.Repeat("ab", 1000): strings.Repeat("ab", 100),
		"🏳\ufe0f\u200d🌈 می\u200cخواهم": "🏳\ufe0f\u200d🌈 می\u200cخواهم",
		"a\u202eb\u2066c": "a b c",
	} {
		if got := printable(in); got != want {
			t.Errorf("printable(%q) = %q, want %q", in, got, want)
		}
	}
}

// TestDrawAnySize: every size of picture, box and label is drawn, and nothing
// outside is touched.
func TestDrawAnySize(t *testing.T) {
	for _, size := range [][2]int{{1, 1}, {1, 300}, {300, 1}, {9, 5}, {40, 30}, {2000, 50}} {
		w, h := size[0], size[1]
		big := canvas(t, w+20, h+20)
		before := slices.Clone(big.Pix)
		img := big.SubImage(image.Rect(10, 10, 10+w, 10+h)).(*image.NRGBA)
		var objects []Object
		for _, box := range [][4]float64{{0, 0, float64(w), float64(h)}, {-1e300, -5, 1e300, 5}, {1e300, 1e300, 1e300, 1e300}, {0.4, 0.4, 0.4, 0.4}, {float64(w), float64(h), 0, 0}} {
			objects = append(objects, Object{Label: "a label", Box: box})
		}
		mask := bytes.Repeat([]byte{1}, w*h)
		for _, opt := range []Options{{}, {LineWidth: 1 << 40, FontSize: 1e300}, {LineWidth: -1, FontSize: math.NaN()}} {
			if err := Mask(img, labelColor("a label"), mask, opt); err != nil {
				t.Fatalf("%v: %v", size, err)
			}
			if _, err := Objects(img, objects, opt); err != nil {
				t.Fatalf("%v: %v", size, err)
			}
		}
		if img.NRGBAAt(10, 10) == gray {
			t.Errorf("%v: nothing is drawn", size)
		}
		for y := range h + 20 {
			for x := range w + 20 {
				if at := big.PixOffset(x, y); !image.Pt(x, y).In(img.Bounds()) && !bytes.Equal(big.Pix[at:at+4], before[at:at+4]) {
					t.Fatalf("%v: pixel %d, %d outside of the picture is touched", size, x, y)
				}
			}
		}
	}
}

func TestDrawRejects(t *testing.T) {
	for name, o := range map[string]Object{
		"NaN":      {Box: [4]float64{0, math.NaN(), 1, 1}},
		"infinity": {Box: [4]float64{0, 0, math.Inf(1), 1}},
	} {
		t.Run(name, func(t *testing.T) {
			img := canvas(t, 4, 4)
			before := slices.Clone(img.Pix)
			if _, err := Objects(img, []Object{{Box: [4]float64{0, 0, 4, 4}}, o}, Options{}); err == nil {
				t.Error("no error")
			}
			if !bytes.Equal(img.Pix, before) {
				t.Error("the picture has changed")
			}
		})
	}
	if _, err := Objects(image.NewNRGBA(image.Rectangle{}), nil, Options{}); err == nil {
		t.Error("a picture without pixels is accepted")
	}
}

func TestFormatOf(t *testing.T) {
	for path, want := range map[string]Format{"a.png": PNG, "b/c.JPG": JPEG, "x.jpeg": JPEG, "a.gif": "", "png": "", "a.png/b": "", "": ""} {
		got, err := FormatOf(path)
		if got != want || (err == nil) != (want != "") {
			t.Errorf("FormatOf(%q) = %q, %v; want %q", path, got, err, want)
		}
	}
	if _, err := FormatOf("a.WebP"); err == nil || !strings.Contains(err.Error(), "not written") || !strings.Contains(err.Error(), ".png") {
		t.Errorf("a.WebP: %v", err)
	}
}

// failing is a full disk.
type failing struct{}

var errFull = errors.New("disk full")

func (failing) Write([]byte) (int, error) { return 0, errFull }

func TestEncode(t *testing.T) {
	img := canvas(t, 8, 6)
	img.SetNRGBA(3, 2, color.NRGBA{10, 200, 30, 255})
	var buf bytes.Buffer
	if err := Encode(&buf, img, PNG); err != nil {
		t.Fatal(err)
	}
	back, err := png.Decode(&buf)
	if err != nil || color.NRGBAModel.Convert(back.At(3, 2)) != img.At(3, 2) || back.Bounds() != img.Bounds() {
		t.Errorf("PNG: %v", err)
	}
	buf.Reset()
	if err := Encode(&buf, img, JPEG); err != nil {
		t.Fatal(err)
	}
	if back, err := jpeg.Decode(&buf); err != nil || back.Bounds() != img.Bounds() {
		t.Errorf("JPEG: %v", err)
	}
	for _, f := range []Format{PNG, JPEG} {
		if err := Encode(failing{}, img, f); !errors.Is(err, errFull) {
			t.Errorf("%s on a full disk: %v", f, err)
		}
	}
	if err := Encode(&buf, img, "gif"); err == nil {
		t.Error("an unknown format is accepted")
	}
}

func TestEncodeMask(t *testing.T) {
	var buf bytes.Buffer
	if err := EncodeMask(&buf, []byte{0, 1, 0, 0, 0, 7}, 3, 2); err != nil {
		t.Fatal(err)
	}
	img, err := png.Decode(&buf)
	if err != nil {
		t.Fatal(err)
	}
	if g, ok := img.(*image.Gray); !ok || !bytes.Equal(g.Pix, []byte{0, 255, 0, 0, 0, 255}) {
		t.Errorf("%v", img)
	}
	if err := EncodeMask(&buf, []byte{1}, 3, 2); err == nil {
		t.Error("a mask of another size is accepted")
	}
}
