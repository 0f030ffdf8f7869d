package typeset

import (
	"image/color"
	"math"
	"slices"
	"testing"

	"github.com/go-text/typesetting/font"
	"github.com/go-text/typesetting/font/opentype"
	"github.com/go-text/typesetting/font/opentype/tables"
)

// solid fills a glyph with the color of the text.
var solid = tables.PaintGlyph{GlyphID: 1, Paint: tables.PaintSolid{PaletteIndex: ownColor}}

// painted returns the layers that a paint becomes.
func painted(t testing.TB, paint tables.PaintTable) []layer {
	t.Helper()
	p := painter{face: fontsIn(t).regular.face, steps: maxPaints}
	p.paint(paint, identity, 0)
	return p.layers
}

// TestTransformations: each kind of paint that transforms another, as OpenType
// defines it, with variations and without.
func TestTransformations(t *testing.T) {
	const half, turn, eighth, minus = 1 << 13, 1 << 13, 1 << 12, -1 << 14 // 0.5, 90°, 45°, −1
	matrix := affine{1, 2, 3, 4, 5, 6}
	moved := affine{1, 0, 0, 1, 3, -4}
	scaled, scaledThere := affine{0.5, 0, 0, -1, 0, 0}, affine{0.5, 0, 0, -1, 5, 40}
	halved, halvedThere := affine{0.5, 0, 0, 0.5, 0, 0}, affine{0.5, 0, 0, 0.5, 5, 10}
	turned, turnedThere := affine{0, 1, -1, 0, 0, 0}, affine{0, 1, -1, 0, 30, 10}
	skewed, skewedThere := affine{1, 0, -1, 1, 0, 0}, affine{1, 0, -1, 1, 20, 0}
	for _, c := range []struct {
		name          string
		fixed, varies tables.PaintTable
		want          affine
	}{
		{"matrix", tables.PaintTransform{Paint: solid, Transform: tables.Affine2x3{Xx: 1, Yx: 2, Xy: 3, Yy: 4, Dx: 5, Dy: 6}},
			tables.PaintVarTransform{Paint: solid, Transform: tables.VarAffine2x3{Xx: 1, Yx: 2, Xy: 3, Yy: 4, Dx: 5, Dy: 6}}, matrix},
		{"move", tables.PaintTranslate{Paint: solid, Dx: 3, Dy: -4}, tables.PaintVarTranslate{Paint: solid, Dx: 3, Dy: -4}, moved},
		{"scale", tables.PaintScale{Paint: solid, ScaleX: half, ScaleY: minus}, tables.PaintVarScale{Paint: solid, ScaleX: half, ScaleY: minus}, scaled},
		{"scale around a point", tables.PaintScaleAroundCenter{Paint: solid, ScaleX: half, ScaleY: minus, CenterX: 10, CenterY: 20},
			tables.PaintVarScaleAroundCenter{Paint: solid, ScaleX: half, ScaleY: minus, CenterX: 10, CenterY: 20}, scaledThere},
		{"scale both sides", tables.PaintScaleUniform{Paint: solid, Scale: half}, tables.PaintVarScaleUniform{Paint: solid, Scale: half}, halved},
		{"scale both sides around a point", tables.PaintScaleUniformAroundCenter{Paint: solid, Scale: half, CenterX: 10, CenterY: 20},
			tables.PaintVarScaleUniformAroundCenter{Paint: solid, Scale: half, CenterX: 10, CenterY: 20}, halvedThere},
		{"rotate", tables.PaintRotate{Paint: solid, Angle: turn}, tables.PaintVarRotate{Paint: solid, Angle: turn}, turned},
		{"rotate around a point", tables.PaintRotateAroundCenter{Paint: solid, Angle: turn, CenterX: 10, CenterY: 20},
			tables.PaintVarRotateAroundCenter{Paint: solid, Angle: turn, CenterX: 10, CenterY: 20}, turnedThere},
		{"skew", tables.PaintSkew{Paint: solid, XSkewAngle: eighth}, tables.PaintVarSkew{Paint: solid, XSkewAngle: eighth}, skewed},
		{"skew around a point", tables.PaintSkewAroundCenter{Paint: solid, XSkewAngle: eighth, CenterX: 10, CenterY: 20},
			tables.PaintVarSkewAroundCenter{Paint: solid, XSkewAngle: eighth, CenterX: 10, CenterY: 20}, skewedThere},
		{"move what is scaled", tables.PaintTranslate{Dx: 3, Dy: -4, Paint: tables.PaintScaleUniform{Paint: solid, Scale: half}},
			tables.PaintVarTranslate{Dx: 3, Dy: -4, Paint: tables.PaintVarScaleUniform{Paint: solid, Scale: half}}, affine{0.5, 0, 0, 0.5, 3, -4}},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, paint := range []tables.PaintTable{c.fixed, c.varies} {
				layers := painted(t, paint)
				if len(layers) != 1 {
					t.Fatalf("%T: %d layers", paint, len(layers))
				}
				for i, v := range layers[0].matrix {
					if !(math.Abs(v-c.want[i]) < 1e-9) {
						t.Fatalf("%T: %v, want %v", paint, layers[0].matrix, c.want)
					}
				}
			}
		})
	}
}

