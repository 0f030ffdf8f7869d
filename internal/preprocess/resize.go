package preprocess

import (
	"math"
	"slices"
)

// coeffBits is the precision of the weights: Pillow keeps 8 bits for the sample
// and 2 for the overshoot of a 32-bit accumulator.
const coeffBits = 32 - 8 - 2

const half = int32(1) << (coeffBits - 1) // rounds the shift of clip

// Resize scales src to w × h exactly as Pillow's Image.resize with
// Resampling.BICUBIC does (src/libImaging/Resample.c: a = −0.5, antialiased
// when shrinking, 22-bit weights), horizontal pass first, to the last bit.
// Pillow ≤ 12 and torchvision work in that order; Pillow 13 swaps the passes of
// some tall pictures, which may change a sample by one level. Where w and h are
// src's own it returns a copy. If w or h is not positive, or src is empty, the
// result is an empty picture.
func Resize(src *RGB, w, h int) *RGB {
	if w <= 0 || h <= 0 || src.W <= 0 || src.H <= 0 {
		return &RGB{}
	}
	r := NewResizer(src.W, src.H, 1, w, h)
	line := 3 * src.W
	for y := 0; y < src.H; y += resizeBand {
		r.flush(src.Pix[line*y : line*min(y+resizeBand, src.H)])
	}
	return r.Picture()
}

// resizeBand is how many rows [Resize] gives to a [Resizer] at once.
const resizeBand = 64

// taps are the weights of one output sample: those of the input samples from
// first on.
type taps struct {
	first  int
	weight []int32 // fixed point with coeffBits bits
}

// bicubic is Keys' kernel with a = −0.5. The conversions keep a compiler for a
// machine with fused multiply-add from fusing, which would round differently.
func bicubic(x float64) float64 {
	const a = -0.5
	x = math.Abs(x)
	switch {
	case x < 1:
		return float64(float64(float64(float64((a+2)*x)-(a+3))*x)*x) + 1
	case x < 2:
		return float64(float64(float64(float64(float64(x-5)*x)+8)*x)-4) * a
	}
	return 0
}

// weights computes the taps that scale n samples to m.
func weights(n, m int) []taps {
	scale := float64(n) / float64(m)
	stretch := max(scale, 1) // the kernel widens when shrinking
	support := 2 * stretch
	inverse := 1 / stretch
	out := make([]taps, m)
	var w []float64
	for i := range out {
		center := float64((float64(i) + 0.5) * scale)
		lo := max(int(center-support+0.5), 0)
		hi := min(int(center+support+0.5), n)
		w = w[:0]
		sum := 0.0
		for x := lo; x < hi; x++ {
			v := bicubic((float64(x) - center + 0.5) * inverse)
			w = append(w, v)
			sum += v
		}
		k := make([]int32, len(w))
		for j, v := range w {
			if sum != 0 {
				v /= sum
			}
			k[j] = int32(math.Copysign(math.Floor(math.Abs(float64(v*(1<<coeffBits)))+0.5), v))
		}
		out[i] = taps{first: lo, weight: k}
	}
	return out
}

// flip returns the taps for n samples in reverse order.
func flip(all []taps, n int) []taps {
	out := make([]taps, len(all))
	for i, t := range all {
		k := slices.Clone(t.weight)
		slices.Reverse(k)
		out[i] = taps{first: n - t.first - len(k), weight: k}
	}
	return out
}

func clip(acc int32) byte {
	return byte(min(max(acc>>coeffBits, 0), 255))
}

// rowSink takes the rows of a picture from top to bottom.
type rowSink interface {
	// room returns a buffer for the next n rows, [n][W][3].
	room(n int) []byte
	// flush takes the rows that were put into a buffer.
	flush(rows []byte)
}

// wholePicture is a rowSink that keeps all rows, in img.
type wholePicture struct {
	img  *RGB
	done int // bytes of img.Pix
}

func (p *wholePicture) room(n int) []byte {
	return p.img.Pix[p.done:][:3*p.img.W*n]
}

func (p *wholePicture) flush(rows []byte) {
	p.done += len(rows)
}

// Resizer does what [Resize] does with a picture that comes by rows, which it does
// not keep, and turns it upright at the same time: the result has the bits that
// turning first and resizing then would give.
type Resizer struct {
	srcW       int
	dst        *RGB
	transposed bool // columns of the source are rows of the result

	// The passes along rows of the source and across them. Of an upright picture,
	// the pass along comes first; of a transposed one, the pass across.
	along  []taps // nil when the length stays
	across acrossPass

	buffer []byte // for room
	scaled []byte // rows after the first pass along
}

// NewResizer returns a Resizer for a source of srcW × srcH pixels with that EXIF
// orientation (1 to 8), to give w × h pixels, upright. All sizes must be positive.
func NewResizer(srcW, srcH, orientation, w, h int) *Resizer {
	r := &Resizer{srcW: srcW, dst: newRGB(w, h), transposed: orientation >= 5}
	toW, toH := w, h
	if r.transposed {
		toW, toH = h, w
	}
	if toW != srcW || mirrored(orientation) {
		if r.along = weights(srcW, toW); mirrored(orientation) {
			r.along = flip(r.along, srcW)
		}
	}
	all := weights(srcH, toH)
	if upsideDown(orientation) {
		all = flip(all, srcH)
		slices.Reverse(all)
	}
	n := 3 * toW
	if r.transposed {
		n = 3 * srcW
	}
	r.across = acrossPass{all: all, reversed: upsideDown(orientation), n: n}
	return r
}

