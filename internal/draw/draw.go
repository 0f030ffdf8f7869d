// Package draw draws objects on a picture: masks, boxes and labels, and writes the
// picture.
package draw

import (
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/draw"
	"math"
	"slices"

	"paligemma/internal/mask"
	"paligemma/internal/typeset"
)

// Object is an object to draw.
type Object struct {
	Label string
	Box   [4]float64 // x0, y0, x1, y1 in pixels of the picture; inverted ones are swapped
}

// Options are the sizes and fonts of what is drawn. Zero means: as fits the picture.
type Options struct {
	LineWidth int            // of boxes, pixels
	FontSize  float64        // of labels, pixels; smaller where they do not fit
	Fonts     *typeset.Fonts // of labels; nil: those of the system
}

// LegendEntry says what a number in the picture stands for.
type LegendEntry struct {
	Number int
	Label  string // on one line, without control characters
}

const (
	maskAlpha    = 0.45 // of a mask over the picture
	maxLabel     = 200  // characters considered
	minFontSize  = 7    // labels too wide for the picture shrink down to this, then are cut
	maxFontSize  = 400
	smallFont    = 11 // pixels to the em, where the picture has the room
	maxLineWidth = 100
)

// FromRGB makes the picture to draw on from rows of 8-bit RGB, [H][W][3]. It
// fails if pix has another length.
func FromRGB(pix []byte, W, H int) (*image.NRGBA, error) {
	if err := mask.Check(-1, W, H); err != nil {
		return nil, err
	}
	if len(pix) != 3*W*H {
		return nil, fmt.Errorf("picture of %d×%d pixels has %d bytes, want 3 each", W, H, len(pix))
	}
	img := image.NewNRGBA(image.Rect(0, 0, W, H))
	for i := range W * H {
		img.Pix[4*i], img.Pix[4*i+1], img.Pix[4*i+2], img.Pix[4*i+3] = pix[3*i], pix[3*i+1], pix[3*i+2], 0xff
	}
	return img, nil
}

// Objects draws objects on img: boxes, the largest first, then labels. Each label has a
// color of its own, as Colors gives them; labels lie where they hide each other least. A
// label in a script that no font has is drawn as a number, and the legend says which. It
// fails on a box with a NaN or infinity; img is then unchanged.
func Objects(img *image.NRGBA, objects []Object, opt Options) ([]LegendEntry, error) {
	bounds := img.Bounds()
	W, H := bounds.Dx(), bounds.Dy()
	if W == 0 || H == 0 {
		return nil, errors.New("draw: the picture has no pixels")
	}
	if err := check(objects); err != nil {
		return nil, err
	}
	if opt.Fonts == nil {
		fonts, err := typeset.System()
		if err != nil {
			return nil, fmt.Errorf("draw: %w", err)
		}
		opt.Fonts = fonts
	}
	opt = opt.fit(W, H)
	names := make([]string, len(objects))
	for i, o := range objects {
		names[i] = o.Label
	}
	colors := Colors(names)
	boxes := make([]image.Rectangle, len(objects))
	order := make([]int, len(objects)) // by area, the largest first
	for i, o := range objects {
		boxes[i], order[i] = boxRect(o.Box, bounds), i
	}
	slices.SortStableFunc(order, func(i, j int) int { return area(boxes[j]) - area(boxes[i]) })
	for _, i := range order {
		drawBox(img, boxes[i], colors[names[i]], opt.LineWidth)
	}
	slices.Reverse(order) // small boxes have the fewest places for their labels
	plates, legend := layout(bounds, boxes, names, order, opt)
	for _, p := range plates {
		p.draw(img, colors[p.name])
	}
	return legend, nil
}

// check reports the first object that cannot be drawn.
func check(objects []Object) error {
	for i, o := range objects {
		for _, v := range o.Box {
			if math.IsNaN(v) || math.IsInf(v, 0) {
				return fmt.Errorf("draw: box %v of object %d is not finite", o.Box, i)
			}
		}
	}
	return nil
}

