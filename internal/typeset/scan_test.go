package typeset

import (
	"bytes"
	"encoding/binary"
	"image"
	"image/color"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"

	"github.com/go-text/typesetting/font"
)

// copyFont puts a test font, changed, into a folder under a name.
func copyFont(t testing.TB, name, folder, as string, change func([]byte) []byte) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(testFonts, name))
	if err != nil {
		t.Fatal(err)
	}
	if change != nil {
		data = change(data)
	}
	if err := os.WriteFile(filepath.Join(folder, as), data, 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestScanOddFolders: what is not a font does not keep fonts from being found.
func TestScanOddFolders(t *testing.T) {
	dir := t.TempDir()
	deep := filepath.Join(dir, "a", "b.ttf")
	if err := os.MkdirAll(deep, 0o700); err != nil {
		t.Fatal(err)
	}
	copyFont(t, "hebrew.ttf", deep, "Hebrew.TTF", nil)
	copyFont(t, "arabic.ttf", dir, "half.ttf", func(b []byte) []byte { return b[:len(b)/2] })
	copyFont(t, "korean.otf", dir, "huge.otf", func(b []byte) []byte { // a table of 4 GB
		binary.BigEndian.PutUint32(b[bytes.Index(b, []byte("post"))+12:], 0xffffff00)
		return b
	})
	copyFont(t, "arabic.ttf", dir, "empty.ttf", func([]byte) []byte { return nil })
	copyFont(t, "arabic.ttf", dir, "arabic.txt", nil)
	for _, err := range []error{
		syscall.Mkfifo(filepath.Join(dir, "pipe.ttf"), 0o600),
		os.Symlink(dir, filepath.Join(dir, "loop.ttf")),
		os.Symlink("nowhere", filepath.Join(dir, "dead.otf")),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	f := fontsIn(t, filepath.Join(dir, "missing"), dir, dir)
	mustSet(t, f, "חתול", 20)
	for _, text := range []string{"قطة", "고양이"} {
		if _, ok := f.Set(text, 20); ok {
			t.Errorf("a damaged font is used for %s", text)
		}
	}
}

// TestScanOrder: the same fonts are chosen, whatever the order of files.
func TestScanOrder(t *testing.T) {
	all := scan([]string{testFonts})
	if len(all) != 8 {
		t.Fatalf("%d typefaces, want 8", len(all))
	}
	again := slices.Clone(all)
	rand.New(rand.NewPCG(1, 2)).Shuffle(len(again), func(i, j int) { again[i], again[j] = again[j], again[i] })
	slices.SortStableFunc(again, prefer)
	if !slices.Equal(all, again) {
		t.Error("the order depends on that of the files")
	}
	if i := slices.IndexFunc(all, func(t *typeface) bool { return t.region == "kr" }); i < 0 {
		t.Error("no font for Korean")
	}
}

func TestPrefer(t *testing.T) {
	plain := font.Aspect{Style: font.StyleNormal, Weight: font.WeightNormal, Stretch: font.StretchNormal}
	bold, italic, narrow := plain, plain, plain
	bold.Weight, italic.Style, narrow.Stretch = font.WeightBold, font.StyleItalic, font.StretchCondensed
	want := []*typeface{
		{family: "notosansx", aspect: plain, path: "e"}, {family: "dejavusans", aspect: plain, path: "c"},
		{family: "notosansmono", aspect: plain, path: "b"}, {family: "other", aspect: plain, path: "a"}, {family: "otherserif", aspect: plain, path: "0"},
		{family: "notosansx", aspect: narrow, path: "f"}, {family: "notosansx", aspect: bold, path: "d"}, {family: "notosansx", aspect: italic, path: "g"},
	}
	got := slices.Clone(want)
	slices.Reverse(got)
	slices.SortFunc(got, prefer)
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("place %d: %s %v, want %s %v", i, got[i].family, got[i].aspect, want[i].family, want[i].aspect)
		}
	}
}

