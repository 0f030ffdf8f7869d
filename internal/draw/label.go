package draw

import (
	"image"
	"image/color"
	"image/draw"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"paligemma/internal/typeset"
)

// plate is a label in its place.
type plate struct {
	name string // the label as it came
	line *typeset.Line
	rect image.Rectangle
}

// draw draws the label on a plate of its color, in black or white.
func (p plate) draw(img *image.NRGBA, c color.NRGBA) {
	draw.Draw(img, p.rect, image.NewUniform(c), image.Point{}, draw.Src)
	p.line.Draw(img, p.rect.Min.Add(image.Pt(padding(p.line.Height), 0)), textColor(c))
}

// padding is the blank on each side of a label with lines of a height.
func padding(height int) int { return max(height/6, 1) }

// layout sets the labels of boxes and finds their places, in the order in which they
// choose. Where labels would hide each other they are made smaller, down to a third or
// smallFont pixels.
func layout(bounds image.Rectangle, boxes []image.Rectangle, names []string, order []int, opt Options) ([]plate, []LegendEntry) {
	w := &writer{fonts: opt.Fonts, names: names, lines: map[string]*typeset.Line{}, numbers: map[string]int{}}
	var best []plate
	least := -1
	size := int(opt.FontSize + 0.5)
	for smallest := min(max(size/3, smallFont), size); ; size = max(size*3/4, smallest) {
		clear(w.lines)
		plates, hidden := place(bounds, boxes, order, func(i int) (plate, bool) { return w.plate(names[i], size, bounds) })
		if least < 0 || hidden < least {
			best, least = plates, hidden
		}
		if hidden == 0 || size == smallest {
			return best, w.legend
		}
	}
}

// writer sets labels, each once in a size, and numbers those that no font has.
type writer struct {
	fonts   *typeset.Fonts
	names   []string // of the whole picture
	lines   map[string]*typeset.Line
	numbers map[string]int
	legend  []LegendEntry
}

// plate returns the plate of a label, without a place. It reports false for a label
// that is empty or has no room.
func (w *writer) plate(name string, size int, bounds image.Rectangle) (plate, bool) {
	line, ok := w.lines[name]
	if !ok {
		line = w.set(name, size, bounds)
		w.lines[name] = line
	}
	if line == nil || line.Width == 0 || line.Height > bounds.Dy() {
		return plate{}, false
	}
	return plate{name: name, line: line, rect: image.Rect(0, 0, line.Width+2*padding(line.Height), line.Height)}, true
}

// set sets a label, or its number, as wide as the picture at most: it shrinks, then it
// is cut. It returns nil for a label without text.
func (w *writer) set(name string, size int, bounds image.Rectangle) *typeset.Line {
	text := printable(name)
	if text == "" {
		return nil
	}
	line, ok := w.fonts.Set(text, size)
	if !ok {
		text = strconv.Itoa(w.number(name, text))
		if line, ok = w.fonts.Set(text, size); !ok {
			return nil
		}
	}
	room := bounds.Dx() - 2*padding(line.Height)
	if line.Width <= room {
		return line
	}
	smaller := min(max(size*max(room, 0)/line.Width, minFontSize), size)
	if line, ok = w.fonts.Set(text, smaller); !ok {
		return nil
	}
	return w.fonts.Fit(line, bounds.Dx()-2*padding(line.Height))
}

// number returns the number that stands for a label, a new one at its first use.
// Numbers that are labels themselves are left out.
func (w *writer) number(name, text string) int {
	if n, ok := w.numbers[text]; ok {
		return n
	}
	taken := map[string]bool{}
	for _, other := range w.names {
		taken[printable(other)] = true
	}
	n := 1
	if len(w.legend) > 0 {
		n = w.legend[len(w.legend)-1].Number + 1
	}
	for taken[strconv.Itoa(n)] {
		n++
	}
	w.numbers[text] = n
	w.legend = append(w.legend, LegendEntry{Number: n, Label: text})
	return n
}

// printable makes one short line of a label: whatever is not printable becomes a
// blank, runs of blanks one. Joiners, and the tags of flags, are part of a text.
func printable(label string) string {
	var b strings.Builder
	n := 0
	for _, r := range label {
		if n++; n > maxLabel {
			break
		}
		joins := r == 0x200c || r == 0x200d || 0xe0020 <= r && r <= 0xe007f
		if r == utf8.RuneError || !unicode.IsGraphic(r) && !joins {
			r = ' '
		}
		b.WriteRune(r)
	}
	return strings.Join(strings.Fields(b.String()), " ")
}