// mirrored reports whether the columns of a picture with that EXIF orientation are
// in reverse order, before any transposition.
func mirrored(orientation int) bool {
	return orientation == 2 || orientation == 3 || orientation == 7 || orientation == 8
}

// upsideDown reports whether the rows are.
func upsideDown(orientation int) bool {
	return orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7
}

// Write takes the next rows of the source, any number of whole ones. It returns
// len(rows) and no error.
func (r *Resizer) Write(rows []byte) (int, error) {
	r.flush(rows)
	return len(rows), nil
}

// Picture returns the result, once all rows have been written.
func (r *Resizer) Picture() *RGB {
	return r.dst
}

func (r *Resizer) room(n int) []byte {
	if len(r.buffer) < 3*r.srcW*n {
		r.buffer = make([]byte, 3*r.srcW*n)
	}
	return r.buffer[:3*r.srcW*n]
}

func (r *Resizer) flush(rows []byte) {
	if r.transposed {
		r.across.add(rows, r.column)
		return
	}
	r.across.add(r.scale(rows), func(y int, line []byte) { copy(r.dst.Pix[len(line)*y:], line) })
}

// scale does the pass along rows.
func (r *Resizer) scale(rows []byte) []byte {
	if r.along == nil {
		return rows
	}
	n, line := len(rows)/(3*r.srcW), 3*len(r.along)
	if len(r.scaled) < n*line {
		r.scaled = make([]byte, n*line)
	}
	parallel(n, line*len(r.along[0].weight), func(lo, hi int) {
		for y := lo; y < hi; y++ {
			scaleRow(r.scaled[line*y:][:line], rows[3*r.srcW*y:][:3*r.srcW], r.along)
		}
	})
	return r.scaled[:n*line]
}

// column puts a row of samples that the pass across has made into column x of the
// result.
func (r *Resizer) column(x int, line []byte) {
	line = r.scale(line)
	for y := range r.dst.H {
		copy(r.dst.Pix[3*(r.dst.W*y+x):][:3], line[3*y:])
	}
}

// scaleRow scales a row of pixels.
func scaleRow(out, in []byte, all []taps) {
	for _, t := range all {
		r, g, b := half, half, half
		p, k := in[3*t.first:], t.weight
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

// acrossPass scales the columns of rows that come one after the other.
type acrossPass struct {
	all      []taps // in the order in which they are complete
	reversed bool   // the last of the results is complete first
	n        int    // samples in a row
	rows     int    // that have come
	begun    []*acrossRow
	next     int // the first of all that is not begun
	spare    []*acrossRow
	line     []byte // a complete row
}

// acrossRow is a row of the result that lacks some rows of the source.
type acrossRow struct {
	taps
	place int
	sums  []int32
}

// end is the place after the last row of the source that it needs.
func (r *acrossRow) end() int {
	return r.first + len(r.weight)
}

// acrossStep is how many rows of the result are begun at once, so that not all of
// a much enlarged picture are.
const acrossStep = 16

// add takes the next rows and calls done for each row of the result that is
// complete with them, with its place. The line is valid during the call.
func (a *acrossPass) add(rows []byte, done func(place int, line []byte)) {
	first := a.rows
	a.rows += len(rows) / a.n
	if a.line == nil {
		a.line = make([]byte, a.n)
	}
	open := a.begun
	a.begun = nil
	for len(open) > 0 || a.next < len(a.all) && a.all[a.next].first < a.rows {
		for len(open) < acrossStep && a.next < len(a.all) && a.all[a.next].first < a.rows {
			open = append(open, a.begin(a.next))
			a.next++
		}
		a.sum(open, rows, first)
		for _, row := range open {
			if row.end() > a.rows {
				a.begun = append(a.begun, row)
				continue
			}
			for i, v := range row.sums {
				a.line[i] = clip(v)
			}
			a.spare = append(a.spare, row)
			done(row.place, a.line)
		}
		open = nil
	}
}

// sum adds rows of the source, the first of which has that place, to rows of the
// result.
func (a *acrossPass) sum(open []*acrossRow, rows []byte, first int) {
	work := 0
	for _, row := range open {
		work += max(0, min(row.end(), a.rows)-max(row.first, first))
	}
	parallel(a.n, work, func(lo, hi int) {
		for _, row := range open {
			for y := max(row.first, first); y < min(row.end(), a.rows); y++ {
				addScaled(row.sums[lo:hi], rows[a.n*(y-first):][lo:hi], row.weight[y-row.first])
			}
		}
	})
}

// begin returns the i-th row of the result, to which nothing is added yet.
func (a *acrossPass) begin(i int) *acrossRow {
	row := &acrossRow{}
	if n := len(a.spare); n > 0 {
		row, a.spare = a.spare[n-1], a.spare[:n-1]
	} else {
		row.sums = make([]int32, a.n)
	}
	row.taps, row.place = a.all[i], i
	if a.reversed {
		row.place = len(a.all) - 1 - i
	}
	for i := range row.sums {
		row.sums[i] = half
	}
	return row
}

// addScaled adds k times the samples of a row.
func addScaled(sums []int32, row []byte, k int32) {
	row = row[:len(sums)]
	for i, v := range row {
		sums[i] += k * int32(v)
	}
}
