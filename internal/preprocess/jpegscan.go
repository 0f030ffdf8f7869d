package preprocess

import (
	"fmt"
)

// jpegScan is a scan's header.
type jpegScan struct {
	components  []*blocks
	first, last int // places of the coefficients, in coded order
	high, low   int // bits: what earlier scans stopped at, what this one stops at
}

// scanHeader reads an SOS segment (T.81, B.2.3) and gives the components their
// tables.
func (d *jpegDecoder) scanHeader() (s jpegScan, err error) {
	body, err := d.body(false)
	if err != nil {
		return s, err
	}
	if d.scanCount++; d.scanCount > maxScans {
		return s, fmt.Errorf("%w: more than %d scans", ErrUnsupported, maxScans)
	}
	if len(body) < 1 || len(body) != 4+2*int(body[0]) || body[0] < 1 || body[0] > 4 {
		return s, fmt.Errorf("a scan header has %d bytes", len(body))
	}
	n := int(body[0])
	for spec := body[1:][:2*n]; len(spec) > 0; spec = spec[2:] {
		c, err := d.scanComponent(s.components, spec[0])
		if err != nil {
			return s, err
		}
		c.dcTable, c.acTable = spec[1]>>4, spec[1]&15
		s.components = append(s.components, c)
	}
	tail := body[1+2*n:]
	s.first, s.last, s.high, s.low = int(tail[0]), int(tail[1]), int(tail[2]>>4), int(tail[2]&15)
	if d.progressive {
		err = d.progression(s)
	} else {
		s.first, s.last, s.high, s.low = 0, 63, 0, 0 // some files have zeros there
	}
	if err != nil {
		return s, err
	}
	perMCU := 0
	for _, c := range s.components {
		perMCU += c.h * c.v
		if err := d.prepare(c, s); err != nil {
			return s, err
		}
	}
	if n > 1 && perMCU > 10 { // the standard's limit, and libjpeg's
		return s, fmt.Errorf("a scan has %d blocks in a unit", perMCU)
	}
	return s, nil
}

// scanComponent finds the component with that number for the place after those
// that the scan has. As in libjpeg (get_sos in jdmarker.c), components come in
// the order of the frame, whether or not they share a number.
func (d *jpegDecoder) scanComponent(before []*blocks, id byte) (*blocks, error) {
	for i := range d.comps {
		if d.comps[i].id != id || i < len(before) {
			continue
		}
		for _, c := range before {
			if c == &d.comps[i] {
				return nil, fmt.Errorf("a scan has component %d twice", id)
			}
		}
		return &d.comps[i], nil
	}
	return nil, fmt.Errorf("a scan has component %d, which is not in the picture or out of order", id)
}

// progression checks what a scan of a progressive file adds, and notes it: a
// scan that does not go with those before it is decoded all the same.
func (d *jpegDecoder) progression(s jpegScan) error {
	n := len(s.components)
	if s.last > 63 || s.first > s.last || s.first == 0 && s.last > 0 || s.first > 0 && n > 1 {
		return fmt.Errorf("a scan has coefficients %d to %d of %d components", s.first, s.last, n)
	}
	if s.low > 13 || s.high != 0 && s.high != s.low+1 {
		return fmt.Errorf("a scan has bits from %d to %d", s.high, s.low)
	}
	odd := false
	for _, c := range s.components {
		odd = odd || s.first > 0 && c.known[0] < 0
		for i := min(s.first, 1); i <= max(s.last, smoothCoefs-1); i++ {
			c.knownBefore[i] = 0
			if d.scanCount > 1 {
				c.knownBefore[i] = c.known[i]
			}
		}
		for i := s.first; i <= s.last; i++ {
			odd = odd || int(max(c.known[i], 0)) != s.high
			c.known[i] = int8(s.low)
		}
	}
	if odd {
		d.damage.scans++
	}
	return nil
}

// prepare readies a component for a scan that names its tables.
func (d *jpegDecoder) prepare(c *blocks, s jpegScan) (err error) {
	c.pred = 0
	if c.quant == nil {
		if c.tq > 3 || d.quant[c.tq] == nil {
			return fmt.Errorf("component %d lacks its quantisation table %d", c.id, c.tq)
		}
		c.quant = d.quant[c.tq]
	}
	if d.arithmetic {
		return nil
	}
	if s.first == 0 && s.high == 0 {
		if c.dc, err = d.huffman(0, c.dcTable, !d.progressive); err != nil {
			return err
		}
	}
	if s.last > 0 {
		c.ac, err = d.huffman(1, c.acTable, !d.progressive)
	}
	return err
}

// mcuReader reads the MCUs of a scan, the units of its data.
type mcuReader struct {
	bitReader
	jpegScan
	decode       func(*blocks, *[64]int16)
	arith        *arithReader // nil with Huffman codes
	mcusX        int
	alone        bool // an MCU is one block
	interval     int  // of restart markers, or 0
	untilRestart int
	restarts     int // restart markers that were due
	damage       *jpegDamage

	// The segment has no more data: blocks stay as they are.
	exhausted bool
	y         int // the present row of MCUs of all components
	good      int // the last such row that the scan has data for
}

