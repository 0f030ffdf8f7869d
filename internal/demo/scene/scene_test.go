package scene

import (
	"bytes"
	"image"
	"slices"
	"strings"
	"testing"
)

// scenes are drawn once for all tests that look at many.
func scenes(t *testing.T) []*Scene {
	t.Helper()
	n := 300
	if testing.Short() {
		n = 60
	}
	if drawn == nil {
		for i := range n {
			drawn = append(drawn, Draw(EvalSeed(7, uint32(i)), Options{}))
		}
	}
	return drawn
}

var drawn []*Scene

func TestDrawIsRepeatable(t *testing.T) {
	for _, seed := range []uint64{0, 1, TrainSeed(12345), EvalSeed(3, 9)} {
		a, b := Draw(seed, Options{}), Draw(seed, Options{})
		if a.Background != b.Background || !bytes.Equal(a.Picture.Pix, b.Picture.Pix) || !slices.Equal(splitWords(a.Caption().Text("en")), splitWords(b.Caption().Text("en"))) {
			t.Errorf("seed %d: two scenes", seed)
		}
		x, y := Samples(a, Rand(seed)), Samples(b, Rand(seed))
		for i := range max(len(x), len(y)) {
			if len(x) != len(y) || x[i].Prompt != y[i].Prompt || x[i].Answer != y[i].Answer {
				t.Fatalf("seed %d: other samples", seed)
			}
		}
	}
	if bytes.Equal(Draw(0, Options{}).Picture.Pix, Draw(1, Options{}).Picture.Pix) {
		t.Error("seeds 0 and 1 give the same picture")
	}
}

func TestSeedsApart(t *testing.T) {
	for _, v := range []uint64{0, 1, 1<<62 + 5, 1<<64 - 1} {
		if TrainSeed(v)>>63 != 0 {
			t.Errorf("TrainSeed(%d) is a seed of evaluation", v)
		}
	}
	seen := map[uint64]bool{}
	for run := range uint32(50) {
		for i := range uint32(50) {
			s := EvalSeed(run, i)
			if s>>63 != 1 || seen[s] {
				t.Fatalf("EvalSeed(%d, %d) = %d", run, i, s)
			}
			seen[s] = true
		}
	}
}

func TestOptions(t *testing.T) {
	for i := range uint64(20) {
		s := Draw(i, Options{Objects: 3, NoSign: true, MaxSide: 200})
		if s.Sign != nil || s.W > 200 || s.H > 200 || s.W < MinSide || s.H < MinSide {
			t.Errorf("seed %d: sign %v, %d×%d", i, s.Sign, s.W, s.H)
		}
		s = Draw(i, Options{Words: []string{"hello", "you", "there"}})
		if s.Sign == nil || strings.Join(s.Sign.Words, " ") != "hello you" {
			t.Errorf("seed %d: sign %v", i, s.Sign)
		}
	}
}

func TestScenes(t *testing.T) {
	count := map[string]int{}
	for _, s := range scenes(t) {
		if s.Picture.W != s.W || s.Picture.H != s.H || len(s.Picture.Pix) != 3*s.W*s.H {
			t.Fatalf("seed %d: picture %d×%d of %d bytes", s.Seed, s.Picture.W, s.Picture.H, len(s.Picture.Pix))
		}
		if min(s.W, s.H) < MinSide || max(s.W, s.H) > MaxSide || len(s.Objects) < 1 || len(s.Objects) > MaxObjects {
			t.Errorf("seed %d: %d×%d with %d objects", s.Seed, s.W, s.H, len(s.Objects))
		}
		count[s.Background]++
		whole := image.Rect(0, 0, s.W, s.H)
		for i := range s.Objects {
			o := &s.Objects[i]
			count[o.Color]++
			count[o.Shape]++
			count[o.Size]++
			if b := rect(o.Box); !b.In(whole) || !o.Full.Rect.In(whole) {
				t.Errorf("seed %d object %d: box %v leaves the picture", s.Seed, i, o.Box)
			}
			if got := tight(s, o.Visible.Pixels(s.W, s.H)); got != rect(o.Box) {
				t.Errorf("seed %d object %d: box %v, pixels in %v", s.Seed, i, o.Box, got)
			}
			if lim := sizeRange[o.Size]; o.Scale < lim[0] || o.Scale > lim[1] {
				t.Errorf("seed %d object %d: %s is %g", s.Seed, i, o.Size, o.Scale)
			}
			checkLayers(t, s, i)
			if s.Sign != nil && rect(o.Box).Overlaps(rect(s.Sign.Box)) {
				t.Errorf("seed %d object %d: on the sign", s.Seed, i)
			}
		}
		if s.Sign != nil {
			count["sign"]++
			count[s.Sign.Font]++
			if !rect(s.Sign.Box).In(whole) {
				t.Errorf("seed %d: sign %v leaves the picture", s.Seed, s.Sign.Box)
			}
			text, paper := s.Sign.TextColor, s.Sign.CardColor
			if c := contrast(fromBytes(text[:]), fromBytes(paper[:])); c < minContrast-0.1 {
				t.Errorf("seed %d: text has contrast %.2f", s.Seed, c)
			}
		}
	}
	for _, list := range [][]string{Colors, Shapes, Sizes, Backgrounds, Fonts, {"sign"}} {
		for _, v := range list {
			if count[v] == 0 {
				t.Errorf("%s is never drawn", v)
			}
		}
	}
}

