package scene

import (
	"bytes"
	"image"
	"image/draw"
	"image/jpeg"
	"math"
	"math/rand/v2"
)

// Backgrounds are the kinds of background.
var Backgrounds = []string{"gradient", "stripes", "texture", "noise"}

// paintBackground fills img with a background whose colors are far from avoid.
func paintBackground(img *image.RGBA, r *rand.Rand, kind string, avoid []rgb) {
	a, b := groundColors(r, avoid)
	var ramp [256][3]uint8
	for i := range ramp {
		ramp[i] = lerp(a, b, float64(i)/255).bytes()
	}
	w, h := img.Rect.Dx(), img.Rect.Dy()
	long := float64(max(w, h))
	sin, cos := math.Sincos(uniform(r, 0, 2*math.Pi))
	var at func(x, y float64) float64 // 0 to 1: between the two colors
	switch kind {
	case "gradient":
		cx, cy := uniform(r, 0, 1)*float64(w), uniform(r, 0, 1)*float64(h)
		if r.IntN(2) == 0 {
			at = func(x, y float64) float64 { return math.Sqrt((x-cx)*(x-cx)+(y-cy)*(y-cy)) / long }
		} else {
			at = func(x, y float64) float64 { return 0.5 + ((x-cx)*cos+(y-cy)*sin)/(1.4*long) }
		}
	case "stripes":
		period := uniform(r, 0.05, 0.2) * long
		share := uniform(r, 0.3, 0.7) * period
		at = func(x, y float64) float64 {
			p := (x*cos + y*sin) / period
			p = (p - math.Floor(p)) * period
			return math.Min(math.Max(math.Min(p, share-p)+0.5, 0), 1)
		}
	case "texture":
		at = texture(r, sin, cos, uniform(r, 0.05, 0.12)*long)
	default:
		at = clouds(r, w, h, uniform(r, 0.08, 0.3)*long)
	}
	for y := range h {
		row := img.Pix[y*img.Stride:]
		for x := range w {
			t := min(max(at(float64(x), float64(y)), 0), 1)
			c := &ramp[int(t*255)]
			p := row[4*x : 4*x+4 : 4*x+4]
			p[0], p[1], p[2], p[3] = c[0], c[1], c[2], 255
		}
	}
}

// texture is a checkerboard, a weave or dots; cell is the size of a cell in pixels.
func texture(r *rand.Rand, sin, cos, cell float64) func(x, y float64) float64 {
	switch r.IntN(3) {
	case 0: // checkerboard
		return func(x, y float64) float64 {
			u, v := (x*cos-y*sin)/cell, (x*sin+y*cos)/cell
			return float64((int(math.Floor(u)) + int(math.Floor(v))) & 1)
		}
	case 1: // weave
		wave := sines()
		return func(x, y float64) float64 {
			return 0.5 + 0.25*(wave((x*cos-y*sin)/cell)+wave((x*sin+y*cos)/cell))
		}
	}
	size := uniform(r, 0.15, 0.35)
	return func(x, y float64) float64 { // dots
		u, v := (x*cos-y*sin)/cell, (x*sin+y*cos)/cell
		u, v = u-math.Floor(u)-0.5, v-math.Floor(v)-0.5
		return min(max((size-math.Sqrt(u*u+v*v))*cell+0.5, 0), 1)
	}
}

// sines returns the sine of an angle in turns, from a table.
func sines() func(turns float64) float64 {
	const n = 256
	var table [n]float64
	for i := range table {
		table[i] = math.Sin(2 * math.Pi * float64(i) / n)
	}
	return func(turns float64) float64 { return table[int((turns-math.Floor(turns))*n)%n] }
}

// clouds is smooth noise of two scales, the coarser one with cells of cell pixels.
func clouds(r *rand.Rand, w, h int, cell float64) func(x, y float64) float64 {
	a, b := valueNoise(r, w, h, cell), valueNoise(r, w, h, cell/3)
	return func(x, y float64) float64 { return 1.6*(0.7*a(x, y)+0.3*b(x, y)) - 0.3 }
}

