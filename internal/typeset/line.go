package typeset

import (
	"image"
	"image/color"
	"math"
	"slices"
	"strings"

	"github.com/go-text/typesetting/bidi"
	"github.com/go-text/typesetting/di"
	"github.com/go-text/typesetting/language"
	"github.com/go-text/typesetting/segmenter"
	"github.com/go-text/typesetting/shaping"
	"golang.org/x/image/math/fixed"
)

const (
	maxSize  = 1000 // pixels to the em
	maxRunes = 1000 // of a text
)

// Line is a line of text, ready to be drawn.
type Line struct {
	Text          string
	Width, Height int // pixels
	size          int // pixels to the em
	ascent        int // pixels from the top to the base line
	glyphs        []glyph
}

// Set sets text in one line of size pixels to the em. It reports false if no font
// has all of the text; the line is then nil.
func (f *Fonts) Set(text string, size int) (*Line, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	size = min(max(size, 1), maxSize)
	runes := []rune(text)
	if len(runes) > maxRunes {
		return nil, false
	}
	var runs []run
	ok := guarded(func() { runs = split(runes) })
	line := &Line{Text: text, size: size}
	extents, known := f.regular.face.FontHExtents()
	if !ok || !known {
		return nil, false
	}
	scale := float64(size) / float64(f.regular.face.Upem())
	top, bottom := float64(extents.Ascender)*scale, -float64(extents.Descender)*scale
	x := 0.0
	var before *typeface
	region := regionOf(runes)
	for _, script := range runs {
		pieces, last := f.byFace(script, before, region)
		if pieces == nil {
			return nil, false
		}
		before = last
		for _, r := range pieces {
			r.size = size
			glyphs, advance, ok := f.render(r, x)
			if !ok {
				return nil, false
			}
			line.glyphs = append(line.glyphs, glyphs...)
			x += advance
		}
	}
	for _, g := range line.glyphs {
		top, bottom = math.Max(top, -g.bounds[1]), math.Max(bottom, g.bounds[3])
	}
	most := float64(2 * size) // what a font may claim of the line
	line.ascent = int(math.Ceil(math.Min(top, most)))
	line.Height = line.ascent + int(math.Ceil(math.Min(bottom, most)))
	line.Width = int(math.Ceil(min(max(x, 0), maxRunes*2*maxSize)))
	return line, true
}

// Fit returns a line as it is if it is at most room pixels wide, else cut, with an
// ellipsis. A line without room for one character is empty.
func (f *Fonts) Fit(line *Line, room int) *Line {
	if line.Width <= room {
		return line
	}
	runes := []rune(line.Text)
	ends := graphemes(runes)
	best := &Line{}
	low, high := 1, len(ends)-1 // characters that may be kept
	for low <= high {
		n := (low + high) / 2
		cut, ok := f.Set(strings.TrimRight(string(runes[:ends[n-1]]), " ")+"…", line.size)
		if ok && cut.Width <= room {
			best, low = cut, n+1
		} else {
			high = n - 1
		}
	}
	return best
}

// graphemes returns where the characters that a reader sees end.
func graphemes(text []rune) []int {
	var ends []int
	var seg segmenter.Segmenter
	seg.Init(text)
	for it := seg.GraphemeIterator(); it.Next(); {
		g := it.Grapheme()
		ends = append(ends, g.Offset+len(g.Text))
	}
	return ends
}

// run is a piece of text in one direction, script and face.
type run struct {
	text       []rune
	start, end int
	level      bidi.Level // odd: from right to left
	script     language.Script
	language   language.Language
	face       *typeface
	size       int
}

