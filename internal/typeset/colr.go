package typeset

import (
	"image/color"
	"math"

	"github.com/go-text/typesetting/font"
	"github.com/go-text/typesetting/font/opentype"
	"github.com/go-text/typesetting/font/opentype/tables"
)

const (
	maxPaints = 2000 // of a glyph
	maxNested = 32
	ownColor  = 0xffff // the palette index that means the text's color
)

// affine is a transformation of outlines: x' = a·x + c·y + e, y' = b·x + d·y + f.
type affine [6]float64

var identity = affine{1, 0, 0, 1, 0, 0}

func (m affine) apply(p opentype.SegmentPoint) (x, y float64) {
	px, py := float64(p.X), float64(p.Y)
	return m[0]*px + m[2]*py + m[4], m[1]*px + m[3]*py + m[5]
}

// then returns the transformation that does n first, then m.
func (m affine) then(n affine) affine {
	return affine{
		m[0]*n[0] + m[2]*n[1], m[1]*n[0] + m[3]*n[1],
		m[0]*n[2] + m[2]*n[3], m[1]*n[2] + m[3]*n[3],
		m[0]*n[4] + m[2]*n[5] + m[4], m[1]*n[4] + m[3]*n[5] + m[5],
	}
}

// around returns m with its origin at (x, y).
func (m affine) around(x, y int16) affine {
	return translation(x, y).then(m).then(affine{1, 0, 0, 1, -float64(x), -float64(y)})
}

func translation(x, y int16) affine    { return affine{1, 0, 0, 1, float64(x), float64(y)} }
func scaling(x, y tables.Coord) affine { return affine{half(x), 0, 0, half(y), 0, 0} }

func rotation(angle tables.Coord) affine {
	sin, cos := math.Sincos(half(angle) * math.Pi)
	return affine{cos, sin, -sin, cos, 0, 0}
}

func skewing(x, y tables.Coord) affine {
	return affine{1, math.Tan(half(y) * math.Pi), -math.Tan(half(x) * math.Pi), 1, 0, 0}
}

// half converts a fixed-point number of 14 bits after the point.
func half(v tables.Coord) float64 { return float64(v) / (1 << 14) }

// painter turns a color glyph (table COLR, versions 0 and 1) into filled outlines. At
// the size of a label a gradient is its mean color, a blend is one layer over the
// other, and variations are the default ones.
type painter struct {
	face   *font.Face
	layers []layer
	steps  int // left
}

// paint adds what a paint draws, transformed by m.
func (p *painter) paint(paint tables.PaintTable, m affine, depth int) {
	if p.steps--; p.steps < 0 || depth > maxNested {
		return
	}
	switch t := paint.(type) {
	case tables.PaintColrLayersResolved:
		for _, l := range t {
			p.fill(l.GlyphID, m, p.color(l.PaletteIndex, 1))
		}
	case tables.PaintColrLayers:
		layers, err := p.face.COLR.LayerList.Resolve(t)
		if err != nil {
			return
		}
		for _, l := range layers {
			p.paint(l, m, depth+1)
		}
	case tables.PaintGlyph:
		p.fill(tables.GlyphID(t.GlyphID), m, p.colorOf(t.Paint, depth+1))
	case tables.PaintColrGlyph:
		if inner, ok := p.face.COLR.Search(tables.GlyphID(t.GlyphID)); ok {
			p.paint(inner, m, depth+1)
		}
	case tables.PaintComposite:
		p.composite(t, m, depth+1)
	default:
		if inner, own, ok := transformed(paint); ok {
			p.paint(inner, m.then(own), depth+1)
		}
	}
}