// area returns the number of pixels in r.
func area(r image.Rectangle) int { return r.Dx() * r.Dy() }

// Mask draws a mask [H][W] on img in a color, such as [Colors] gives its label:
// translucent, with an outline. Masks are drawn before everything else is drawn with
// [Objects]. It fails if the size is not the picture's.
func Mask(img *image.NRGBA, c color.NRGBA, pixels []byte, opt Options) error {
	bounds := img.Bounds()
	W, H := bounds.Dx(), bounds.Dy()
	if err := mask.Check(len(pixels), W, H); err != nil {
		return fmt.Errorf("draw: %w", err)
	}
	width := max(opt.fit(W, H).LineWidth/2, 1) // of the outline
	set := func(x, y int) bool { return x >= 0 && y >= 0 && x < W && y < H && pixels[y*W+x] != 0 }
	for y := range H {
		row := img.Pix[img.PixOffset(bounds.Min.X, bounds.Min.Y+y):]
		for x := range W {
			if pixels[y*W+x] == 0 {
				continue
			}
			alpha := maskAlpha
			if !set(x-width, y) || !set(x+width, y) || !set(x, y-width) || !set(x, y+width) {
				alpha = 1
			}
			p := row[4*x : 4*x+4 : 4*x+4]
			p[0], p[1], p[2] = mix(p[0], c.R, alpha), mix(p[1], c.G, alpha), mix(p[2], c.B, alpha)
			p[3] = 0xff
		}
	}
	return nil
}

// fit sets what is zero to what fits a picture, and keeps the rest in bounds.
func (opt Options) fit(W, H int) Options {
	mean := float64(W+H) / 2
	if opt.LineWidth <= 0 {
		opt.LineWidth = int(math.Round(mean / 300))
	}
	if !(opt.FontSize > 0) {
		opt.FontSize = min(max(mean/36, smallFont), float64(H)/4)
	}
	opt.LineWidth = min(max(opt.LineWidth, 1), maxLineWidth)
	opt.FontSize = min(max(opt.FontSize, minFontSize), maxFontSize)
	return opt
}

// boxRect rounds box to pixels of the picture: at least one pixel, and inside.
func boxRect(box [4]float64, bounds image.Rectangle) image.Rectangle {
	side := func(a, b float64, low, high int) (int, int) {
		clamp := func(v float64) int { // before the conversion, which a huge v would break
			return low + int(math.Round(min(max(v, 0), float64(high-low))))
		}
		from, to := clamp(min(a, b)), clamp(max(a, b))
		from = min(from, high-1)
		return from, max(to, from+1)
	}
	var r image.Rectangle
	r.Min.X, r.Max.X = side(box[0], box[2], bounds.Min.X, bounds.Max.X)
	r.Min.Y, r.Max.Y = side(box[1], box[3], bounds.Min.Y, bounds.Max.Y)
	return r
}

func mix(under, over uint8, alpha float64) uint8 {
	return uint8(math.Round(float64(under)*(1-alpha) + float64(over)*alpha))
}

// drawBox draws the frame of r inwards.
func drawBox(img *image.NRGBA, r image.Rectangle, c color.NRGBA, width int) {
	src := image.NewUniform(c)
	inner := r.Inset(width) // empty, in the middle of r, if r is smaller than its frame
	if inner.Empty() {
		draw.Draw(img, r, src, image.Point{}, draw.Src)
		return
	}
	for _, side := range [...]image.Rectangle{
		{r.Min, image.Pt(r.Max.X, inner.Min.Y)},
		{image.Pt(r.Min.X, inner.Max.Y), r.Max},
		{image.Pt(r.Min.X, inner.Min.Y), image.Pt(inner.Min.X, inner.Max.Y)},
		{image.Pt(inner.Max.X, inner.Min.Y), image.Pt(r.Max.X, inner.Max.Y)},
	} {
		draw.Draw(img, side, src, image.Point{}, draw.Src)
	}
}