// split cuts a text where its direction or script changes, and puts the pieces in
// the order in which they are seen, from left to right.
func split(text []rune) []run {
	var runs []run
	var paragraph bidi.Paragraph
	levels := paragraph.Segment(text, bidi.Neutral)
	for i := range levels.NumRuns() {
		directed := levels.Run(i)
		input := shaping.Input{Text: text, RunStart: directed.Start, RunEnd: directed.End}
		if directed.Level%2 == 1 {
			input.Direction = di.DirectionRTL
		}
		var cut shaping.Segmenter
		for _, s := range cut.Split(input, noFace{}) {
			runs = append(runs, run{text: text, start: s.RunStart, end: s.RunEnd, level: directed.Level, script: s.Script, language: s.Language})
		}
	}
	reorder(runs)
	return runs
}

// reorder puts runs in visual order (UAX #9, rule L2).
func reorder(runs []run) {
	highest := bidi.Level(0)
	for _, r := range runs {
		highest = max(highest, r.level)
	}
	for level := highest; level > 0; level-- {
		for i := 0; i < len(runs); i++ {
			j := i
			for j < len(runs) && runs[j].level >= level {
				j++
			}
			if j > i {
				slices.Reverse(runs[i:j])
				i = j
			}
		}
	}
}

// byFace cuts a run where another typeface is needed, in visual order, and returns
// the last typeface, too. It returns nil if no font has a part of the run.
func (f *Fonts) byFace(r run, before *typeface, region string) ([]run, *typeface) {
	var pieces []run
	start := r.start
	for _, end := range graphemes(r.text[r.start:r.end]) {
		end += r.start
		c := cluster{text: r.text, start: start, end: end, emoji: isEmoji(r.text[start:end])}
		face := f.choose(c, before, region)
		if face == nil {
			return nil, nil
		}
		if n := len(pieces); n > 0 && pieces[n-1].face == face {
			pieces[n-1].end = end
		} else {
			piece := r
			piece.start, piece.end, piece.face = start, end, face
			pieces = append(pieces, piece)
		}
		start, before = end, face
	}
	if r.level%2 == 1 {
		slices.Reverse(pieces)
	}
	return pieces, before
}

// shape returns the glyphs of a run, from left to right.
func (f *Fonts) shape(r run) ([]shaping.Glyph, bool) {
	direction := di.DirectionLTR
	if r.level%2 == 1 {
		direction = di.DirectionRTL
	}
	var out shaping.Output
	ok := guarded(func() {
		out = f.shaper.Shape(shaping.Input{
			Text: r.text, RunStart: r.start, RunEnd: r.end, Direction: direction, Face: r.face.face,
			Size: fixed.I(max(r.size, 1)), Script: r.script, Language: r.language,
		})
	})
	if !ok {
		r.face.broken = true
		f.shaper = shaping.HarfbuzzShaper{} // its buffers may be in any state
	}
	return out.Glyphs, ok
}

// render returns the glyphs of a run that begins at x, and its width.
func (f *Fonts) render(r run, x float64) ([]glyph, float64, bool) {
	shaped, ok := f.shape(r)
	if !ok {
		return nil, 0, false
	}
	const unit = 1.0 / 64 // pixels
	start := x
	var glyphs []glyph
	for _, s := range shaped {
		if s.GlyphID == 0 && !blank(r.text[r.start:r.end]) {
			return nil, 0, false
		}
		g, ok := r.face.glyph(s.GlyphID, float64(r.size))
		if !ok {
			r.face.broken = true
			return nil, 0, false
		}
		g.move(x+float64(s.XOffset)*unit, -float64(s.YOffset)*unit)
		if g.drawable() {
			glyphs = append(glyphs, g)
		}
		x += float64(s.Advance) * unit
	}
	return glyphs, x - start, true
}

// Draw draws the line in a color with its top left corner at a point. Colored emoji keep
// their own colors.
func (l *Line) Draw(dst *image.NRGBA, at image.Point, c color.Color) {
	area := image.Rect(at.X, at.Y, at.X+l.Width, at.Y+l.Height).Intersect(dst.Bounds())
	if area.Empty() {
		return
	}
	pen := newPen(dst, area)
	for _, g := range l.glyphs {
		g.draw(pen, at.X-area.Min.X, at.Y+l.ascent-area.Min.Y, c)
	}
	pen.flush(c)
}
