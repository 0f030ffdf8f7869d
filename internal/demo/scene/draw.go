package scene

import (
	"image"
	"math"
	"math/rand/v2"
	"slices"

	"paligemma/internal/preprocess"
)

// placed is an object while a scene is laid out.
type placed struct {
	Object
	fill  rgb
	cover *image.Alpha
}

// Draw makes the scene of a seed.
func Draw(seed uint64, opts Options) *Scene {
	r := newRand(seed, 0)
	s := &Scene{Seed: seed}
	s.W, s.H = sides(r, opts.MaxSide)

	words := signWords(r)
	withSign := r.Float64() < 0.35 || opts.Sign
	if len(opts.Words) > 0 {
		words, withSign = opts.Words[:min(len(opts.Words), 2)], true
	}
	withSign = withSign && !opts.NoSign
	n := pickCount(r, withSign)
	if opts.Objects >= 1 && opts.Objects <= MaxObjects {
		n = opts.Objects
	}
	var c *card
	var objects []placed
	for objects == nil {
		if withSign {
			c = newCard(r, words, s.W, s.H)
			s.Sign = &c.Sign
		}
		objects = s.layout(r, n, c)
	}
	var avoid []rgb
	for i := range objects {
		avoid = append(avoid, objects[i].fill)
	}
	img := image.NewRGBA(image.Rect(0, 0, s.W, s.H))
	s.Background = choice(r, Backgrounds)
	paintBackground(img, r, s.Background, avoid)
	if c != nil {
		c.paint(img)
		s.Sign.letterAt = c.letterAt
	}
	layers := slices.Clone(objects)
	slices.SortFunc(layers, func(a, b placed) int { return a.Layer - b.Layer })
	for i := range layers {
		paintObject(img, r, layers[i].cover, layers[i].fill)
	}
	light(img, r)
	grain(img, r)
	if r.Float64() < 0.8 {
		s.Quality = 50 + r.IntN(46)
		img = throughJPEG(img, s.Quality)
	}
	s.Picture = &preprocess.RGB{W: s.W, H: s.H, Pix: make([]byte, 3*s.W*s.H)}
	for i, j := 0, 0; j < len(img.Pix); i, j = i+3, j+4 {
		copy(s.Picture.Pix[i:i+3], img.Pix[j:j+3])
	}
	for i := range objects {
		s.Objects = append(s.Objects, objects[i].Object)
	}
	return s
}

// sides picks the size of a picture: the ratio of the sides up to 2 either way.
func sides(r *rand.Rand, limit int) (w, h int) {
	if limit < MinSide || limit > MaxSide {
		limit = MaxSide
	}
	long := MinSide * math.Exp(uniform(r, 0, math.Log(float64(limit)/MinSide)))
	short := math.Max(long*math.Exp(uniform(r, -math.Ln2, 0)), MinSide)
	long = math.Max(long, short)
	w, h = int(math.Round(long)), int(math.Round(short))
	if r.IntN(2) == 0 {
		w, h = h, w
	}
	return w, h
}

func pickCount(r *rand.Rand, withSign bool) int {
	x := r.Float64()
	switch {
	case withSign && x < 0.5:
		return 1
	case withSign:
		return 2
	case x < 0.15:
		return 1
	case x < 0.4:
		return 2
	case x < 0.7:
		return 3
	}
	return 4
}

// layout draws objects at random until they lie well. What cannot be placed
// after many tries gives way to smaller objects, then to fewer; nil if not even
// one finds room next to the card.
func (s *Scene) layout(r *rand.Rand, n int, c *card) []placed {
	for ; n > 0; n-- {
		for try := range 400 {
			objects := s.throw(r, n, c != nil || try > 150, c)
			if objects != nil && s.settle(objects) {
				return objects
			}
		}
	}
	return nil
}

