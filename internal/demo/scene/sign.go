package scene

import (
	"image"
	"image/color"
	"image/draw"
	"math"
	"math/rand/v2"
	"sync"
	"unicode/utf8"

	xdraw "golang.org/x/image/draw"
	"golang.org/x/image/font"
	"golang.org/x/image/font/gofont/gobold"
	"golang.org/x/image/font/gofont/goitalic"
	"golang.org/x/image/font/gofont/gomedium"
	"golang.org/x/image/font/gofont/gomono"
	"golang.org/x/image/font/gofont/gomonobold"
	"golang.org/x/image/font/gofont/goregular"
	"golang.org/x/image/font/inconsolata"
	"golang.org/x/image/font/opentype"
	"golang.org/x/image/math/f64"
	"golang.org/x/image/math/fixed"
)

// Fonts are the fonts of signs: the Go family, and Inconsolata, which is a
// bitmap of 16 pixels and is scaled.
var Fonts = []string{"Go Regular", "Go Medium", "Go Bold", "Go Italic", "Go Mono", "Go Mono Bold", "Inconsolata"}

// textHeight is the size at which words are drawn before they are scaled to the
// card; one size, so that glyphs are parsed once.
const textHeight = 64

var faces = sync.OnceValue(func() map[string]*opentype.Font {
	out := map[string]*opentype.Font{}
	for name, ttf := range map[string][]byte{
		"Go Regular": goregular.TTF, "Go Medium": gomedium.TTF, "Go Bold": gobold.TTF, "Go Italic": goitalic.TTF,
		"Go Mono": gomono.TTF, "Go Mono Bold": gomonobold.TTF,
	} {
		if f, err := opentype.Parse(ttf); err == nil { // they are compiled in; a test opens each
			out[name] = f
		}
	}
	return out
})

// newFace returns a face for a font. A face is not for several goroutines.
func newFace(name string) font.Face {
	if f := faces()[name]; f != nil {
		if face, err := opentype.NewFace(f, &opentype.FaceOptions{Size: textHeight, DPI: 72}); err == nil {
			return face
		}
	}
	return inconsolata.Bold8x16
}

// card is a sign while it is drawn.
type card struct {
	Sign
	img    *image.RGBA // straight, at its size in the picture
	cx, cy float64
	angle  float64
	glyphs []glyph
}

// glyph is where a letter stands on the card.
type glyph struct {
	letter rune
	cell   image.Rectangle // as wide as its advance, as high as its line
}

// letterAt is the letter whose cell a point of the picture lies in, 0 if none.
func (c *card) letterAt(x, y float64) rune {
	sin, cos := math.Sincos(c.angle)
	dx, dy := x-c.cx, y-c.cy
	at := image.Pt(int(math.Floor(cos*dx+sin*dy+float64(c.img.Rect.Dx())/2)),
		int(math.Floor(cos*dy-sin*dx+float64(c.img.Rect.Dy())/2)))
	for _, g := range c.glyphs {
		if at.In(g.cell) {
			return g.letter
		}
	}
	return 0
}

// newCard makes a card of a width and a place at random, large enough that its
// words can be read when the picture is squashed to 112 × 112.
func newCard(r *rand.Rand, words []string, W, H int) *card {
	c := &card{Sign: Sign{Words: words, Font: choice(r, Fonts)}}
	var text, paper rgb
	for {
		paper = hsv(r.Float64(), uniform(r, 0, 0.7), uniform(r, 0.1, 1))
		text = hsv(r.Float64(), uniform(r, 0, 0.8), uniform(r, 0, 1))
		if contrast(text, paper) >= minContrast {
			break
		}
	}
	c.TextColor, c.CardColor = text.bytes(), paper.bytes()

	lines := [][]string{words}
	if len(words) == 2 && (len(words[0])+len(words[1]) > 6 || r.IntN(2) == 0) {
		lines = [][]string{words[:1], words[1:]}
	}
	mask, glyphs := typeset(newFace(c.Font), lines)
	tw, th := textSize(r, lines, mask.Rect, W, H)
	padX, padY := uniform(r, 0.03, 0.05)*float64(W), uniform(r, 0.02, 0.05)*float64(H)
	c.img = image.NewRGBA(image.Rect(0, 0, int(tw+2*padX), int(th+2*padY)))
	edge := text
	if r.IntN(2) == 0 {
		edge = paper.scaled(0.6)
	}
	draw.Draw(c.img, c.img.Rect, uniformColor(edge), image.Point{}, draw.Src)
	border := max(2, int(0.012*math.Sqrt(float64(W)*float64(H))))
	draw.Draw(c.img, c.img.Rect.Inset(border), uniformColor(paper), image.Point{}, draw.Src)
	c.print(text, mask, glyphs, image.Rect(int(padX), int(padY), int(padX+tw), int(padY+th)))
	c.place(r, W, H)
	return c
}

// textSize chooses the width and height of a text of that shape: its share of
// the picture's. Letters are 112/16 = 7 pixels wide, and wider where there is
// room.
func textSize(r *rand.Rand, lines [][]string, shape image.Rectangle, W, H int) (tw, th float64) {
	letters := 0
	for _, l := range lines {
		n := len(l) - 1
		for _, w := range l {
			n += len(w)
		}
		letters = max(letters, n)
	}
	tw = math.Min(math.Max(float64(letters)*uniform(r, 0.066, 0.09), 0.3), 0.78) * float64(W)
	th = tw * float64(shape.Dy()) / float64(shape.Dx())
	// Lines between 0.12 and 0.2 of the height, whatever the shape of the picture.
	lo, hi := 0.13*float64(len(lines)*H), 0.21*float64(len(lines)*H)
	return tw, math.Min(math.Max(th, lo), hi)
}