// composite draws both parts of a blend, as far as its mode shows them.
func (p *painter) composite(t tables.PaintComposite, m affine, depth int) {
	switch t.CompositeMode {
	case tables.CompositeClear:
	case tables.CompositeSrc, tables.CompositeSrcIn, tables.CompositeSrcOut:
		p.paint(t.SourcePaint, m, depth)
	case tables.CompositeDest, tables.CompositeDestIn, tables.CompositeDestOut:
		p.paint(t.BackdropPaint, m, depth)
	case tables.CompositeDestOver, tables.CompositeDestAtop:
		p.paint(t.SourcePaint, m, depth)
		p.paint(t.BackdropPaint, m, depth)
	default:
		p.paint(t.BackdropPaint, m, depth)
		p.paint(t.SourcePaint, m, depth)
	}
}

// fill adds the outline of a glyph in a color; nil is the text's.
func (p *painter) fill(id tables.GlyphID, m affine, c color.Color) {
	outline, _ := p.face.GlyphDataOutline(font.GID(id))
	p.layers = append(p.layers, layer{outline: outline.Segments, matrix: m, fill: c})
}

// color returns an entry of the font's first palette; nil is the text's color.
func (p *painter) color(index uint16, alpha float64) color.Color {
	if index == ownColor || len(p.face.CPAL) == 0 || int(index) >= len(p.face.CPAL[0]) {
		return nil
	}
	c := p.face.CPAL[0][index]
	return color.NRGBA{c.Red, c.Green, c.Blue, uint8(math.Round(float64(c.Alpha) * min(max(alpha, 0), 1)))}
}

// colorOf returns the color that a paint fills with.
func (p *painter) colorOf(paint tables.PaintTable, depth int) color.Color {
	if depth > maxNested {
		return color.Transparent
	}
	switch t := paint.(type) {
	case tables.PaintSolid:
		return p.color(t.PaletteIndex, half(t.Alpha))
	case tables.PaintVarSolid:
		return p.color(t.PaletteIndex, half(t.Alpha))
	case tables.PaintLinearGradient:
		return p.mean(t.ColorLine.ColorStops)
	case tables.PaintRadialGradient:
		return p.mean(t.ColorLine.ColorStops)
	case tables.PaintSweepGradient:
		return p.mean(t.ColorLine.ColorStops)
	case tables.PaintVarLinearGradient:
		return p.mean(fixedStops(t.ColorLine))
	case tables.PaintVarRadialGradient:
		return p.mean(fixedStops(t.ColorLine))
	case tables.PaintVarSweepGradient:
		return p.mean(fixedStops(t.ColorLine))
	}
	if inner, _, ok := transformed(paint); ok {
		return p.colorOf(inner, depth+1)
	}
	return color.Transparent
}

// fixedStops returns the stops of a color line without their variations.
func fixedStops(line tables.VarColorLine) []tables.ColorStop {
	stops := make([]tables.ColorStop, len(line.ColorStops))
	for i, s := range line.ColorStops {
		stops[i] = tables.ColorStop{StopOffset: s.StopOffset, PaletteIndex: s.PaletteIndex, Alpha: s.Alpha}
	}
	return stops
}

// mean returns the mean of a gradient's colors, weighted by how much of the line each
// takes.
func (p *painter) mean(stops []tables.ColorStop) color.Color {
	var sum [4]float64 // premultiplied
	total := 0.0
	for i, s := range stops {
		from, to := s.StopOffset, s.StopOffset
		if i > 0 {
			from = stops[i-1].StopOffset
		}
		if i+1 < len(stops) {
			to = stops[i+1].StopOffset
		}
		weight := math.Abs(half(to)-half(from)) + 1e-3
		c, _ := p.color(s.PaletteIndex, half(s.Alpha)).(color.NRGBA)
		alpha := float64(c.A) / 0xff
		for k, v := range [4]float64{float64(c.R) * alpha, float64(c.G) * alpha, float64(c.B) * alpha, alpha} {
			sum[k] += v * weight
		}
		total += weight
	}
	if sum[3] == 0 {
		return color.Transparent
	}
	channel := func(k int) uint8 { return uint8(math.Round(sum[k] / sum[3])) }
	return color.NRGBA{channel(0), channel(1), channel(2), uint8(math.Round(0xff * sum[3] / total))}
}
