package jpeg

// plane holds some rows of one component of a JPEG at its own resolution. w and
// h are the size that belongs to the picture: what the file has beyond them, up
// to whole blocks, must not take part in upsampling.
type plane struct {
	pix    []byte // rows from top on
	top    int
	stride int
	w, h   int
	hx, vx int // how many pixels of the picture a sample covers
}

func (p *plane) row(y int) []byte {
	return p.pix[p.stride*(min(max(y, 0), p.h-1)-p.top):][:p.w]
}

// keep makes room for rows from first on, and keeps the one above.
func (p *plane) keep(first int) {
	top := max(first-contextRows, p.top)
	copy(p.pix, p.pix[p.stride*(top-p.top):][:p.stride*(first-top)])
	p.top = top
}

// upsample writes row y of the picture to dst as libjpeg-turbo's "fancy"
// upsampling does (jdsample.c): a triangle filter, 3/4 of the nearer sample and
// 1/4 of the farther one in each direction that is halved, with rounding that
// alternates so that there is no bias. Other ratios, and rows of one or two
// samples, are repeated. sums is room for p.w numbers.
func (p *plane) upsample(dst []byte, y int, sums []int32) {
	switch {
	case p.hx == 1 && p.vx == 1:
		copy(dst, p.row(y))
	case p.hx == 2 && p.vx == 1 && p.w > 2:
		in := p.row(y)
		for i, v := range in {
			sums[i] = int32(v)
		}
		triangle(dst, sums[:len(in)], 1, 2, 2)
	case p.hx == 2 && p.vx == 2 && p.w > 2:
		p.blendRows(sums, y)
		triangle(dst, sums[:p.w], 8, 7, 4)
	case p.hx == 1 && p.vx == 2:
		p.blendRows(sums, y)
		bias := int32(1 + y&1)
		for x := range dst {
			dst[x] = byte((sums[x] + bias) >> 2)
		}
	default:
		in := p.row(y / p.vx)
		for x := range dst {
			dst[x] = in[x/p.hx]
		}
	}
}

// blendRows sets sums to thrice the nearer row of samples plus the farther one.
func (p *plane) blendRows(sums []int32, y int) {
	near, far := p.row(y/2), p.row(y/2-1+2*(y&1))
	for i, v := range near {
		sums[i] = 3*int32(v) + int32(far[i])
	}
}

// triangle doubles a row of sums. even and odd are what is added before the
// shift to round samples left and right of a sum's center.
func triangle(dst []byte, sums []int32, even, odd int32, shift uint) {
	shift &= 31 // known to the compiler
	v := sums[0]
	before := v // at the ends the sample stands for its neighbor
	for i, after := range sums[1:] {
		pair := (*[2]byte)(dst[2*i:])
		pair[0] = byte((3*v + before + even) >> shift)
		pair[1] = byte((3*v + after + odd) >> shift)
		before, v = v, after
	}
	rest := dst[2*(len(sums)-1):]
	rest[0] = byte((3*v + before + even) >> shift)
	if len(rest) > 1 {
		rest[1] = byte((4*v + odd) >> shift)
	}
}
