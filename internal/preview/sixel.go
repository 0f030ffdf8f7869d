package preview

import (
	"bytes"
	"fmt"
	"image"
	"image/color"
	"image/color/palette"
	"image/draw"
	"strconv"
)

// band is how many rows one line of sixels has.
const band = 6

// sixel writes a picture as sixels in 256 colors, dithered. Transparent pixels are drawn
// on black.
func sixel(b *bytes.Buffer, img image.Image) {
	w, h := img.Bounds().Dx(), img.Bounds().Dy()
	opaque := image.NewRGBA(image.Rect(0, 0, w, h))
	draw.Draw(opaque, opaque.Rect, image.Black, image.Point{}, draw.Src)
	draw.Draw(opaque, opaque.Rect, img, img.Bounds().Min, draw.Over)
	indexed := image.NewPaletted(opaque.Rect, palette.Plan9)
	draw.FloydSteinberg.Draw(indexed, indexed.Rect, opaque, image.Point{})

	fmt.Fprintf(b, "\x1bP0;1;0q\"1;1;%d;%d", w, h)
	used := map[uint8]bool{}
	for _, i := range indexed.Pix {
		if !used[i] {
			used[i] = true
			c := color.RGBAModel.Convert(indexed.Palette[i]).(color.RGBA)
			fmt.Fprintf(b, "#%d;2;%d;%d;%d", i, percent(c.R), percent(c.G), percent(c.B))
		}
	}
	for y := 0; y < h; y += band {
		sixelBand(b, indexed, y)
	}
	b.WriteString("\x1b\\")
}

func percent(v uint8) int { return (int(v)*100 + 127) / 255 }

// sixelBand writes six rows from y: for each color of theirs, in the order of their
// first pixels, the line of its sixels.
func sixelBand(b *bytes.Buffer, img *image.Paletted, y int) {
	w, h := img.Rect.Dx(), img.Rect.Dy()
	bits := map[uint8][]byte{}
	var order []uint8
	for dy := 0; dy < band && y+dy < h; dy++ {
		for x, i := range img.Pix[(y+dy)*img.Stride : (y+dy)*img.Stride+w] {
			line := bits[i]
			if line == nil {
				line = make([]byte, w)
				bits[i], order = line, append(order, i)
			}
			line[x] |= 1 << dy
		}
	}
	for n, i := range order {
		if n > 0 {
			b.WriteByte('$') // back to the beginning of the line
		}
		b.WriteByte('#')
		b.WriteString(strconv.Itoa(int(i)))
		repeats(b, bytes.TrimRight(bits[i], "\x00"))
	}
	b.WriteByte('-') // the next line
}

// repeats writes sixels, runs of four and more as a count.
func repeats(b *bytes.Buffer, line []byte) {
	for len(line) > 0 {
		n := 1
		for n < len(line) && line[n] == line[0] {
			n++
		}
		c := '?' + line[0]
		if n > 3 {
			b.WriteByte('!')
			b.WriteString(strconv.Itoa(n))
			b.WriteByte(c)
		} else {
			b.Write(bytes.Repeat([]byte{c}, n))
		}
		line = line[n:]
	}
}
