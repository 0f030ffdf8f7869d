package preprocess

import (
	"fmt"
	"slices"
)

// jpegScan is a scan's header.
type jpegScan struct {
	components  []*blocks
	first, last int // places of the coefficients, in coded order
	high, low   int // bits: what earlier scans stopped at, what this one stops at
}

// scanHeader reads the body of an SOS segment (T.81, B.2.3) and gives the
// components their tables.
func (d *jpegDecoder) scanHeader(body []byte) (s jpegScan, err error) {
	if len(body) < 1 || len(body) != 4+2*int(body[0]) {
		return s, fmt.Errorf("a scan header has %d bytes", len(body))
	}
	n := int(body[0])
	if n < 1 || n > len(d.comps) {
		return s, fmt.Errorf("a scan has %d components of %d", n, len(d.comps))
	}
	tail := body[1+2*n:]
	s.first, s.last, s.high, s.low = int(tail[0]), int(tail[1]), int(tail[2]>>4), int(tail[2]&15)
	if !d.progressive {
		s.first, s.last, s.high, s.low = 0, 63, 0, 0 // some files have zeros there
	} else if s.last > 63 || s.first > s.last || s.first == 0 && s.last > 0 || s.first > 0 && n > 1 {
		return s, fmt.Errorf("a scan has coefficients %d to %d of %d components", s.first, s.last, n)
	} else if s.low > 13 || s.high != 0 && s.high != s.low+1 {
		return s, fmt.Errorf("a scan has bits from %d to %d", s.high, s.low)
	}
	perMCU := 0
	for spec := body[1:][:2*n]; len(spec) > 0; spec = spec[2:] {
		// Where components share a number they come in order, as in libjpeg.
		i := 0
		for i < len(d.comps) && (d.comps[i].id != spec[0] || slices.Contains(s.components, &d.comps[i])) {
			i++
		}
		if i == len(d.comps) {
			return s, fmt.Errorf("a scan has component %d, which is not in the picture, or has it twice", spec[0])
		}
		c := &d.comps[i]
		s.components = append(s.components, c)
		perMCU += c.h * c.v
		if err := d.prepare(c, s, spec[1]>>4, spec[1]&15); err != nil {
			return s, err
		}
	}
	if n > 1 && perMCU > 10 { // the standard's limit, and libjpeg's
		return s, fmt.Errorf("a scan has %d blocks in a unit", perMCU)
	}
	return s, nil
}

// prepare readies a component for a scan that names these tables.
func (d *jpegDecoder) prepare(c *blocks, s jpegScan, dc, ac byte) error {
	c.pred = 0
	var err error
	if s.first == 0 && s.high == 0 {
		if c.dc, err = d.huffman(0, dc, !d.progressive); err != nil {
			return err
		}
	}
	if s.last > 0 {
		if c.ac, err = d.huffman(1, ac, !d.progressive); err != nil {
			return err
		}
	}
	if c.quant != nil {
		if !d.progressive {
			return fmt.Errorf("component %d has two scans", c.id)
		}
		return nil
	}
	if c.tq > 3 || d.quant[c.tq] == nil {
		return fmt.Errorf("component %d lacks its quantisation table %d", c.id, c.tq)
	}
	c.quant = d.quant[c.tq]
	return nil
}

// scan decodes a scan's data, at the beginning of rest.
func (d *jpegDecoder) scan(s jpegScan, rest []byte) error {
	r := &bitReader{data: rest}
	m := mcuReader{bitReader: r, jpegScan: s, decode: r.decoder(d.progressive, s), interval: d.interval, untilRestart: d.interval}
	mcusY := d.mcusY
	m.mcusX = d.mcusX
	if m.alone = len(s.components) == 1; m.alone { // then an MCU is a block, with none to fill up
		m.mcusX, mcusY = s.components[0].wide, s.components[0].high
	}
	if !d.progressive && len(s.components) == len(d.comps) && !d.keep {
		return d.stream(m.row)
	}
	for _, c := range s.components {
		if c.coef == nil {
			c.coef = make([]int16, 64*c.stride*c.rows)
		}
	}
	for y := range mcusY {
		for _, c := range s.components {
			high := c.v
			if m.alone {
				high = 1
			}
			c.row = c.coef[64*c.stride*high*y:]
		}
		if err := m.row(); err != nil {
			return err
		}
	}
	return nil
}

// mcuReader reads the MCUs of a scan, the units of its data.
type mcuReader struct {
	*bitReader
	jpegScan
	decode       func(*blocks, *[64]int16)
	mcusX        int
	alone        bool // an MCU is one block
	interval     int  // of restart markers, or 0
	untilRestart int
	restarts     int
}

// row reads the next row of MCUs.
func (m *mcuReader) row() error {
	for x := range m.mcusX {
		if m.interval > 0 {
			if m.untilRestart == 0 {
				if err := m.restart(m.restarts & 7); err != nil {
					return err
				}
				for _, c := range m.components {
					c.pred = 0
				}
				m.untilRestart = m.interval
				m.restarts++
			}
			m.untilRestart--
		}
		for _, c := range m.components {
			if m.alone {
				m.decode(c, c.block(x, 0))
				break
			}
			for v := range c.v {
				for h := range c.h {
					m.decode(c, c.block(x*c.h+h, v))
				}
			}
		}
		if err := m.err(); err != nil {
			return err
		}
	}
	return nil
}

// decoder is the function that decodes a block in such a scan.
func (r *bitReader) decoder(progressive bool, s jpegScan) func(*blocks, *[64]int16) {
	switch {
	case !progressive:
		return r.sequential
	case s.first == 0 && s.high == 0:
		return func(c *blocks, b *[64]int16) { r.firstDC(c, b, s.low) }
	case s.first == 0:
		return func(_ *blocks, b *[64]int16) { r.refineDC(b, s.low) }
	case s.high == 0:
		return func(c *blocks, b *[64]int16) { r.firstAC(c.ac, b, s) }
	default:
		return func(c *blocks, b *[64]int16) { r.refineAC(c.ac, b, s) }
	}
}

// sequential decodes a block of a baseline or extended sequential file (T.81,
// F.2.2).
func (r *bitReader) sequential(c *blocks, b *[64]int16) {
	if size := r.symbol(c.dc); size > 0 {
		c.pred += extend(r.bits(size), size)
	}
	b[0] = int16(c.pred)
	ac := c.ac
	acc, left := r.acc, r.left
	for k := 1; k < 64; k++ {
		if left < 32 {
			acc, left = r.fill(acc, left)
		}
		look := acc >> (64 - lookBits)
		if e := ac.short[look]; e != 0 {
			acc <<= e & 63
			left -= int(e & 63)
			k += int(e >> 8 & 15)
			if k > 63 {
				r.bad = true
				break
			}
			b[zigzag[k]] = int16(e >> 16)
			continue
		}
		symbol, length := byte(0), 0
		if e := ac.look[look]; e != 0 {
			symbol, length = byte(e), int(e>>8)
		} else if symbol, length = ac.long(acc); length == 0 {
			r.bad = true
			break
		}
		acc <<= length & 63
		left -= length
		run, size := int(symbol>>4), int(symbol&15)
		if size == 0 {
			if run < 15 {
				r.bad = r.bad || run > 0 // only progressive files have them
				break
			}
			k += 15
			continue
		}
		if k += run; k > 63 {
			r.bad = true
			break
		}
		b[zigzag[k]] = int16(extend(int32(acc>>((64-size)&63)), size))
		acc <<= size & 63
		left -= size
	}
	r.acc, r.left = acc, left
}
