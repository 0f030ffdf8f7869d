package scene

import (
	"image"
	"math"

	"golang.org/x/image/vector"
)

// Shapes are the shapes that are drawn.
var Shapes = []string{"circle", "square", "triangle", "star", "cross", "ring"}

// Sizes are the words for sizes, and sizeRange what they mean; between them lie
// gaps in which nothing is drawn.
var Sizes = []string{"small", "medium", "large"}

var sizeRange = map[string][2]float64{
	"small":  {MinSize, 0.17},
	"medium": {0.23, 0.31},
	"large":  {0.40, MaxSize},
}

type point struct{ x, y float64 }

// outline returns the closed contours of a shape around the origin. A contour
// that runs the other way round is a hole.
func outline(shape string) [][]point {
	switch shape {
	case "circle":
		return [][]point{circle(1, false)}
	case "square":
		return [][]point{{{-1, -1}, {1, -1}, {1, 1}, {-1, 1}}}
	case "triangle":
		return [][]point{corners(3, 1, 1)}
	case "star":
		return [][]point{corners(10, 1, 0.42)}
	case "cross":
		const a = 0.33
		return [][]point{{{-a, -1}, {a, -1}, {a, -a}, {1, -a}, {1, a}, {a, a}, {a, 1}, {-a, 1}, {-a, a}, {-1, a}, {-1, -a}, {-a, -a}}}
	case "ring":
		return [][]point{circle(1, false), circle(0.56, true)}
	}
	return nil
}

func circle(r float64, hole bool) []point {
	const n = 72
	p := make([]point, n)
	for i := range p {
		sin, cos := math.Sincos(2 * math.Pi * float64(i) / n)
		if hole {
			sin = -sin
		}
		p[i] = point{r * cos, r * sin}
	}
	return p
}

// corners are n points around the origin, the first one on top, at distances a
// and b by turns.
func corners(n int, a, b float64) []point {
	p := make([]point, n)
	for i := range p {
		r := a
		if i%2 == 1 {
			r = b
		}
		sin, cos := math.Sincos(2*math.Pi*float64(i)/float64(n) - math.Pi/2)
		p[i] = point{r * cos, r * sin}
	}
	return p
}

// rotated returns the contours rotated by angle, and scaled and moved so that the
// box around them has its center at the origin and the area side².
func rotated(contours [][]point, angle, side float64) (out [][]point, w, h float64) {
	sin, cos := math.Sincos(angle)
	lo := point{math.Inf(1), math.Inf(1)}
	hi := point{math.Inf(-1), math.Inf(-1)}
	for _, c := range contours {
		q := make([]point, len(c))
		for i, p := range c {
			q[i] = point{p.x*cos - p.y*sin, p.x*sin + p.y*cos}
			lo = point{math.Min(lo.x, q[i].x), math.Min(lo.y, q[i].y)}
			hi = point{math.Max(hi.x, q[i].x), math.Max(hi.y, q[i].y)}
		}
		out = append(out, q)
	}
	w, h = hi.x-lo.x, hi.y-lo.y
	k := side / math.Sqrt(w*h)
	for _, c := range out {
		for i, p := range c {
			c[i] = point{(p.x - (lo.x+hi.x)/2) * k, (p.y - (lo.y+hi.y)/2) * k}
		}
	}
	return out, w * k, h * k
}

// rasterize draws the contours around (cx, cy) with smooth edges: how much of
// each pixel they cover, 0 to 255.
func rasterize(contours [][]point, cx, cy, w, h float64) *image.Alpha {
	r := image.Rect(int(math.Floor(cx-w/2)), int(math.Floor(cy-h/2)), int(math.Ceil(cx+w/2)), int(math.Ceil(cy+h/2)))
	z := vector.NewRasterizer(r.Dx(), r.Dy())
	ox, oy := cx-float64(r.Min.X), cy-float64(r.Min.Y)
	for _, c := range contours {
		for i, p := range c {
			x, y := float32(p.x+ox), float32(p.y+oy)
			if i == 0 {
				z.MoveTo(x, y)
			} else {
				z.LineTo(x, y)
			}
		}
		z.ClosePath()
	}
	out := image.NewAlpha(r)
	z.Draw(out, r, image.Opaque, image.Point{})
	return out
}

// maskOf is the mask of the pixels that are covered by half or more.
func maskOf(cover *image.Alpha) Mask {
	m := Mask{Rect: cover.Rect, Pix: make([]byte, cover.Rect.Dx()*cover.Rect.Dy())}
	for i, a := range cover.Pix { // the stride of a fresh image is its width
		if a >= 128 {
			m.Pix[i] = 1
		}
	}
	return m
}
