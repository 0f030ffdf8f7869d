package draw

import (
	"fmt"
	"image"
	"image/color"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"

	"paligemma/internal/typeset"
)

// scripts are labels in eight scripts and an emoji that the test fonts have.
var scripts = []string{"cat", "кошка", "γάτα", "قطة نائمة", "חתול", "बिल्ली", "猫の耳", "고양이", "แมวน้อย", "😺"}

func testFonts(t testing.TB, folders ...string) *typeset.Fonts {
	t.Helper()
	f, err := typeset.New(folders...)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// scattered are boxes of many sizes in a picture, the same in every run.
func scattered(n, w, h int, labels []string) []Object {
	r := rand.New(rand.NewPCG(uint64(n), uint64(w)))
	objects := make([]Object, n)
	for i := range objects {
		bw, bh := 0.02+0.5*r.Float64()*r.Float64(), 0.02+0.5*r.Float64()*r.Float64()
		x, y := r.Float64()*(1-bw), r.Float64()*(1-bh)
		W, H := float64(w), float64(h)
		objects[i] = Object{Label: labels[i%len(labels)], Box: [4]float64{x * W, y * H, (x + bw) * W, (y + bh) * H}}
	}
	return objects
}

// plates are the labels of objects in their places.
func plates(objects []Object, w, h int, fonts *typeset.Fonts) ([]plate, []LegendEntry) {
	bounds := image.Rect(0, 0, w, h)
	var boxes []image.Rectangle
	var names []string
	var order []int
	for i, o := range objects {
		boxes, names, order = append(boxes, boxRect(o.Box, bounds)), append(names, o.Label), append(order, i)
	}
	return layout(bounds, boxes, names, order, Options{Fonts: fonts}.fit(w, h))
}

// TestLabelsApart: labels lie in the picture, whole, and none is hidden where there is
// room; in large pictures they do not touch each other.
func TestLabelsApart(t *testing.T) {
	fonts := testFonts(t, "../../testdata/fonts")
	for _, c := range []struct {
		size, boxes int
		covered     float64 // of all labels' pixels, at most
	}{
		{24, 1, 0}, {24, 15, 1}, {24, 60, 1},
		{200, 1, 0}, {200, 15, 0}, {200, 60, 0.35},
		{640, 15, 0}, {640, 60, 0},
		{4000, 1, 0}, {4000, 15, 0}, {4000, 60, 0},
	} {
		t.Run(fmt.Sprintf("%d boxes in %d pixels", c.boxes, c.size), func(t *testing.T) {
			got, legend := plates(scattered(c.boxes, c.size, c.size, scripts), c.size, c.size, fonts)
			if len(got) != c.boxes || len(legend) != 0 {
				t.Fatalf("%d labels, legend %v", len(got), legend)
			}
			owner := make([]int, c.size*c.size)
			all := 0
			for i, p := range got {
				if !p.rect.In(image.Rect(0, 0, c.size, c.size)) || p.rect.Dx() < p.line.Width {
					t.Errorf("%q lies at %v", p.name, p.rect)
				}
				all += area(p.rect)
				for y := p.rect.Min.Y; y < p.rect.Max.Y; y++ {
					for x := p.rect.Min.X; x < p.rect.Max.X; x++ {
						owner[y*c.size+x] = i + 1
					}
				}
			}
			seen := make([]int, c.boxes+1)
			for _, i := range owner {
				seen[i]++
			}
			visible := 0
			for i, p := range got {
				visible += seen[i+1]
				if c.covered < 1 && 2*seen[i+1] < area(p.rect) {
					t.Errorf("%q is mostly hidden", p.name)
				}
			}
			if part := 1 - float64(visible)/float64(all); part > c.covered {
				t.Errorf("%.3f of the labels is covered, want %v", part, c.covered)
			}
		})
	}
}

// TestDrawScripts: any number of boxes in any script is drawn in the same way twice,
// and nothing outside of the picture is touched.
func TestDrawScripts(t *testing.T) {
	fonts := testFonts(t, "../../testdata/fonts")
	for _, size := range []int{24, 200, 4000} {
		for _, n := range []int{1, 15, 60, 400} {
			if size == 4000 && n != 60 {
				continue
			}
			t.Run(fmt.Sprintf("%d boxes in %d pixels", n, size), func(t *testing.T) {
				frame := image.Rect(0, 0, size+8, size+8)
				first, second := image.NewNRGBA(frame), image.NewNRGBA(frame)
				inner := frame.Inset(4)
				for _, img := range []*image.NRGBA{first, second} {
					legend, err := Objects(img.SubImage(inner).(*image.NRGBA), scattered(n, size, size, scripts), Options{Fonts: fonts})
					if err != nil || legend != nil {
						t.Fatal(legend, err)
					}
				}
				if !slices.Equal(first.Pix, second.Pix) {
					t.Error("drawn in two ways")
				}
				for y := range frame.Max.Y {
					for x := range frame.Max.X {
						if !image.Pt(x, y).In(inner) && first.NRGBAAt(x, y) != (color.NRGBA{}) {
							t.Fatalf("pixel %d, %d is outside", x, y)
						}
					}
				}
			})
		}
	}
}

// TestLegend: where no font has a script, numbers stand for labels.
func TestLegend(t *testing.T) {
	objects := scattered(12, 300, 300, []string{"猫", "cat", "1", "חתול\n", "猫", "\x1b"})
	got, legend := plates(objects, 300, 300, testFonts(t))
	if want := []LegendEntry{{2, "猫"}, {3, "חתול"}}; !reflect.DeepEqual(legend, want) {
		t.Errorf("legend %v, want %v", legend, want)
	}
	texts := map[string]string{}
	for _, p := range got {
		texts[p.name] = p.line.Text
	}
	if want := map[string]string{"猫": "2", "cat": "cat", "1": "1", "חתול\n": "3"}; !reflect.DeepEqual(texts, want) {
		t.Errorf("labels %q, want %q", texts, want)
	}
	if _, crowded := plates(scattered(250, 600, 600, []string{"猫", "cat", "1", "חתול"}), 600, 600, testFonts(t)); !reflect.DeepEqual(crowded, legend) {
		t.Errorf("in a crowd the legend is %v", crowded)
	}
	img := canvas(t, 300, 300)
	if drawn, err := Objects(img, objects, Options{Fonts: testFonts(t)}); err != nil || !reflect.DeepEqual(drawn, legend) {
		t.Errorf("Objects returns %v, %v", drawn, err)
	}
}

// TestSmallBoxesLast: the frame of a small box is whole on top of a large one that
// comes later.
func TestSmallBoxesLast(t *testing.T) {
	img := canvas(t, 100, 100)
	small, large := [4]float64{20, 20, 40, 40}, [4]float64{20, 10, 90, 90}
	if _, err := Objects(img, []Object{{Box: small, Label: "\x00"}, {Box: large, Label: "\x01"}}, Options{LineWidth: 2}); err != nil {
		t.Fatal(err)
	}
	colors := Colors([]string{"\x00", "\x01"})
	if got := img.NRGBAAt(20, 30); got != colors["\x00"] {
		t.Errorf("the left side of the small box is %v", got)
	}
}

// TestCrowdedLabels: labels that would hide each other are made smaller.
func TestCrowdedLabels(t *testing.T) {
	fonts := testFonts(t)
	height := func(n int) int {
		objects := make([]Object, n)
		for i := range objects {
			objects[i] = Object{Label: "a long label", Box: [4]float64{400, 400, 500, 500}}
		}
		got, _ := plates(objects, 900, 900, fonts)
		return got[0].line.Height
	}
	if alone, crowd := height(1), height(200); crowd >= alone {
		t.Errorf("labels of %d pixels, alone of %d", crowd, alone)
	}
}

// TestCutLabels: a label is never wider than the picture; it shrinks, then it is cut.
func TestCutLabels(t *testing.T) {
	fonts := testFonts(t, "../../testdata/fonts")
	for _, c := range []struct {
		name, label string
		size        int
		cut, empty  bool
	}{
		{"fits", "cat", 100, false, false},
		{"shrinks", "a long label", 72, false, false},
		{"is cut", strings.Repeat("long ", 30), 72, true, false},
		{"is cut from right to left", strings.Repeat("חתול ", 30), 72, true, false},
		{"has no room", "cat", 5, false, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, _ := plates([]Object{{Label: c.label, Box: [4]float64{0, 0, 5, 5}}}, c.size, 100, fonts)
			switch {
			case len(got) == 0:
				if !c.empty {
					t.Error("no label")
				}
			case c.empty:
				t.Errorf("a label of %v", got[0].rect)
			case got[0].rect.Dx() > c.size || strings.HasSuffix(got[0].line.Text, "…") != c.cut:
				t.Errorf("%q at %v", got[0].line.Text, got[0].rect)
			}
		})
	}
}