// newMCUReader begins to read the data of a scan, at d.pos.
func (d *jpegDecoder) newMCUReader(s jpegScan) *mcuReader {
	m := &mcuReader{jpegScan: s, interval: d.interval, untilRestart: d.interval, mcusX: d.mcusX, damage: &d.damage}
	m.data, m.pos = d.data, d.pos
	if d.arithmetic {
		m.arith = &arithReader{bitReader: &m.bitReader, coding: &d.coding, jpegScan: s}
		m.arith.begin()
		m.decode = m.arith.decoder(d.progressive)
	} else {
		m.decode = m.decoder(d.progressive, s)
	}
	if m.alone = len(s.components) == 1; m.alone { // then an MCU is a block, with none to fill up
		m.mcusX = s.components[0].wide
	}
	return m
}

// finish ends the scan.
func (d *jpegDecoder) finish(m *mcuReader) {
	d.pos, d.lastGood = m.pos, m.good
	d.damage.codes += m.bad
}

// rows reads the y-th row of MCUs of all components: of a scan of one component,
// all rows of blocks there. base returns the coefficients of a component from
// that row of MCUs on.
func (m *mcuReader) rows(y int, base func(*blocks) []int16) error {
	m.y = y
	n := 1
	if c := m.components[0]; m.alone {
		n = min(c.v, c.high-y*c.v)
	}
	for i := range n {
		for _, c := range m.components {
			c.row = base(c)[64*c.stride*i:]
		}
		if err := m.row(); err != nil {
			return err
		}
	}
	return nil
}

// row reads the next row of MCUs.
func (m *mcuReader) row() error {
	for x := range m.mcusX {
		if !m.exhausted {
			m.good = m.y
		}
		if m.interval > 0 {
			if m.untilRestart == 0 {
				if err := m.restart(); err != nil {
					return err
				}
			}
			m.untilRestart--
		} else if m.exhausted {
			return nil
		}
		if m.exhausted {
			continue
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
		if m.overflow {
			return fmt.Errorf("a coefficient is beyond 32 bits")
		}
		if m.left < 0 {
			if m.end {
				return fmt.Errorf("%w: the scan has no end", errTruncated)
			}
			m.exhausted, m.left = true, 0
			m.damage.short++
		}
	}
	return nil
}

// restart goes on after the restart marker that is due and drops what is left
// before it. Where another marker is there, it does what libjpeg does
// (jpeg_resync_to_restart in jdmarker.c): a marker up to two ahead stays for
// later, and the data that is due counts as lost; one up to two behind, and codes
// that are no markers, are passed over; any other restart marker stands for the
// one that is due.
func (m *mcuReader) restart() error {
	due := m.restarts & 7
	m.restarts++
	m.untilRestart = m.interval
	m.damage.skipped += m.left / 8
	m.acc, m.left, m.emptyBands = 0, 0, 0
	for _, c := range m.components {
		c.pred = 0
	}
	if m.arith != nil {
		m.arith.begin()
	}
	for mended := false; ; mended = true {
		marker, after, skipped := nextMarker(m.data, m.pos)
		if marker == 0 {
			return fmt.Errorf("%w: the scan has no end", errTruncated)
		}
		m.damage.skipped += skipped
		number := int(marker) - markerRST0
		if number != due && !mended {
			m.damage.restarts++
		}
		passed := marker < markerSOF0
		if number >= 0 && number <= 7 {
			switch (number - due) & 7 {
			case 1, 2:
				number = -1
			case 6, 7:
				passed = true
			}
		}
		switch {
		case passed:
			m.pos = after
		case number < 0 || number > 7:
			m.pos, m.marker = after-2, true
			return nil
		default:
			m.pos, m.marker, m.exhausted = after, false, false
			return nil
		}
	}
}

// decoder returns the function that decodes a block in such a scan.
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
				r.bad++
			}
			b[zigzag[k&127]] = int16(e >> 16)
			continue
		}
		symbol, length := byte(0), 0
		if e := ac.look[look]; e != 0 {
			symbol, length = byte(e), int(e>>8)
		} else if symbol, length = ac.long(acc); length == badCode {
			r.bad++
		}
		acc <<= length & 63
		left -= length
		run, size := int(symbol>>4), int(symbol&15)
		if size == 0 {
			if run < 15 {
				if run > 0 { // only progressive files have them
					r.bad++
				}
				break
			}
			k += 15
			continue
		}
		if k += run; k > 63 {
			r.bad++
		}
		b[zigzag[k&127]] = int16(extend(int32(acc>>((64-size)&63)), size))
		acc <<= size & 63
		left -= size
	}
	r.acc, r.left = acc, left
}