// throw picks n objects and where they lie. It returns nil if one would leave
// the picture or touch the card.
func (s *Scene) throw(r *rand.Rand, n int, small bool, c *card) []placed {
	side := math.Sqrt(float64(s.W) * float64(s.H))
	layers := r.Perm(n)
	objects := make([]placed, n)
	for i := range objects {
		o := &objects[i]
		o.Color, o.Shape = choice(r, Colors), choice(r, Shapes)
		if i > 0 && r.Float64() < 0.25 { // something to count, and to tell apart
			if r.IntN(2) == 0 {
				o.Color = objects[0].Color
			} else {
				o.Shape = objects[0].Shape
			}
		}
		o.Size = Sizes[min(r.IntN(7)/2, 2)] // large ones find less room
		if small && o.Size == "large" {
			o.Size = choice(r, Sizes[:2])
		}
		lim := sizeRange[o.Size]
		o.Scale = uniform(r, lim[0], lim[1])
		o.Layer = layers[i]
		o.fill = shadeOf(o.Color, r)
		o.Angle = uniform(r, 0, 2*math.Pi)
		if r.Float64() < 0.3 {
			o.Angle = 0
		}
		contours, w, h := rotated(outline(o.Shape), o.Angle, o.Scale*side)
		roomX, roomY := float64(s.W)-w-4, float64(s.H)-h-4
		if roomX < 0 || roomY < 0 {
			return nil
		}
		cx, cy := w/2+2+r.Float64()*roomX, h/2+2+r.Float64()*roomY
		if i > 0 && r.Float64() < 0.3 { // perhaps behind or before another one
			p := objects[i-1].Full.Rect
			cx = float64(p.Min.X+p.Max.X)/2 + uniform(r, -0.6, 0.6)*(w+float64(p.Dx()))
			cy = float64(p.Min.Y+p.Max.Y)/2 + uniform(r, -0.6, 0.6)*(h+float64(p.Dy()))
			cx = math.Min(math.Max(cx, w/2+2), float64(s.W)-w/2-2)
			cy = math.Min(math.Max(cy, h/2+2), float64(s.H)-h/2-2)
		}
		if c != nil && c.near(cx, cy, w, h) {
			return nil
		}
		o.cover = rasterize(contours, cx, cy, w, h)
		o.Full = maskOf(o.cover)
	}
	return objects
}

// settle works out what hides what, sorts the objects from left to right, and
// reports whether the scene is clear: little is hidden, neighbors can be told
// apart, and every relation a caption names is beyond doubt.
func (s *Scene) settle(objects []placed) bool {
	for i := range objects {
		if !hide(objects, i) {
			return false
		}
	}
	slices.SortFunc(objects, func(a, b placed) int {
		return a.Box[0] + a.Box[2] - b.Box[0] - b.Box[2]
	})
	for i := range objects {
		for j := range i {
			ax, _ := s.center(&objects[j].Object)
			bx, _ := s.center(&objects[i].Object)
			if bx-ax < orderGap {
				return false
			}
		}
		if i > 0 && s.relation(&objects[i-1].Object, &objects[i].Object) == "" {
			return false
		}
	}
	return true
}

// hide works out what the objects in front hide of objects[i], and reports
// whether it is clear.
func hide(objects []placed, i int) bool {
	a := &objects[i]
	a.Visible = Mask{Rect: a.Full.Rect, Pix: slices.Clone(a.Full.Pix)}
	area := a.Full.Area()
	for j := range objects {
		b := &objects[j]
		if i == j {
			continue
		}
		if !apart(a, b, area) {
			return false
		}
		if a.Layer < b.Layer && a.Full.Rect.Overlaps(b.Full.Rect) {
			a.Visible.subtract(&b.Full)
		}
	}
	limit := MaxOverlap
	if a.Size == "small" { // a few pixels more, and nobody could name its shape
		limit /= 2
	}
	if float64(area-a.Visible.Area()) > limit*float64(area) {
		return false
	}
	a.Box = box(a.Visible.Bounds())
	return true
}

// apart reports whether a, of the given area, and b can be told apart.
func apart(a, b *placed, area int) bool {
	if a.Color == b.Color && a.Full.Rect.Inset(-3).Overlaps(b.Full.Rect) {
		return false
	}
	if !a.Full.Rect.Overlaps(b.Full.Rect) {
		return true
	}
	// A small thing in a ring's hole or a star's bay has no clear relation to it.
	meet := a.Full.Rect.Intersect(b.Full.Rect)
	return float64(a.Full.overlap(&b.Full)) <= MaxOverlap*float64(area) &&
		2*meet.Dx()*meet.Dy() <= a.Full.Rect.Dx()*a.Full.Rect.Dy() &&
		distance(a.fill, b.fill) >= minDistance
}

// orderGap is the least distance of two objects' centers from left to right, as
// a share of the width: the order in which a caption names them is visible.
const orderGap = 0.04

// Relations are the relations between objects.
var Relations = []string{"left of", "right of", "above", "below"}

// relation says where a lies as seen from b, or "" if that is not clear. The
// picture counts as a square.
func (s *Scene) relation(a, b *Object) string {
	ax, ay := s.center(a)
	bx, by := s.center(b)
	dx, dy := math.Abs(ax-bx), math.Abs(ay-by)
	const gap, ratio = 0.12, 1.3
	switch {
	case dx >= gap && dx >= ratio*dy:
		if ax < bx {
			return "left of"
		}
		return "right of"
	case dy >= gap && dy >= ratio*dx:
		if ay < by {
			return "above"
		}
		return "below"
	}
	return ""
}
