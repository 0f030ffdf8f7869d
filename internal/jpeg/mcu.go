package jpeg

import "fmt"

// mcuReader reads the MCUs of a scan, the units of its data.
type mcuReader struct {
	bitReader
	scan
	decode       func(*component, *[64]int16)
	arith        *arithReader // nil with Huffman codes
	mcusX        int
	alone        bool // an MCU is one block
	interval     int  // of restart markers, or 0
	untilRestart int
	restarts     int // restart markers that were due
	damage       *damage

	// The segment has no more data: blocks stay as they are.
	exhausted bool
	y         int // the present row of MCUs of all components
	good      int // the last such row that the scan has data for
}

// newMCUReader begins to read the data of a scan, at d.pos.
func (d *Decoder) newMCUReader(s scan) *mcuReader {
	m := &mcuReader{scan: s, interval: d.interval, untilRestart: d.interval, mcusX: d.mcusX, damage: &d.damage}
	m.data, m.pos = d.data, d.pos
	if d.arithmetic {
		m.arith = &arithReader{bitReader: &m.bitReader, coding: &d.coding, scan: s}
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
func (d *Decoder) finish(m *mcuReader) {
	d.pos, d.lastGood = m.pos, m.good
	d.damage.codes += m.bad
}

// rows reads the y-th row of MCUs of all components: of a scan of one component,
// all rows of blocks there. base returns the coefficients of a component from
// that row of MCUs on.
func (m *mcuReader) rows(y int, base func(*component) []int16) error {
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
				return fmt.Errorf("%w: the scan has no end", ErrTruncated)
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
// later, and the data that is due counts as lost; one up to two after, and codes
// that are not markers, are passed over; any other restart marker stands for the
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
			return fmt.Errorf("%w: the scan has no end", ErrTruncated)
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
func (r *bitReader) decoder(progressive bool, s scan) func(*component, *[64]int16) {
	switch {
	case !progressive:
		return r.sequential
	case s.first == 0 && s.high == 0:
		return func(c *component, b *[64]int16) { r.firstDC(c, b, s.low) }
	case s.first == 0:
		return func(_ *component, b *[64]int16) { r.refineDC(b, s.low) }
	case s.high == 0:
		return func(c *component, b *[64]int16) { r.firstAC(c.ac, b, s) }
	default:
		return func(c *component, b *[64]int16) { r.refineAC(c.ac, b, s) }
	}
}