func TestRegion(t *testing.T) {
	for text, want := range map[string]string{"猫": "cn", "猫の耳": "jp", "ネコ": "jp", "고양이": "kr", "ㄇㄠ 貓": "tw", "cat": "", "קצת": ""} {
		if got := regionOf([]rune(text)); got != want {
			t.Errorf("regionOf(%q) = %q, want %q", text, got, want)
		}
	}
}

func TestCheckFontRejects(t *testing.T) {
	sound, err := os.ReadFile(filepath.Join(testFonts, "hebrew.ttf"))
	if err != nil {
		t.Fatal(err)
	}
	if err := checkFont(bytes.NewReader(sound), int64(len(sound))); err != nil {
		t.Fatal(err)
	}
	put := func(at int, v uint32) func([]byte) {
		return func(b []byte) { binary.BigEndian.PutUint32(b[at:], v) }
	}
	for name, change := range map[string]func([]byte){
		"another kind":           put(0, 0x774f4646),
		"a table past the end":   put(12+8, 0xfffffff0),
		"a table of 4 GB":        put(12+12, 0xffffffff),
		"more tables than bytes": put(4, 0xffff0000),
		"a collection of many":   func(b []byte) { copy(b, "ttcf\x00\x01\x00\x00\x40\x00\x00\x00") },
		"a collection elsewhere": func(b []byte) { copy(b, "ttcf\x00\x01\x00\x00\x00\x00\x00\x01\xff\xff\xff\xff") },
		"tables over each other": func(b []byte) {
			for i := range 3 {
				binary.BigEndian.PutUint32(b[12+16*i+8:], 0)
				binary.BigEndian.PutUint32(b[12+16*i+12:], uint32(len(b)/2))
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			data := slices.Clone(sound)
			change(data)
			if err := checkFont(bytes.NewReader(data), int64(len(data))); err == nil {
				t.Error("accepted")
			}
		})
	}
	t.Run("a large file", func(t *testing.T) {
		if err := checkFont(bytes.NewReader(sound), maxFontBytes+1); err == nil {
			t.Error("accepted")
		}
	})
	t.Run("a large color table", func(t *testing.T) {
		data := make([]byte, maxColorSize+100)
		copy(data, "OTTO\x00\x01")
		copy(data[12:], "COLR")
		binary.BigEndian.PutUint32(data[24:], maxColorSize+1)
		if err := checkFont(bytes.NewReader(data), int64(len(data))); err == nil {
			t.Error("accepted")
		}
	})
}

// useFont sets all texts in the fonts of a folder and draws what is set.
func useFont(t testing.TB, dir string) {
	f := fontsIn(t, dir)
	for _, text := range texts {
		for _, size := range []int{1, 20} {
			if line, ok := f.Set(text, size); ok {
				line.Draw(image100, image100.Rect.Min, red)
			}
		}
	}
}

// TestDamagedFonts: a font with changed bytes is used or left out, and nothing panics.
func TestDamagedFonts(t *testing.T) {
	names, err := filepath.Glob(filepath.Join(testFonts, "*.?tf"))
	if err != nil || len(names) == 0 {
		t.Fatal(names, err)
	}
	for _, path := range names {
		name := filepath.Base(path)
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			r := rand.New(rand.NewPCG(3, 4))
			for range 150 {
				copyFont(t, name, dir, name, func(b []byte) []byte {
					for range 1 + r.IntN(8) {
						b[r.IntN(len(b))] = byte(r.Uint32())
					}
					return b
				})
				useFont(t, dir)
			}
		})
	}
}

// FuzzFont looks for a font that ends the program.
func FuzzFont(f *testing.F) {
	names, _ := filepath.Glob(filepath.Join(testFonts, "*.?tf"))
	for _, path := range names {
		data, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "font.ttf"), data, 0o600); err != nil {
			t.Fatal(err)
		}
		useFont(t, dir)
	})
}

var (
	image100 = image.NewNRGBA(image.Rect(0, 0, 100, 100))
	red      = color.NRGBA{0xff, 0, 0, 0xff}
)
