package scene

import (
	"flag"
	"image"
	"image/color"
	"image/draw"
	"image/png"
	"os"
	"testing"
)

var sheet = flag.String("sheet", "", "write a sheet of drawn scenes to this PNG file, to look at")
var sheetSeed = flag.Uint64("sheetseed", 0, "first scene of the sheet")

// TestSheet draws 24 scenes for people (go test -run Sheet -sheet scenes.png).
func TestSheet(t *testing.T) {
	if *sheet == "" {
		t.Skip("no -sheet")
	}
	const cols, rows, cell = 6, 4, 250
	out := image.NewRGBA(image.Rect(0, 0, cols*cell, rows*cell))
	for i := range cols * rows {
		s := Draw(TrainSeed(*sheetSeed+uint64(i)), Options{MaxSide: 240})
		at := image.Pt(i%cols*cell, i/cols*cell)
		for y := range s.H {
			for x := range s.W {
				p := s.Picture.Pix[3*(y*s.W+x):]
				out.SetRGBA(at.X+x, at.Y+y, color.RGBA{p[0], p[1], p[2], 255})
			}
		}
		for _, o := range s.Objects {
			b := rect(o.Box).Add(at)
			draw.Draw(out, image.Rect(b.Min.X, b.Min.Y, b.Max.X, b.Min.Y+1), image.White, image.Point{}, draw.Src)
			draw.Draw(out, image.Rect(b.Min.X, b.Max.Y-1, b.Max.X, b.Max.Y), image.Black, image.Point{}, draw.Src)
		}
	}
	f, err := os.Create(*sheet)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := png.Encode(f, out); err != nil {
		t.Fatal(err)
	}
}
func BenchmarkDraw(b *testing.B) {
	for i := range b.N {
		Draw(uint64(i), Options{})
	}
}
