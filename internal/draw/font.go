package draw

import (
	"fmt"
	"image"
	"image/color"
	"image/draw"
	"sync"

	"golang.org/x/image/font"
	"golang.org/x/image/font/gofont/goregular"
	"golang.org/x/image/font/opentype"
	"golang.org/x/image/math/fixed"
)

var labelFont = sync.OnceValues(func() (*opentype.Font, error) { return opentype.Parse(goregular.TTF) })

// typeface writes single lines in one size. The font is Go Regular: Latin, Greek
// and Cyrillic; a box stands for every other character.
type typeface struct {
	face           font.Face
	ascent, height int // pixels above the base line, and of a line
}

// newTypeface makes a typeface of so many pixels to the em.
func newTypeface(size float64) (*typeface, error) {
	f, err := labelFont()
	if err != nil {
		return nil, fmt.Errorf("label font: %w", err)
	}
	face, err := opentype.NewFace(f, &opentype.FaceOptions{Size: size, DPI: 72, Hinting: font.HintingFull})
	if err != nil {
		return nil, fmt.Errorf("label font: %w", err)
	}
	m := face.Metrics()
	return &typeface{face: face, ascent: m.Ascent.Ceil(), height: m.Ascent.Ceil() + m.Descent.Ceil()}, nil
}

// width returns the width of s in pixels.
func (t *typeface) width(s string) int { return font.MeasureString(t.face, s).Ceil() }

// write draws s with its top left corner at (x, y).
func (t *typeface) write(dst draw.Image, x, y int, s string, c color.Color) {
	d := font.Drawer{Dst: dst, Src: image.NewUniform(c), Face: t.face, Dot: fixed.P(x, y+t.ascent)}
	d.DrawString(s)
}
