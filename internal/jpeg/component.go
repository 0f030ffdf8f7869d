package jpeg

import "fmt"

// component is the state of one component of the picture.
type component struct {
	frameComponent
	out          plane
	wide, high   int        // in blocks, what belongs to the picture
	stride, rows int        // in blocks, with what fills the last MCU up
	coef         []int16    // [rows][stride][64], blocks in natural order; nil when streamed
	quant        *[64]int16 // of the component's first scan

	// Of the present scan.
	dcTable, acTable byte
	dc, ac           *huffman
	pred             int32   // the last DC coefficient
	context          int     // of the DC coefficient, in arithmetic coding
	row              []int16 // the present row of MCUs: [v or 1][stride][64]

	// Of a progressive file: up to which bit the coefficients are known, in coded
	// order, -1 for not at all; and before the component's last scan.
	known       [64]int8
	knownBefore [64]int8
}

// block returns the block in that column and row of the present row of MCUs.
func (c *component) block(x, y int) *[64]int16 {
	return (*[64]int16)(c.row[64*(y*c.stride+x):])
}

// index returns the component's place in the frame.
func (c *component) index(d *Decoder) int {
	for i := range d.comps {
		if c == &d.comps[i] {
			return i
		}
	}
	return 0
}

// inverse transforms the y-th row of the blocks in coef to dst. A component
// without data is gray.
func (c *component) inverse(dst []byte, coef []int16, y int) {
	if c.quant == nil {
		for i := range dst[:8*c.out.stride] {
			dst[i] = 128
		}
		return
	}
	coef = coef[64*c.stride*y:]
	for x := range c.wide {
		inverseDCT(dst[8*x:], c.out.stride, (*[64]int16)(coef[64*x:]), c.quant)
	}
}

// layOut computes how many blocks each component has.
func (d *Decoder) layOut() error {
	hMax, vMax := 1, 1
	for _, c := range d.components {
		hMax, vMax = max(hMax, c.h), max(vMax, c.v)
	}
	d.mcusX, d.mcusY = ceilDiv(d.Width, 8*hMax), ceilDiv(d.Height, 8*vMax)
	for _, c := range d.components {
		if hMax%c.h != 0 || vMax%c.v != 0 { // libjpeg refuses them too
			return unsupported("sampling factors %d×%d of %d×%d", c.h, c.v, hMax, vMax)
		}
		p := plane{hx: hMax / c.h, vx: vMax / c.v}
		p.w, p.h = ceilDiv(d.Width, p.hx), ceilDiv(d.Height, p.vx)
		b := component{frameComponent: c, wide: ceilDiv(p.w, 8), high: ceilDiv(p.h, 8), stride: d.mcusX * c.h, rows: d.mcusY * c.v}
		p.stride = 8 * b.wide
		b.out = p
		for i := range b.known {
			b.known[i] = -1
		}
		d.comps = append(d.comps, b)
	}
	if d.Width == 0 {
		return fmt.Errorf("the picture is empty: %d×%d pixels", d.Width, d.Height)
	}
	return nil
}

func ceilDiv(a, b int) int {
	return (a + b - 1) / b
}
