package task

import (
	"image"
	"image/color"
	"math"

	"golang.org/x/image/draw"
	"golang.org/x/image/font"
	"golang.org/x/image/font/inconsolata"
	"golang.org/x/image/math/fixed"
)

// typeface writes single lines in one size: Inconsolata, drawn for cells of
// 8 × 16 pixels and scaled. It has Latin letters, with accents, and punctuation;
// every other character is blank.
type typeface struct {
	scale  float64
	height int // of a line, pixels
}

// cellHeight is from the highest accent to the lowest descender, unscaled.
const cellHeight = 17

// newTypeface makes a typeface of so many pixels to the em.
func newTypeface(size float64) (*typeface, error) {
	scale := size / 14 // what a design of 16 pixels a line has to the em
	return &typeface{scale: scale, height: int(math.Ceil(cellHeight * scale))}, nil
}

// width returns the width of s in pixels.
func (t *typeface) width(s string) int {
	return int(math.Ceil(float64(t.plain(s)) * t.scale))
}

// plain returns the width of s before it is scaled.
func (t *typeface) plain(s string) int { return font.MeasureString(inconsolata.Bold8x16, s).Ceil() }

// write draws s with its top left corner at (x, y).
func (t *typeface) write(dst draw.Image, x, y int, s string, c color.Color) {
	face := inconsolata.Bold8x16
	line := image.NewAlpha(image.Rect(0, 0, t.plain(s), cellHeight))
	d := font.Drawer{Dst: line, Src: image.Opaque, Face: face, Dot: fixed.P(0, face.Metrics().Ascent.Ceil())}
	d.DrawString(s)
	scaled := image.NewAlpha(image.Rect(0, 0, t.width(s), t.height))
	draw.BiLinear.Scale(scaled, scaled.Rect, line, line.Rect, draw.Src, nil)
	at := image.Pt(x, y)
	draw.DrawMask(dst, scaled.Rect.Add(at), image.NewUniform(c), image.Point{}, scaled, image.Point{}, draw.Over)
}