// tight is the box around the pixels of a mask of the whole picture.
func tight(s *Scene, mask []byte) image.Rectangle {
	r := image.Rectangle{Min: image.Pt(s.W, s.H)}
	for i, v := range mask {
		if v != 0 {
			x, y := i%s.W, i/s.W
			r.Min.X, r.Min.Y = min(r.Min.X, x), min(r.Min.Y, y)
			r.Max.X, r.Max.Y = max(r.Max.X, x+1), max(r.Max.Y, y+1)
		}
	}
	return r
}

// checkLayers recomputes what is visible of object i, pixel by pixel, and how
// much of it lies under or over others.
func checkLayers(t *testing.T, s *Scene, i int) {
	t.Helper()
	o := &s.Objects[i]
	full, visible := o.Full.Pixels(s.W, s.H), o.Visible.Pixels(s.W, s.H)
	hidden := slices.Clone(full)
	area := o.Full.Area()
	for j := range s.Objects {
		if j == i {
			continue
		}
		both := 0
		for p, v := range s.Objects[j].Full.Pixels(s.W, s.H) {
			if v != 0 && full[p] != 0 {
				both++
				if s.Objects[j].Layer > o.Layer {
					hidden[p] = 0
				}
			}
		}
		if float64(both) > MaxOverlap*float64(area) {
			t.Errorf("seed %d: objects %d and %d share %d of %d pixels", s.Seed, i, j, both, area)
		}
		if both > 0 && o.Color == s.Objects[j].Color {
			t.Errorf("seed %d: objects %d and %d of one color overlap", s.Seed, i, j)
		}
	}
	if !bytes.Equal(hidden, visible) {
		t.Errorf("seed %d object %d: the visible mask is not what is left of it", s.Seed, i)
	}
	if float64(o.Visible.Area()) < (1-MaxOverlap)*float64(area) {
		t.Errorf("seed %d object %d: %d of %d pixels visible", s.Seed, i, o.Visible.Area(), area)
	}
}

func fromBytes(p []byte) rgb { return rgb{float64(p[0]), float64(p[1]), float64(p[2])} }

// TestObjectsStandOut compares the finished pixels of each object with those
// around it, light, grain and JPEG included, and with what its color should be.
func TestObjectsStandOut(t *testing.T) {
	for _, s := range scenes(t) {
		index := make([]byte, s.W*s.H) // 1: some object or the sign
		for i := range s.Objects {
			for p, v := range s.Objects[i].Full.Pixels(s.W, s.H) {
				index[p] |= v
			}
		}
		for i := range s.Objects {
			o := &s.Objects[i]
			var in, out rgb
			nIn, nOut := 0.0, 0.0
			b := rect(o.Box).Inset(-6).Intersect(image.Rect(0, 0, s.W, s.H))
			for y := b.Min.Y; y < b.Max.Y; y++ {
				for x := b.Min.X; x < b.Max.X; x++ {
					c := fromBytes(s.Picture.Pix[3*(y*s.W+x):])
					switch {
					case o.Visible.At(x, y):
						in, nIn = rgb{in[0] + c[0], in[1] + c[1], in[2] + c[2]}, nIn+1
					case index[y*s.W+x] == 0 && (s.Sign == nil || !image.Pt(x, y).In(rect(s.Sign.Box))):
						out, nOut = rgb{out[0] + c[0], out[1] + c[1], out[2] + c[2]}, nOut+1
					}
				}
			}
			in, out = in.scaled(1/nIn), out.scaled(1/nOut)
			if d := distance(in, out); d < 20 {
				t.Errorf("seed %d: the %s %s is %.0f from its surroundings", s.Seed, o.Color, o.Shape, d)
			}
			best := ""
			for _, c := range Colors {
				if best == "" || distance(in, palette[c]) < distance(in, palette[best]) {
					best = c
				}
			}
			if best != o.Color {
				t.Errorf("seed %d: the %s %s looks %s", s.Seed, o.Color, o.Shape, best)
			}
		}
	}
}