// TestComposite: which parts of a blend are drawn, in which order.
func TestComposite(t *testing.T) {
	const source, backdrop = 1, 2
	part := func(x int16) tables.PaintTable { return tables.PaintTranslate{Paint: solid, Dx: x} }
	for _, c := range []struct {
		name string
		mode tables.CompositeMode
		want []float64
	}{
		{"clear", tables.CompositeClear, nil},
		{"source", tables.CompositeSrc, []float64{source}},
		{"source in backdrop", tables.CompositeSrcIn, []float64{source}},
		{"source over backdrop", tables.CompositeSrcOver, []float64{backdrop, source}},
		{"backdrop", tables.CompositeDest, []float64{backdrop}},
		{"backdrop out of source", tables.CompositeDestOut, []float64{backdrop}},
		{"backdrop over source", tables.CompositeDestOver, []float64{source, backdrop}},
		{"backdrop atop source", tables.CompositeDestAtop, []float64{source, backdrop}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var got []float64
			for _, l := range painted(t, tables.PaintComposite{SourcePaint: part(source), BackdropPaint: part(backdrop), CompositeMode: c.mode}) {
				got = append(got, l.matrix[4])
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("%v, want %v", got, c.want)
			}
		})
	}
}

// TestPaintBounds: paints that nest too deep, or multiply, are left out.
func TestPaintBounds(t *testing.T) {
	var deep, wide, nested tables.PaintTable = solid, solid, tables.PaintSolid{PaletteIndex: ownColor}
	for range maxNested + 1 {
		deep = tables.PaintTranslate{Paint: deep}
		nested = tables.PaintTranslate{Paint: nested}
	}
	for range 14 {
		wide = tables.PaintComposite{SourcePaint: wide, BackdropPaint: wide, CompositeMode: tables.CompositeSrcOver}
	}
	if layers := painted(t, deep); len(layers) > 0 {
		t.Errorf("%d layers of a deep paint", len(layers))
	}
	if layers := painted(t, wide); len(layers) == 0 || len(layers) > maxPaints {
		t.Errorf("%d layers of a wide paint", len(layers))
	}
	if layers := painted(t, tables.PaintGlyph{GlyphID: 1, Paint: nested}); len(layers) != 1 || layers[0].fill != color.Transparent {
		t.Errorf("a deep color: %v", layers)
	}
	if g := (&glyph{scale: 1}); g.include(layer{outline: make([]opentype.Segment, maxOutline+1), matrix: identity}) {
		t.Error("an outline of too many segments is drawn")
	}
}

// TestSearchRegion: of two fonts that have a text, that of its region is chosen.
func TestSearchRegion(t *testing.T) {
	f := fontsIn(t, testFonts)
	mustSet(t, f, "猫", 20) // has the fonts looked for
	i := slices.IndexFunc(f.system, func(t *typeface) bool { return t.has('猫') })
	here, there, anywhere := *f.system[i], *f.system[i], *f.system[i]
	here.region, there.region, anywhere.region = "cn", "jp", ""
	f.system = []*typeface{&here, &there, &anywhere}
	c := cluster{text: []rune("猫"), end: 1}
	for region, want := range map[string]*typeface{"cn": &here, "jp": &there, "kr": &anywhere, "": &here} {
		t.Run(region, func(t *testing.T) {
			if got := f.search(c, region); got != want {
				t.Errorf("a font of %q", got.region)
			}
		})
	}
}

// TestGradient: the color of a gradient is the mean of its colors, weighted by the
// parts of the line that they are near.
func TestGradient(t *testing.T) {
	palette := []tables.ColorRecord{{Red: 200, Alpha: 255}, {Blue: 100, Alpha: 255}, {Green: 255}}
	p := painter{face: font.NewFace(&font.Font{CPAL: font.CPAL{palette}})}
	const one = 1 << 14
	for _, c := range []struct {
		name  string
		stops []tables.ColorStop
		want  color.Color
	}{
		{"two ends", []tables.ColorStop{{PaletteIndex: 0, Alpha: one}, {StopOffset: one, PaletteIndex: 1, Alpha: one}}, color.NRGBA{100, 0, 50, 255}},
		{"a short part", []tables.ColorStop{{PaletteIndex: 0, Alpha: one}, {StopOffset: 0, PaletteIndex: 0, Alpha: one}, {StopOffset: one, PaletteIndex: 0, Alpha: one},
			{StopOffset: one, PaletteIndex: 1, Alpha: one}}, color.NRGBA{200, 0, 0, 255}},
		{"to nothing", []tables.ColorStop{{PaletteIndex: 0, Alpha: one}, {StopOffset: one, PaletteIndex: 2, Alpha: one}}, color.NRGBA{200, 0, 0, 128}},
		{"nothing", []tables.ColorStop{{PaletteIndex: 2, Alpha: one}}, color.Transparent},
		{"no stops", nil, color.Transparent},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := p.mean(c.stops); got != c.want {
				t.Errorf("%v, want %v", got, c.want)
			}
		})
	}
}
