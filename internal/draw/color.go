package draw

import (
	"hash/fnv"
	"image/color"
	"math"
)

// palette are colors that stand out from each other and from most pictures.
var palette = [...]color.NRGBA{
	{0xe6, 0x19, 0x4b, 0xff}, {0x3c, 0xb4, 0x4b, 0xff}, {0xff, 0xe1, 0x19, 0xff}, {0x43, 0x63, 0xd8, 0xff},
	{0xf5, 0x82, 0x31, 0xff}, {0x91, 0x1e, 0xb4, 0xff}, {0x46, 0xf0, 0xf0, 0xff}, {0xf0, 0x32, 0xe6, 0xff},
	{0xbc, 0xf6, 0x0c, 0xff}, {0x00, 0x80, 0x80, 0xff}, {0xfa, 0x80, 0x72, 0xff}, {0x9a, 0x63, 0x24, 0xff},
	{0x80, 0x00, 0x00, 0xff}, {0x00, 0xc8, 0x8c, 0xff}, {0x80, 0x80, 0x00, 0xff}, {0x1e, 0x90, 0xff, 0xff},
	{0x00, 0x00, 0x9c, 0xff}, {0xff, 0x69, 0xb4, 0xff}, {0x6a, 0x5a, 0xcd, 0xff}, {0xff, 0xbf, 0x00, 0xff},
}

// paletteIndex returns the color of the palette that a label has in every picture
// where no label before it has the same.
func paletteIndex(label string) int {
	h := fnv.New32a()
	h.Write([]byte(label)) // never fails
	sum := h.Sum32()
	return int((sum ^ sum>>16) % uint32(len(palette)))
}

// Colors returns a color for each label of a picture, no two the same: that of
// paletteIndex for the first label that has it, the next free one of the palette for
// others, and when the palette is used up, more colors that differ from all. The same
// labels in the same order have the same colors. Beyond some thousand labels colors repeat.
func Colors(labels []string) map[string]color.NRGBA {
	colors := make(map[string]color.NRGBA, min(len(labels), len(palette)))
	var taken [len(palette)]bool
	var others []string
	for _, label := range labels {
		if _, ok := colors[label]; ok {
			continue
		}
		if i := paletteIndex(label); !taken[i] {
			colors[label], taken[i] = palette[i], true
		} else {
			others = append(others, label)
		}
	}
	var more spectrum
	for _, label := range others {
		if _, ok := colors[label]; ok {
			continue
		}
		i := paletteIndex(label)
		for n := 0; n < len(palette) && taken[i]; n++ {
			i = (i + 1) % len(palette)
		}
		if !taken[i] {
			colors[label], taken[i] = palette[i], true
		} else {
			colors[label] = more.next()
		}
	}
	return colors
}

// spectrum derives colors one after the other, each as far from the palette and from
// those before as there is.
type spectrum struct {
	colors []color.NRGBA // those left
	labs   [][3]int
	near   []int // the squared distance to the nearest color in use
}

const (
	spectrumStep = 0x11 // between two levels of a channel
	minChroma    = 900  // grays are left out
	labUnit      = 1e4  // whole numbers give every processor the same colors
)

// next returns the next color.
func (s *spectrum) next() color.NRGBA {
	if len(s.colors) == 0 {
		s.fill()
	}
	best := 0
	for i, d := range s.near {
		if d > s.near[best] {
			best = i
		}
	}
	c, lab := s.colors[best], s.labs[best]
	last := len(s.colors) - 1
	s.colors[best], s.labs[best], s.near[best] = s.colors[last], s.labs[last], s.near[last]
	s.colors, s.labs, s.near = s.colors[:last], s.labs[:last], s.near[:last]
	for i := range s.near {
		s.near[i] = min(s.near[i], distance(s.labs[i], lab))
	}
	return c
}

// fill lists the colors that there are.
func (s *spectrum) fill() {
	var used [len(palette)][3]int
	for i, c := range palette {
		used[i] = oklab(c)
	}
	for r := 0; r <= 0xff; r += spectrumStep {
		for g := 0; g <= 0xff; g += spectrumStep {
			for b := 0; b <= 0xff; b += spectrumStep {
				c := color.NRGBA{uint8(r), uint8(g), uint8(b), 0xff}
				lab := oklab(c)
				near := math.MaxInt
				for _, u := range used {
					near = min(near, distance(lab, u))
				}
				if near > 0 && lab[1]*lab[1]+lab[2]*lab[2] >= minChroma*minChroma {
					s.colors, s.labs, s.near = append(s.colors, c), append(s.labs, lab), append(s.near, near)
				}
			}
		}
	}
}

func distance(a, b [3]int) int {
	d := 0
	for k := range a {
		d += (a[k] - b[k]) * (a[k] - b[k])
	}
	return d
}

// oklab returns a color in OKLab, where distances are about what eyes see, in parts of
// 1/labUnit.
func oklab(c color.NRGBA) [3]int {
	r, g, b := linear(c.R), linear(c.G), linear(c.B)
	l := math.Cbrt(0.4122214708*r + 0.5363325363*g + 0.0514459929*b)
	m := math.Cbrt(0.2119034982*r + 0.6806995451*g + 0.1073969566*b)
	s := math.Cbrt(0.0883024619*r + 0.2817188376*g + 0.6299787005*b)
	whole := func(v float64) int { return int(math.Round(v * labUnit)) }
	return [3]int{
		whole(0.2104542553*l + 0.7936177850*m - 0.0040720468*s),
		whole(1.9779984951*l - 2.4285922050*m + 0.4505937099*s),
		whole(0.0259040371*l + 0.7827717662*m - 0.8086757660*s),
	}
}

// linear undoes the gamma of a channel of sRGB.
func linear(v uint8) float64 {
	x := float64(v) / 0xff
	if x <= 0.04045 {
		return x / 12.92
	}
	return math.Pow((x+0.055)/1.055, 2.4)
}

// textColor returns black or white, whichever has the higher contrast on c (WCAG 2),
// which is at least 4.5:1.
func textColor(c color.NRGBA) color.NRGBA {
	luminance := 0.2126*linear(c.R) + 0.7152*linear(c.G) + 0.0722*linear(c.B)
	if (luminance+0.05)*(luminance+0.05) > 1.05*0.05 {
		return color.NRGBA{A: 0xff}
	}
	return color.NRGBA{0xff, 0xff, 0xff, 0xff}
}
