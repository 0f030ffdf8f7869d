package draw

import (
	"fmt"
	"image/color"
	"maps"
	"math"
	"testing"
)

// labelColor returns the color of a label that is alone in its picture.
func labelColor(label string) color.NRGBA { return palette[paletteIndex(label)] }

// TestLabelColor: fixed for ever, and not one for all.
func TestLabelColor(t *testing.T) {
	for label, want := range map[string]color.NRGBA{"cat": {0xf0, 0x32, 0xe6, 0xff}, "dog": {0xff, 0x69, 0xb4, 0xff}} {
		if got := labelColor(label); got != want {
			t.Errorf("%s is %v, want %v", label, got, want)
		}
	}
	seen := map[color.NRGBA]int{}
	for a := 'a'; a <= 'z'; a++ {
		for b := 'a'; b <= 'z'; b++ {
			seen[labelColor(string(a)+string(b))]++
		}
	}
	if len(seen) != len(palette) {
		t.Errorf("%d colors used, want %d", len(seen), len(palette))
	}
	for c, n := range seen {
		if n > 26*26/len(palette)*2 {
			t.Errorf("%v is used %d times", c, n)
		}
	}
}

// numbered are n labels.
func numbered(n int) []string {
	labels := make([]string, n)
	for i := range labels {
		labels[i] = fmt.Sprint("label ", i)
	}
	return labels
}

// TestColorsDiffer: no two labels look the same.
func TestColorsDiffer(t *testing.T) {
	for _, c := range []struct{ labels, apart int }{{1, 0}, {2, 500}, {20, 400}, {21, 400}, {40, 400}, {100, 300}, {300, 200}, {2000, 1}} {
		t.Run(fmt.Sprint(c.labels), func(t *testing.T) {
			colors := Colors(append(numbered(c.labels), numbered(c.labels)...))
			if len(colors) != c.labels {
				t.Fatalf("%d colors", len(colors))
			}
			near := math.MaxInt
			seen := []color.NRGBA{}
			for _, a := range colors {
				for _, b := range seen {
					near = min(near, distance(oklab(a), oklab(b)))
				}
				seen = append(seen, a)
			}
			if near < c.apart*c.apart {
				t.Errorf("two colors are %.0f apart, want %d of %.0f", math.Sqrt(float64(near)), c.apart, labUnit)
			}
		})
	}
	if n := len(Colors(numbered(10_000))); n != 10_000 { // more than there are colors
		t.Errorf("%d labels have one", n)
	}
}

// TestColorsKept: a label keeps its color where no label before it has the same, and
// what comes after a label changes nothing but labels that collide.
func TestColorsKept(t *testing.T) {
	labels := []string{"cat", "dog", "bird"}
	for range 5000 { // find a label that collides with "cat"
		labels = append(labels, labels[len(labels)-1]+"x")
		if labelColor(labels[len(labels)-1]) == labelColor("cat") {
			break
		}
	}
	rival := labels[len(labels)-1]
	colors := Colors([]string{"cat", rival, "dog", "cat"})
	if colors["cat"] != labelColor("cat") || colors["dog"] != labelColor("dog") || colors[rival] == labelColor("cat") {
		t.Errorf("%v", colors)
	}
	if swapped := Colors([]string{rival, "cat"}); swapped[rival] != labelColor(rival) {
		t.Errorf("the first label does not keep its color: %v", swapped)
	}
	for range 5 {
		if again := Colors(numbered(60)); !maps.Equal(again, Colors(numbered(60))) {
			t.Fatal("the same labels have other colors")
		}
	}
}

// TestTextColor: a contrast of 4.5:1 on every color that labels have.
func TestTextColor(t *testing.T) {
	luminance := func(c color.NRGBA) float64 {
		return 0.2126*linear(c.R) + 0.7152*linear(c.G) + 0.0722*linear(c.B) + 0.05
	}
	for label, c := range Colors(numbered(500)) {
		a, b := luminance(c), luminance(textColor(c))
		if ratio := max(a, b) / min(a, b); ratio < 4.5 {
			t.Errorf("%s, %v: contrast %.2f", label, c, ratio)
		}
	}
	if textColor(color.NRGBA{0, 0, 128, 255}).R != 255 || textColor(color.NRGBA{255, 255, 0, 255}).R != 0 {
		t.Error("text does not stand out")
	}
}
