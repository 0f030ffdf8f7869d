package mask

import (
	"errors"
	"fmt"
	"image"
)

// RLE is a mask in COCO's compressed run-length encoding, as pycocotools reads
// and writes it: runs of 0s and 1s in turn, 0s first, down the columns; each
// length is written as its difference from the one two before, in characters of
// 5 bits.
type RLE struct {
	Size   [2]int `json:"size"` // height, width
	Counts string `json:"counts"`
}

// MaxPixels is the size of the largest mask this package makes.
const MaxPixels = 1 << 28

// ErrRLE is wrapped by all errors about an RLE that is not one.
var ErrRLE = errors.New("invalid run-length encoding")

// Check checks a mask's size, and its length unless that is negative.
func Check(length, W, H int) error {
	switch {
	case W < 0 || H < 0:
		return fmt.Errorf("mask of %d×%d pixels: negative size", W, H)
	case W > MaxPixels || H > MaxPixels || W > 0 && H > MaxPixels/W:
		return fmt.Errorf("mask of %d×%d pixels: more than %d", W, H, MaxPixels)
	case length >= 0 && length != W*H:
		return fmt.Errorf("mask of %d×%d pixels has %d bytes", W, H, length)
	}
	return nil
}

// encodeRLE encodes a mask [H][W] of which part is what lies in the rectangle at,
// and nothing else is set.
func encodeRLE(part []byte, at image.Rectangle, W, H int) RLE {
	var counts runWriter
	w, h := at.Dx(), at.Dy()
	block := min(64, w) // columns transposed at a time, for the cache's sake
	columns := make([]bool, block*h)
	run, value := at.Min.X*H+at.Min.Y, false
	gap := H - h // from the end of a column of part to the next one's beginning
	for x0 := 0; x0 < w; x0 += block {
		n := min(block, w-x0)
		for y := range h {
			for i, v := range part[y*w+x0 : y*w+x0+n] {
				columns[i*h+y] = v != 0
			}
		}
		for i := range n {
			for _, v := range columns[i*h : (i+1)*h] {
				if v != value {
					counts.add(run)
					run, value = 0, v
				}
				run++
			}
			if gap > 0 && value {
				counts.add(run)
				run, value = 0, false
			}
			run += gap
		}
	}
	// Each column was followed by its gap: so the last one's reaches past the end
	// if there are no columns after it.
	rest := W*H - at.Max.X*H - at.Min.Y
	if w == 0 {
		rest = W*H - run
	}
	if value && rest > 0 {
		counts.add(run)
		run = 0
	}
	if run += rest; run > 0 || counts.n == 0 {
		counts.add(run)
	}
	return RLE{Size: [2]int{H, W}, Counts: string(counts.buf)}
}

// runWriter writes the lengths of runs.
type runWriter struct {
	buf  []byte
	last [2]int // the lengths before, the latest first
	n    int
}

// add appends a length: from the fourth on its difference from the one two
// before, in groups of 5 bits, low ones first. Bit 5 of a group says that more
// follow, bit 4 of the last one is the sign; 48 is added to make characters.
func (w *runWriter) add(run int) {
	v := run
	if w.n > 2 {
		v -= w.last[1]
	}
	w.last[0], w.last[1] = run, w.last[0]
	w.n++
	for {
		c := v & 0x1f
		v >>= 5
		done := v == 0 && c&0x10 == 0 || v == -1 && c&0x10 != 0
		if !done {
			c |= 0x20
		}
		w.buf = append(w.buf, byte(c+48))
		if done {
			return
		}
	}
}

// runs calls each with the runs of r in turn: of value false or true, from
// position start, column-major, n pixels long. It checks everything: size,
// characters, lengths, and that they add up to the mask. After an error, what
// has been reported means nothing.
func (r RLE) runs(each func(value bool, start, n int)) error {
	H, W := r.Size[0], r.Size[1]
	if err := Check(-1, W, H); err != nil {
		return fmt.Errorf("%w: %w", ErrRLE, err)
	}
	total, pos, n := W*H, 0, 0
	var last [2]int // the lengths before, the latest first
	for i := 0; i < len(r.Counts); n++ {
		v, shift := 0, 0
		for more := true; more; i++ {
			if i == len(r.Counts) {
				return fmt.Errorf("%w: the last length is cut short", ErrRLE)
			}
			c := int(r.Counts[i]) - 48
			if c < 0 || c > 0x3f {
				return fmt.Errorf("%w: character %q at %d", ErrRLE, r.Counts[i], i)
			}
			if shift > 30 {
				return fmt.Errorf("%w: length %d has more than 7 characters", ErrRLE, n)
			}
			v |= c & 0x1f << shift
			shift += 5
			more = c&0x20 != 0
			if !more && c&0x10 != 0 {
				v |= -1 << shift
			}
		}
		if n > 2 {
			v += last[1]
		}
		if v < 0 || v > total-pos {
			return fmt.Errorf("%w: length %d is %d with %d pixels left", ErrRLE, n, v, total-pos)
		}
		each(n%2 == 1, pos, v)
		pos += v
		last[0], last[1] = v, last[0]
	}
	if pos != total {
		return fmt.Errorf("%w: the lengths add up to %d of %d pixels", ErrRLE, pos, total)
	}
	return nil
}

// DecodeRLE returns the mask [H][W] of 0 and 1 that r encodes. Its errors wrap
// ErrRLE. Nothing is allocated before all of r has been checked.
func DecodeRLE(r RLE) ([]byte, error) {
	if err := r.runs(func(bool, int, int) {}); err != nil {
		return nil, err
	}
	H, W := r.Size[0], r.Size[1]
	mask := make([]byte, W*H)
	err := r.runs(func(value bool, start, n int) {
		if !value || n == 0 {
			return
		}
		x, y := start/H, start%H
		for range n {
			mask[y*W+x] = 1
			if y++; y == H {
				x, y = x+1, 0
			}
		}
	})
	return mask, err
}

// Area returns the number of pixels in the mask. Its errors wrap ErrRLE.
func (r RLE) Area() (int, error) {
	area := 0
	err := r.runs(func(value bool, _, n int) {
		if value {
			area += n
		}
	})
	return area, err
}

// BBox returns the smallest box around the mask as COCO has it: x, y, width,
// height; all 0 if the mask is empty. Its errors wrap ErrRLE.
func (r RLE) BBox() ([4]int, error) {
	H, W := r.Size[0], r.Size[1]
	x0, y0, x1, y1 := W, H, 0, 0
	err := r.runs(func(value bool, start, n int) {
		if !value || n == 0 {
			return
		}
		first, last := start/H, (start+n-1)/H
		top, bottom := start%H, (start+n-1)%H
		if first != last { // it reaches a column's bottom and the next one's top
			top, bottom = 0, H-1
		}
		x0, x1 = min(x0, first), max(x1, last+1)
		y0, y1 = min(y0, top), max(y1, bottom+1)
	})
	if err != nil || x0 >= x1 {
		return [4]int{}, err
	}
	return [4]int{x0, y0, x1 - x0, y1 - y0}, nil
}