func TestWordsAndFonts(t *testing.T) {
	if len(SignWords) < 200 {
		t.Errorf("%d words", len(SignWords))
	}
	seen := map[string]bool{}
	for _, w := range SignWords {
		if seen[w] || len(w) < 2 || len(w) > 6 || strings.Trim(w, "abcdefghijklmnopqrstuvwxyz") != "" {
			t.Errorf("word %q", w)
		}
		seen[w] = true
	}
	if len(Fonts) < 3 || len(faces()) != len(Fonts)-1 {
		t.Errorf("%d of %d fonts open", len(faces())+1, len(Fonts))
	}
}

func TestCrop(t *testing.T) {
	for _, s := range scenes(t)[:40] {
		for i := range s.Objects {
			o := &s.Objects[i]
			crop := o.Crop()
			sum := 0
			for _, v := range crop {
				sum += int(v)
			}
			b := rect(o.Box)
			want := float64(o.Visible.Area()) / float64(b.Dx()*b.Dy())
			if got := float64(sum) / 255 / float64(len(crop)); got < want-0.005 || got > want+0.005 {
				t.Errorf("seed %d object %d: %.3f of the crop, %.3f of the box", s.Seed, i, got, want)
			}
		}
	}
}

func TestIndexMap(t *testing.T) {
	for _, s := range scenes(t)[:40] {
		const size = 112
		n := make([]int, MaxObjects+2)
		for _, v := range s.IndexMap(size) {
			n[v]++
		}
		for i := range s.Objects {
			want := float64(s.Objects[i].Visible.Area()) / float64(s.W*s.H) * size * size
			if got := float64(n[i+1]); got < 0.7*want-3 || got > 1.3*want+3 {
				t.Errorf("seed %d object %d: %g pixels, want about %g", s.Seed, i, got, want)
			}
		}
		if (n[MaxObjects+1] > 0) != (s.Sign != nil) {
			t.Errorf("seed %d: %d pixels of a sign", s.Seed, n[MaxObjects+1])
		}
	}
}

// The letters of a sign stand in reading order, on its card and nowhere else.
func TestLetterMap(t *testing.T) {
	const size = 112
	for seed := range uint64(20) {
		s := Draw(seed, Options{Sign: true, Words: []string{"zebra"}})
		if s.Sign == nil {
			t.Fatal("no sign")
		}
		first := map[byte]int{} // letter: the leftmost column
		for i, v := range s.LetterMap(size) {
			if v == 0 {
				continue
			}
			x, y := i%size, i/size
			px, py := (2*x+1)*s.W/(2*size), (2*y+1)*s.H/(2*size)
			if !(image.Point{X: px, Y: py}).In(rect(s.Sign.Box)) {
				t.Fatalf("seed %d: a letter at %d, %d is not on the card", seed, x, y)
			}
			letter := v - 1 + 'a'
			if old, ok := first[letter]; !ok || x < old {
				first[letter] = x
			}
		}
		last := -1
		for _, letter := range []byte("zebra") {
			x, ok := first[letter]
			if !ok || x <= last {
				t.Fatalf("seed %d: %c is missing or out of order: %v", seed, letter, first)
			}
			last = x
		}
	}
	for _, v := range Draw(1, Options{NoSign: true}).LetterMap(size) {
		if v != 0 {
			t.Fatal("a letter without a sign")
		}
	}
}

func TestSignForCertain(t *testing.T) {
	for seed := range uint64(30) {
		if Draw(seed, Options{Sign: true}).Sign == nil {
			t.Fatalf("seed %d: no sign", seed)
		}
	}
}
