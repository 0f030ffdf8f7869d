package typeset

import (
	"bytes"
	"image"
	"image/color"
	"image/draw"
	_ "image/jpeg" // of Apple's color fonts
	"image/png"
	"math"

	"github.com/go-text/typesetting/font"
	"github.com/go-text/typesetting/font/opentype"
	xdraw "golang.org/x/image/draw"
	"golang.org/x/image/vector"
)

const (
	strikeSize = 128     // pixels to the em of the bitmaps asked for
	maxStrike  = 1024    // pixels, a side of a bitmap
	maxOutline = 1 << 16 // segments of a glyph
	farthest   = 1 << 14 // pixels from a glyph's origin; what is farther off is damaged
)

// glyph is a glyph ready to be drawn: an outline in the color of the text, or layers
// of outlines in their own, or a bitmap. Pixels, y downwards, from the line's origin.
type glyph struct {
	x, y   float64 // of its origin
	scale  float64 // pixels to a font unit, of outlines
	layers []layer
	bitmap image.Image
	bounds [4]float64 // x0, y0, x1, y1
}

// layer is an outline, in font units.
type layer struct {
	outline []opentype.Segment
	matrix  affine
	fill    color.Color // nil: the text's
}

// glyph returns a glyph in a size. It reports false if the font cannot be read there.
func (t *typeface) glyph(id font.GID, size float64) (g glyph, ok bool) {
	ok = guarded(func() {
		g = glyph{scale: size / float64(t.face.Upem())}
		if t.color && t.colored(id, &g) {
			return
		}
		outline, _ := t.face.GlyphDataOutline(id)
		g.layers = []layer{{outline: outline.Segments, matrix: identity}}
	})
	if !ok {
		return glyph{}, false
	}
	for _, l := range g.layers {
		if !g.include(l) {
			return glyph{}, false
		}
	}
	return g, true
}

// colored takes a glyph from the font's color tables, if it is there.
func (t *typeface) colored(id font.GID, g *glyph) bool {
	if paint, ok := t.face.GlyphDataColor(id); ok {
		p := painter{face: t.face, steps: maxPaints}
		p.paint(paint.Paint, identity, 0)
		g.layers = p.layers
		return len(g.layers) > 0
	}
	data, ok := t.face.GlyphDataBitmap(id)
	extents, known := t.face.GlyphExtents(id)
	if !ok || !known || data.Format != font.PNG && data.Format != font.JPG {
		return false
	}
	config, _, err := image.DecodeConfig(bytes.NewReader(data.Data))
	if err != nil || config.Width > maxStrike || config.Height > maxStrike {
		return false
	}
	var img image.Image
	if data.Format == font.PNG {
		img, err = png.Decode(bytes.NewReader(data.Data))
	} else {
		img, _, err = image.Decode(bytes.NewReader(data.Data))
	}
	if err != nil {
		return false
	}
	x0, y0 := float64(extents.XBearing)*g.scale, -float64(extents.YBearing)*g.scale
	bounds := [4]float64{x0, y0, x0 + float64(extents.Width)*g.scale, y0 - float64(extents.Height)*g.scale}
	for _, v := range bounds {
		if !(math.Abs(v) < farthest) {
			return false
		}
	}
	g.bitmap, g.bounds = img, bounds
	return true
}

// include widens the glyph's bounds by those of a layer's points. It reports false for
// a layer that cannot be drawn.
func (g *glyph) include(l layer) bool {
	if len(l.outline) > maxOutline {
		return false
	}
	empty := g.bounds == [4]float64{}
	for _, s := range l.outline {
		for _, p := range s.ArgsSlice() {
			x, y := l.matrix.apply(p)
			x, y = x*g.scale, -y*g.scale
			if !(math.Abs(x) < farthest && math.Abs(y) < farthest) {
				return false
			}
			if empty {
				g.bounds, empty = [4]float64{x, y, x, y}, false
			}
			g.bounds = [4]float64{min(g.bounds[0], x), min(g.bounds[1], y), max(g.bounds[2], x), max(g.bounds[3], y)}
		}
	}
	return true
}

// move puts the glyph's origin at a point.
func (g *glyph) move(x, y float64) {
	g.x, g.y = x, y
	g.bounds = [4]float64{g.bounds[0] + x, g.bounds[1] + y, g.bounds[2] + x, g.bounds[3] + y}
}

// drawable reports whether there is anything to draw, near enough to be in a line.
func (g *glyph) drawable() bool {
	return g.bounds[2] > g.bounds[0] && g.bounds[3] > g.bounds[1] &&
		math.Abs(g.x) < maxRunes*2*maxSize && math.Abs(g.y) < farthest
}

// draw draws the glyph with the line's origin at (x, y) of the pen's area.
func (g *glyph) draw(p *pen, x, y int, text color.Color) {
	if g.bitmap != nil {
		r := image.Rect(x+int(math.Round(g.bounds[0])), y+int(math.Round(g.bounds[1])), x+int(math.Round(g.bounds[2])), y+int(math.Round(g.bounds[3])))
		p.bitmap(r, g.bitmap)
		return
	}
	for _, l := range g.layers {
		p.outline(l, float64(x)+g.x, float64(y)+g.y, g.scale)
		if l.fill != nil {
			p.flush(l.fill)
		}
	}
}

// pen draws into an area of a picture. Outlines are collected until flush.
type pen struct {
	dst    *image.NRGBA
	area   image.Rectangle
	raster *vector.Rasterizer
	used   bool
}

func newPen(dst *image.NRGBA, area image.Rectangle) *pen {
	return &pen{dst: dst, area: area, raster: vector.NewRasterizer(area.Dx(), area.Dy())}
}

// outline adds an outline with its origin at (x, y) of the area.
func (p *pen) outline(l layer, x, y, scale float64) {
	at := func(q opentype.SegmentPoint) (float32, float32) {
		a, b := l.matrix.apply(q)
		return float32(x + float64(a*scale)), float32(y - float64(b*scale)) // rounded in between on every processor
	}
	r := p.raster
	for _, s := range l.outline {
		x0, y0 := at(s.Args[0])
		x1, y1 := at(s.Args[1])
		x2, y2 := at(s.Args[2])
		switch s.Op {
		case opentype.SegmentOpMoveTo:
			r.ClosePath()
			r.MoveTo(x0, y0)
		case opentype.SegmentOpLineTo:
			r.LineTo(x0, y0)
		case opentype.SegmentOpQuadTo:
			r.QuadTo(x0, y0, x1, y1)
		case opentype.SegmentOpCubeTo:
			r.CubeTo(x0, y0, x1, y1, x2, y2)
		}
	}
	r.ClosePath()
	p.used = true
}

// flush fills the outlines collected since the last time.
func (p *pen) flush(c color.Color) {
	if !p.used {
		return
	}
	p.used = false
	mask := image.NewAlpha(image.Rect(0, 0, p.area.Dx(), p.area.Dy()))
	p.raster.Draw(mask, mask.Rect, image.Opaque, image.Point{})
	p.raster.Reset(p.area.Dx(), p.area.Dy())
	draw.DrawMask(p.dst, p.area, image.NewUniform(c), image.Point{}, mask, image.Point{}, draw.Over)
}

// bitmap draws img, scaled to r of the area.
func (p *pen) bitmap(r image.Rectangle, img image.Image) {
	dst := p.dst.SubImage(p.area).(*image.NRGBA)
	xdraw.CatmullRom.Scale(dst, r.Add(p.area.Min), img, img.Bounds(), xdraw.Over, nil)
}
