package scene

import (
	"math"
	"math/rand/v2"
)

// Colors are the colors of objects.
var Colors = []string{"red", "green", "blue", "yellow", "orange", "purple", "black", "white"}

type rgb [3]float64 // 0 to 255, sRGB

var palette = map[string]rgb{
	"red":    {208, 30, 38},
	"green":  {34, 148, 58},
	"blue":   {32, 84, 208},
	"yellow": {244, 220, 36},
	"orange": {244, 132, 20},
	"purple": {128, 44, 164},
	"black":  {22, 22, 24},
	"white":  {246, 246, 244},
}

// minDistance is the least distance in CIELAB between an object and the
// background's colors, before light, grain and JPEG.
const minDistance = 34

// minContrast is the least contrast ratio between a sign's text and its card
// (WCAG 2.2, 1.4.3).
const minContrast = 4.5

// lab is the color in CIELAB under D65, from sRGB.
func (c rgb) lab() [3]float64 {
	r, g, b := linear(c[0]), linear(c[1]), linear(c[2])
	x := (0.4124*r + 0.3576*g + 0.1805*b) / 0.95047
	y := 0.2126*r + 0.7152*g + 0.0722*b
	z := (0.0193*r + 0.1192*g + 0.9505*b) / 1.08883
	f := func(t float64) float64 {
		if t > 216.0/24389 {
			return math.Cbrt(t)
		}
		return (24389.0/27*t + 16) / 116
	}
	return [3]float64{116*f(y) - 16, 500 * (f(x) - f(y)), 200 * (f(y) - f(z))}
}

// linear is the light of an sRGB sample, 0 to 1.
func linear(v float64) float64 {
	v /= 255
	if v <= 0.04045 {
		return v / 12.92
	}
	return math.Pow((v+0.055)/1.055, 2.4)
}

// distance is the distance of two colors in CIELAB (ΔE of 1976).
func distance(a, b rgb) float64 {
	p, q := a.lab(), b.lab()
	return math.Sqrt((p[0]-q[0])*(p[0]-q[0]) + (p[1]-q[1])*(p[1]-q[1]) + (p[2]-q[2])*(p[2]-q[2]))
}

// contrast is the WCAG contrast ratio of two colors, 1 to 21.
func contrast(a, b rgb) float64 {
	l := func(c rgb) float64 {
		return 0.2126*linear(c[0]) + 0.7152*linear(c[1]) + 0.0722*linear(c[2]) + 0.05
	}
	x, y := l(a), l(b)
	return math.Max(x, y) / math.Min(x, y)
}

func (c rgb) scaled(k float64) rgb { return rgb{c[0] * k, c[1] * k, c[2] * k} }

func (c rgb) clamped() rgb {
	for i := range c {
		c[i] = math.Min(math.Max(c[i], 0), 255)
	}
	return c
}

func (c rgb) bytes() [3]uint8 {
	c = c.clamped()
	return [3]uint8{uint8(c[0] + 0.5), uint8(c[1] + 0.5), uint8(c[2] + 0.5)}
}

func lerp(a, b rgb, t float64) rgb {
	return rgb{a[0] + (b[0]-a[0])*t, a[1] + (b[1]-a[1])*t, a[2] + (b[2]-a[2])*t}
}

// shadeOf is a color of the palette, a little off, as paint is.
func shadeOf(name string, r *rand.Rand) rgb {
	c := palette[name]
	k := uniform(r, 0.93, 1.05)
	for i := range c {
		c[i] = c[i]*k + uniform(r, -7, 7)
	}
	return c.clamped()
}

// hsv is the color with hue, saturation and value of 0 to 1.
func hsv(h, s, v float64) rgb {
	var c rgb
	for i, n := range [3]float64{5, 3, 1} {
		k := math.Mod(n+h*6, 6)
		c[i] = 255 * (v - v*s*math.Max(0, math.Min(math.Min(k, 4-k), 1)))
	}
	return c
}

// groundColors picks the two colors of a background, both far enough from all
// of avoid and not too far from each other.
func groundColors(r *rand.Rand, avoid []rgb) (a, b rgb) {
	pick := func(near *rgb) (best rgb) {
		bestGap := math.Inf(-1)
		for range 200 {
			c := hsv(r.Float64(), uniform(r, 0.02, 0.5), uniform(r, 0.25, 0.97))
			if near != nil {
				c = lerp(*near, c, uniform(r, 0.2, 0.6))
			}
			gap := math.Inf(1)
			for _, o := range avoid {
				gap = math.Min(gap, distance(c, o))
			}
			if near != nil && (distance(c, *near) < 6 || distance(c, *near) > 28) {
				gap = math.Min(gap, minDistance) - 20
			}
			if gap > bestGap {
				best, bestGap = c, gap
			}
			if gap >= minDistance {
				return c
			}
		}
		return best
	}
	a = pick(nil)
	for range 20 {
		b = pick(&a)
		// The straight line between them passes no object's color.
		ok := true
		for _, o := range avoid {
			ok = ok && distance(lerp(a, b, 0.5), o) >= minDistance
		}
		if ok {
			return a, b
		}
	}
	return a, a
}

func uniform(r *rand.Rand, lo, hi float64) float64 { return lo + (hi-lo)*r.Float64() }

func choice[T any](r *rand.Rand, list []T) T { return list[r.IntN(len(list))] }
