package pillow

import (
	"slices"

	"paligemma/internal/parallel"
)

// Resize resizes RGB src [srcH][srcW][3] to [h][w][3] as Image.resize does with
// Resampling.BICUBIC (a = −0.5, antialiased when shrinking, 22-bit weights). The
// result is a copy even where the size stays. All sizes must be positive.
func Resize(src []byte, srcW, srcH, w, h int) []byte {
	r := NewResizer(srcW, srcH, 1, w, h)
	for rows := range slices.Chunk(src[:3*srcW*srcH], 3*srcW*resizeBand) {
		r.Flush(rows)
	}
	return r.Pixels()
}

// resizeBand is how many rows [Resize] gives to a [Resizer] at once.
const resizeBand = 64

// Resizer does what [Resize] does with a picture that comes in bands of rows, which
// it does not keep, and applies the EXIF orientation at the same time: the result
// has the bits that orienting first and resizing then would give.
type Resizer struct {
	srcW       int
	dst        []byte // [h][w][3]
	w, h       int
	transposed bool // columns of the source are rows of the result
	rowsFirst  bool // the pass along rows of the source comes before that along its columns

	rows    []taps[int32] // nil where the length of rows stays
	columns columnPass

	buffer  []byte // for Room
	resized []byte // rows after the pass along rows
}

// NewResizer returns a Resizer for a source of srcW × srcH pixels with that EXIF
// orientation (1 to 8), whose result has w × h pixels, upright. All sizes must be
// positive.
func NewResizer(srcW, srcH, orientation, w, h int) *Resizer {
	r := &Resizer{srcW: srcW, dst: make([]byte, 3*w*h), w: w, h: h, transposed: orientation >= 5}
	toW, toH := w, h
	tall := verticalFirst(srcW, srcH, h)
	if r.transposed {
		toW, toH = h, w
		tall = verticalFirst(srcH, srcW, h)
	}
	r.rowsFirst = r.transposed == tall
	if toW != srcW || mirrored(orientation) {
		if r.rows = bicubic8bpc(srcW, toW); mirrored(orientation) {
			r.rows = mirror(r.rows, srcW)
		}
	}
	all := bicubic8bpc(srcH, toH)
	if upsideDown(orientation) {
		all = mirror(all, srcH)
		slices.Reverse(all)
	}
	n := 3 * srcW
	if r.rowsFirst {
		n = 3 * toW
	}
	r.columns = columnPass{all: all, reversed: upsideDown(orientation), n: n}
	return r
}

// verticalFirst reports whether Image.resize makes an upright picture of srcW × srcH
// pixels h high before it changes its width, and not after.
func verticalFirst(srcW, srcH, h int) bool {
	return srcH > 100*srcW && h < srcH
}

// mirrored reports whether the columns of a picture with that EXIF orientation are
// in reverse order, before any transposition.
func mirrored(orientation int) bool {
	return orientation == 2 || orientation == 3 || orientation == 7 || orientation == 8
}

// upsideDown reports whether its rows are.
func upsideDown(orientation int) bool {
	return orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7
}

// Pixels returns the result [h][w][3], once all rows have been flushed.
func (r *Resizer) Pixels() []byte {
	return r.dst
}

// Room returns a buffer for the next n rows of the source, [n][srcW][3].
func (r *Resizer) Room(n int) []byte {
	if len(r.buffer) < 3*r.srcW*n {
		r.buffer = make([]byte, 3*r.srcW*n)
	}
	return r.buffer[:3*r.srcW*n]
}

// Flush takes the next rows of the source, any number of whole ones, from a buffer
// of [Resizer.Room] or another one.
func (r *Resizer) Flush(rows []byte) {
	if r.rowsFirst {
		r.columns.add(r.resizeRows(rows), r.put)
		return
	}
	r.columns.add(rows, func(place int, line []byte) { r.put(place, r.resizeRows(line)) })
}

// resizeRows does the pass along rows.
func (r *Resizer) resizeRows(rows []byte) []byte {
	if r.rows == nil {
		return rows
	}
	n, line := len(rows)/(3*r.srcW), 3*len(r.rows)
	if len(r.resized) < n*line {
		r.resized = make([]byte, n*line)
	}
	parallel.Range(n, line*len(r.rows[0].weights), func(lo, hi int) {
		for y := lo; y < hi; y++ {
			resizeRow(r.resized[line*y:][:line], rows[3*r.srcW*y:][:3*r.srcW], r.rows)
		}
	})
	return r.resized[:n*line]
}

// put copies a line that both passes have made into row place of the result, or
// into that column.
func (r *Resizer) put(place int, line []byte) {
	if !r.transposed {
		copy(r.dst[len(line)*place:], line)
		return
	}
	for y := range r.h {
		copy(r.dst[3*(r.w*y+place):][:3], line[3*y:])
	}
}

// resizeRow resizes a row of pixels.
func resizeRow(out, in []byte, all []taps[int32]) {
	for _, t := range all {
		r, g, b := half, half, half
		p, k := in[3*t.first:], t.weights
		for ; len(k) >= 4; p, k = p[12:], k[4:] {
			p, k := (*[12]byte)(p), (*[4]int32)(k)
			r += k[0]*int32(p[0]) + k[1]*int32(p[3]) + k[2]*int32(p[6]) + k[3]*int32(p[9])
			g += k[0]*int32(p[1]) + k[1]*int32(p[4]) + k[2]*int32(p[7]) + k[3]*int32(p[10])
			b += k[0]*int32(p[2]) + k[1]*int32(p[5]) + k[2]*int32(p[8]) + k[3]*int32(p[11])
		}
		for i, k := range k {
			r += k * int32(p[3*i])
			g += k * int32(p[3*i+1])
			b += k * int32(p[3*i+2])
		}
		out[0], out[1], out[2] = clip(r), clip(g), clip(b)
		out = out[3:]
	}
}
