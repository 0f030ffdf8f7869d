package typeset

import (
	"bytes"
	"encoding/binary"
	"image"
	"image/color"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/go-text/typesetting/bidi"
)

const testFonts = "../../testdata/fonts"

// texts are in scripts that Go Regular lacks and the test fonts have.
var texts = []string{"قطة نائمة", "חתול", "बिल्ली", "แมวน้อย", "猫の耳", "고양이", "😺", "🟥🟦", "小猫 nose", "cat 😺 חתול"}

func fontsIn(t testing.TB, folders ...string) *Fonts {
	t.Helper()
	f, err := New(folders...)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func mustSet(t testing.TB, f *Fonts, text string, size int) *Line {
	t.Helper()
	line, ok := f.Set(text, size)
	if !ok {
		t.Fatalf("no font has %q", text)
	}
	return line
}

// drawn returns a line drawn in black on white.
func drawn(l *Line) *image.NRGBA {
	img := image.NewNRGBA(image.Rect(0, 0, l.Width, l.Height))
	for i := range img.Pix {
		img.Pix[i] = 0xff
	}
	l.Draw(img, image.Point{}, color.Black)
	return img
}

// ink counts the pixels that are not white.
func ink(img *image.NRGBA) int {
	n := 0
	for i := 0; i < len(img.Pix); i += 4 {
		if img.Pix[i] != 0xff || img.Pix[i+1] != 0xff || img.Pix[i+2] != 0xff {
			n++
		}
	}
	return n
}

func TestScripts(t *testing.T) {
	with, without := fontsIn(t, testFonts), fontsIn(t)
	for _, text := range texts {
		t.Run(text, func(t *testing.T) {
			line := mustSet(t, with, text, 24)
			if n := ink(drawn(line)); n < line.Width*2 {
				t.Errorf("%d pixels of ink on %d×%d", n, line.Width, line.Height)
			}
			if _, ok := without.Set(text, 24); ok {
				t.Error("set without a font that has it")
			}
		})
	}
	for _, text := range []string{"cat", "größer", "кошка", "γάτα", "e\u0301te\u0301", "…", " ", ""} {
		t.Run(text, func(t *testing.T) {
			if a, b := mustSet(t, with, text, 24), mustSet(t, without, text, 24); !reflect.DeepEqual(drawn(a), drawn(b)) {
				t.Error("differs with other fonts at hand")
			}
		})
	}
	for name, text := range map[string]string{
		"no font": "Ꮳat", "private": "\ue000", "one of several": "cat ጃ", "a mark": "x\u20e3", "long": strings.Repeat("a", 2000),
	} {
		t.Run(name, func(t *testing.T) {
			if _, ok := with.Set(text, 24); ok {
				t.Error("set")
			}
		})
	}
}

// TestShaping: letters take the forms and the places that their script wants.
func TestShaping(t *testing.T) {
	f := fontsIn(t, testFonts)
	outlines := func(text string) (all [][]layer) {
		for _, g := range mustSet(t, f, text, 32).glyphs {
			all = append(all, g.layers)
		}
		return all
	}
	t.Run("right to left", func(t *testing.T) {
		both, first := outlines("חת"), outlines("ח")
		if len(both) != 2 || !reflect.DeepEqual(both[1], first[0]) || reflect.DeepEqual(both[0], first[0]) {
			t.Error("the first letter is not the rightmost")
		}
	})
	t.Run("digits in a text from right to left", func(t *testing.T) {
		all := outlines("חת 17")
		if n := outlines("17"); len(all) != 4 || !reflect.DeepEqual(all[:2], n) {
			t.Error("the number is not left of the text, or reversed")
		}
	})
	t.Run("joined", func(t *testing.T) {
		if a, b := outlines("قط"), outlines("ق"); slices.ContainsFunc(a, func(l []layer) bool { return reflect.DeepEqual(l, b[0]) }) {
			t.Error("a letter within a word has the form that it has alone")
		}
	})
	t.Run("reordered vowel", func(t *testing.T) {
		if a, b := outlines("बि"), outlines("ब"); len(a) != 2 || !reflect.DeepEqual(a[1], b[0]) {
			t.Error("the vowel sign is not left of its consonant")
		}
	})
	t.Run("mark", func(t *testing.T) {
		if a, b := mustSet(t, f, "น้", 32), mustSet(t, f, "น", 32); a.Width != b.Width || len(a.glyphs) != 2 {
			t.Errorf("a mark takes room of its own: %d, %d pixels", a.Width, b.Width)
		}
	})
}

func TestReorder(t *testing.T) {
	for _, c := range []struct {
		name   string
		levels []bidi.Level
		want   []int
	}{
		{"left to right", []bidi.Level{0, 0, 0}, []int{0, 1, 2}},
		{"right to left", []bidi.Level{1, 1, 1}, []int{2, 1, 0}},
		{"a number in it", []bidi.Level{1, 2, 1}, []int{2, 1, 0}},
		{"two runs of a number", []bidi.Level{1, 2, 2, 1}, []int{3, 1, 2, 0}},
		{"an island", []bidi.Level{0, 1, 1, 0}, []int{0, 2, 1, 3}},
		{"a number in an island", []bidi.Level{0, 1, 2, 1, 0}, []int{0, 3, 2, 1, 4}},
	} {
		t.Run(c.name, func(t *testing.T) {
			runs := make([]run, len(c.levels))
			for i := range runs {
				runs[i] = run{start: i, level: c.levels[i]}
			}
			reorder(runs)
			for i, r := range runs {
				if r.start != c.want[i] {
					t.Fatalf("%v at %d, want %v", r.start, i, c.want)
				}
			}
		})
	}
}

// TestColorGlyphs: bitmaps and both versions of layered outlines, in their colors.
func TestColorGlyphs(t *testing.T) {
	f := fontsIn(t, testFonts)
	for _, c := range []struct {
		name, text  string
		left, right color.NRGBA
	}{
		{"layers", "🟥", color.NRGBA{255, 0, 0, 255}, color.NRGBA{0, 255, 0, 255}},
		{"paints", "🟦", color.NRGBA{255, 0, 0, 255}, color.NRGBA{0, 64, 255, 255}},
	} {
		t.Run(c.name, func(t *testing.T) {
			img := drawn(mustSet(t, f, c.text, 40))
			y := img.Rect.Dy() / 2
			if l, r := img.NRGBAAt(5, y), img.NRGBAAt(35, y); l != c.left || r != c.right {
				t.Errorf("left %v, right %v", l, r)
			}
		})
	}
	t.Run("bitmap", func(t *testing.T) {
		img := drawn(mustSet(t, f, "😺", 40))
		if c := img.NRGBAAt(img.Rect.Dx()/2, img.Rect.Dy()/2); c.R < 200 || c.B > 100 {
			t.Errorf("the cat is %v", c)
		}
	})
}

// TestBitmapTooLarge: a bitmap that would be far larger than the line, by what a
// damaged font says of it, is not drawn.
func TestBitmapTooLarge(t *testing.T) {
	dir := t.TempDir()
	copyFont(t, "emoji.ttf", dir, "emoji.ttf", func(b []byte) []byte {
		table := binary.BigEndian.Uint32(b[bytes.Index(b, []byte("CBLC"))+8:])
		copy(b[table+8+44:], "\x01\x01") // pixels to the em of the bitmaps
		return b
	})
	for _, g := range mustSet(t, fontsIn(t, dir), "😺", maxSize).glyphs {
		if g.bitmap != nil {
			t.Errorf("a bitmap within %v", g.bounds)
		}
	}
}

// TestFit: the longest beginning that fits, cut between what readers see as characters.
func TestFit(t *testing.T) {
	f := fontsIn(t, testFonts)
	for _, text := range []string{"a brown dog", "बिल्ली", "قطة نائمة", "小猫 nose", "😺😺"} {
		t.Run(text, func(t *testing.T) {
			whole := mustSet(t, f, text, 14)
			full := whole.Width
			ends := graphemes([]rune(text))
			last := -1
			for room := -1; room <= full+1; room++ {
				line := f.Fit(whole, room)
				kept := strings.TrimSuffix(line.Text, "…")
				switch {
				case room >= full && line.Text != text:
					t.Errorf("room for all: %q", line.Text)
				case line.Text != "" && line.Width > room:
					t.Errorf("%q takes %d of %d", line.Text, line.Width, room)
				case room < full && line.Text != "" && (kept == line.Text || !strings.HasPrefix(text, kept)):
					t.Errorf("%q is not a beginning with an ellipsis", line.Text)
				case len(kept) < last:
					t.Errorf("%d pixels have less than %d", room, room-1)
				case kept != "" && !slices.Contains(ends, len([]rune(kept))) && !strings.HasPrefix(text, kept+" "):
					t.Errorf("%q is cut within a character", line.Text)
				}
				last = len(kept)
			}
		})
	}
	if line := f.Fit(mustSet(t, f, "a brown dog", 14), mustSet(t, f, "a brown…", 14).Width); line.Text != "a brown…" {
		t.Errorf("room for two words: %q", line.Text)
	}
}

// TestDrawClips: nothing is drawn outside of the picture, wherever a line begins.
func TestDrawClips(t *testing.T) {
	f := fontsIn(t, testFonts)
	line := mustSet(t, f, "cat 😺 🟦", 20)
	big := image.NewNRGBA(image.Rect(0, 0, 60, 60))
	img := big.SubImage(image.Rect(20, 20, 40, 40)).(*image.NRGBA)
	for _, at := range []image.Point{{0, 0}, {10, 15}, {30, 30}, {-100, 20}, {25, -500}, {1 << 40, 0}} {
		line.Draw(img, at, color.White)
	}
	for y := range 60 {
		for x := range 60 {
			if !image.Pt(x, y).In(img.Rect) && big.NRGBAAt(x, y) != (color.NRGBA{}) {
				t.Fatalf("pixel %d, %d", x, y)
			}
		}
	}
	if ink(img) == 0 {
		t.Error("nothing is drawn")
	}
}

// TestTogether: fonts are used by several goroutines at once.
func TestTogether(t *testing.T) {
	f := fontsIn(t, testFonts)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for _, text := range texts {
				if line, ok := f.Set(text, 20); !ok || ink(drawn(line)) == 0 {
					t.Errorf("%q is not set", text)
				}
			}
		})
	}
	wg.Wait()
}