// valueNoise is noise of 0 to 1 between random values on a grid.
func valueNoise(r *rand.Rand, w, h int, cell float64) func(x, y float64) float64 {
	cell = math.Max(cell, 2)
	cols, rows := int(float64(w)/cell)+2, int(float64(h)/cell)+2
	grid := make([]float64, cols*rows)
	for i := range grid {
		grid[i] = r.Float64()
	}
	return func(x, y float64) float64 {
		u, v := x/cell, y/cell
		i, j := int(u), int(v)
		u, v = u-float64(i), v-float64(j)
		u, v = u*u*(3-2*u), v*v*(3-2*v)
		g := grid[j*cols+i:]
		top := g[0] + (g[1]-g[0])*u
		bottom := g[cols] + (g[cols+1]-g[cols])*u
		return top + (bottom-top)*v
	}
}

// paintObject lays a shape over the picture, a little lighter on one side.
func paintObject(img *image.RGBA, r *rand.Rand, cover *image.Alpha, fill rgb) {
	sin, cos := math.Sincos(uniform(r, 0, 2*math.Pi))
	b := cover.Rect
	step := uniform(r, 0, 0.16) / float64(max(b.Dx(), b.Dy()))
	clip := b.Intersect(img.Rect)
	for y := clip.Min.Y; y < clip.Max.Y; y++ {
		for x := clip.Min.X; x < clip.Max.X; x++ {
			a := float64(cover.Pix[cover.PixOffset(x, y)]) / 255
			if a == 0 {
				continue
			}
			k := 1 + step*(cos*(float64(x)-float64(b.Min.X+b.Max.X)/2)+sin*(float64(y)-float64(b.Min.Y+b.Max.Y)/2))
			p := img.Pix[img.PixOffset(x, y):]
			for i := range fill {
				p[i] = uint8(min(max(float64(p[i])*(1-a)+fill[i]*k*a, 0), 255) + 0.5)
			}
		}
	}
}

// light makes the picture brighter on one side than on the other, and a little
// warmer or colder.
func light(img *image.RGBA, r *rand.Rand) {
	w, h := img.Rect.Dx(), img.Rect.Dy()
	from, to := uniform(r, 0.8, 1.08), uniform(r, 0.8, 1.08)
	warm := uniform(r, -0.04, 0.04)
	sin, cos := math.Sincos(uniform(r, 0, 2*math.Pi))
	reach := math.Abs(float64(w)*cos) + math.Abs(float64(h)*sin)
	// 16 bits after the point; the light changes evenly along a row.
	gain := [3]float64{1 + warm, 1, 1 - warm}
	step := (to - from) * cos / reach * 65536
	for y := range h {
		k := 65536 * (from + (to-from)*(0.5+((0.5-float64(w)/2)*cos+(float64(y)-float64(h)/2)*sin)/reach))
		row := img.Pix[y*img.Stride:]
		r0, g0, b0 := int64(k*gain[0]*65536), int64(k*gain[1]*65536), int64(k*gain[2]*65536)
		dr, dg, db := int64(step*gain[0]*65536), int64(step*gain[1]*65536), int64(step*gain[2]*65536)
		for x := range w {
			p := row[4*x : 4*x+4 : 4*x+4]
			p[0] = lit(p[0], r0)
			p[1] = lit(p[1], g0)
			p[2] = lit(p[2], b0)
			r0, g0, b0 = r0+dr, g0+dg, b0+db
		}
	}
}

func lit(v uint8, k int64) uint8 {
	return uint8(min((int64(v)*(k>>16)+1<<15)>>16, 255))
}

// grain adds the noise of a sensor.
func grain(img *image.RGBA, r *rand.Rand) {
	level := uint64(r.IntN(13))
	if level == 0 {
		return
	}
	for i := 0; i+4 <= len(img.Pix); i += 4 {
		bits := r.Uint64()
		for c := range 3 { // the mean of two even distributions
			n := int(bits&0xff*(2*level+1)>>8) + int(bits>>8&0xff*(2*level+1)>>8)
			bits >>= 16
			img.Pix[i+c] = uint8(min(max(int(img.Pix[i+c])+n/2-int(level), 0), 255))
		}
	}
}

// throughJPEG returns the picture after JPEG of a quality. Where that fails,
// which encoding to memory does not, it returns img.
func throughJPEG(img *image.RGBA, quality int) *image.RGBA {
	var buf bytes.Buffer
	if err := jpeg.Encode(&buf, img, &jpeg.Options{Quality: quality}); err != nil {
		return img
	}
	m, err := jpeg.Decode(&buf)
	if err != nil {
		return img
	}
	out := image.NewRGBA(img.Rect)
	draw.Draw(out, out.Rect, m, m.Bounds().Min, draw.Src)
	return out
}