// print draws the text, a mask with its glyphs, into a part of the card.
func (c *card) print(text rgb, mask *image.Alpha, glyphs []glyph, inner image.Rectangle) {
	scaled := image.NewAlpha(image.Rect(0, 0, inner.Dx(), inner.Dy()))
	xdraw.ApproxBiLinear.Scale(scaled, scaled.Rect, mask, mask.Rect, xdraw.Src, nil)
	if scaled.Rect.Dx() < mask.Rect.Dx()/2 {
		xdraw.BiLinear.Scale(scaled, scaled.Rect, mask, mask.Rect, xdraw.Src, nil)
	}
	sx, sy := float64(inner.Dx())/float64(mask.Rect.Dx()), float64(inner.Dy())/float64(mask.Rect.Dy())
	for _, g := range glyphs {
		g.cell = image.Rect(int(sx*float64(g.cell.Min.X)), int(sy*float64(g.cell.Min.Y)),
			int(sx*float64(g.cell.Max.X)), int(sy*float64(g.cell.Max.Y))).Add(inner.Min).Intersect(c.img.Rect)
		c.glyphs = append(c.glyphs, g)
	}
	draw.DrawMask(c.img, inner, uniformColor(text), image.Point{}, scaled, image.Point{}, draw.Over)
}

// place turns the card a little and puts it somewhere in the picture.
func (c *card) place(r *rand.Rand, W, H int) {
	if r.Float64() < 0.5 {
		c.angle = uniform(r, -0.1, 0.1)
	}
	bw, bh := c.extent()
	c.cx = bw/2 + 1 + r.Float64()*math.Max(float64(W)-bw-2, 0)
	c.cy = bh/2 + 1 + r.Float64()*math.Max(float64(H)-bh-2, 0)
	c.Box = box(image.Rect(int(math.Floor(c.cx-bw/2)), int(math.Floor(c.cy-bh/2)),
		int(math.Ceil(c.cx+bw/2)), int(math.Ceil(c.cy+bh/2))).Intersect(image.Rect(0, 0, W, H)))
}

// typeset writes lines of words, centered, and cuts the margins off. The cells of
// the glyphs count from the top left of what is left.
func typeset(face font.Face, lines [][]string) (*image.Alpha, []glyph) {
	m := face.Metrics()
	line := (m.Ascent + m.Descent).Ceil()
	var texts []string
	width := 0
	for _, l := range lines {
		t := l[0]
		if len(l) > 1 {
			t += " " + l[1]
		}
		texts = append(texts, t)
		width = max(width, font.MeasureString(face, t).Ceil())
	}
	img := image.NewAlpha(image.Rect(0, 0, width+line, line*(len(texts)+1)))
	var glyphs []glyph
	for i, t := range texts {
		x := (img.Rect.Dx() - font.MeasureString(face, t).Ceil()) / 2
		d := font.Drawer{Dst: img, Src: image.Opaque, Face: face, Dot: fixed.P(x, line*i+m.Ascent.Ceil())}
		d.DrawString(t)
		for j, letter := range t {
			end := font.MeasureString(face, t[:j+utf8.RuneLen(letter)]).Ceil()
			begin := font.MeasureString(face, t[:j]).Ceil()
			glyphs = append(glyphs, glyph{letter, image.Rect(x+begin, line*i, x+end, line*(i+1))})
		}
	}
	mask := maskOf(img)
	ink := mask.Bounds()
	if ink.Empty() {
		return img, glyphs
	}
	for i := range glyphs {
		glyphs[i].cell = glyphs[i].cell.Sub(ink.Min)
	}
	cut, _ := img.SubImage(ink).(*image.Alpha)
	return cut, glyphs
}

func uniformColor(c rgb) *image.Uniform {
	b := c.bytes()
	return image.NewUniform(color.RGBA{b[0], b[1], b[2], 255})
}

// extent is the size of the box around the rotated card.
func (c *card) extent() (w, h float64) {
	sin, cos := math.Sincos(c.angle)
	iw, ih := float64(c.img.Rect.Dx()), float64(c.img.Rect.Dy())
	return iw*math.Abs(cos) + ih*math.Abs(sin), iw*math.Abs(sin) + ih*math.Abs(cos)
}

// near reports whether a box w × h around (x, y) touches the card's, or nearly.
func (c *card) near(x, y, w, h float64) bool {
	bw, bh := c.extent()
	return math.Abs(x-c.cx) < (w+bw)/2+3 && math.Abs(y-c.cy) < (h+bh)/2+3
}

// paint lays the card over the picture.
func (c *card) paint(dst *image.RGBA) {
	sin, cos := math.Sincos(c.angle)
	w, h := float64(c.img.Rect.Dx()), float64(c.img.Rect.Dy())
	m := f64.Aff3{
		cos, -sin, c.cx - cos*w/2 + sin*h/2,
		sin, cos, c.cy - sin*w/2 - cos*h/2,
	}
	xdraw.BiLinear.Transform(dst, m, c.img, c.img.Rect, xdraw.Over, nil)
}
