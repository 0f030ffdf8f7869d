package jpeg

import "fmt"

// maxScans bounds the passes over a progressive JPEG, each of which may cost
// the time of the whole picture and only a few bytes of file. Encoders make
// about ten.
const maxScans = 256

// scan is a scan's header.
type scan struct {
	components  []*component
	first, last int // places of the coefficients, in coded order
	high, low   int // bits: what earlier scans stopped at, what this one stops at
}

// check refuses coefficients and bits that no scan of a progressive file has.
func (s *scan) check() error {
	n := len(s.components)
	if s.last > 63 || s.first > s.last || s.first == 0 && s.last > 0 || s.first > 0 && n > 1 {
		return fmt.Errorf("a scan has coefficients %d to %d of %d components", s.first, s.last, n)
	}
	if s.low > 13 || s.high != 0 && s.high != s.low+1 {
		return fmt.Errorf("a scan has bits from %d to %d", s.high, s.low)
	}
	return nil
}

// scanHeader reads an SOS segment (T.81, B.2.3) and gives the components their
// tables.
func (d *Decoder) scanHeader() (s scan, err error) {
	body, err := d.body(false)
	if err != nil {
		return s, err
	}
	if d.scanCount++; d.scanCount > maxScans {
		return s, unsupported("more than %d scans", maxScans)
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
func (d *Decoder) scanComponent(before []*component, id byte) (*component, error) {
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
// scan that does not fit those before it is decoded all the same.
func (d *Decoder) progression(s scan) error {
	if err := s.check(); err != nil {
		return err
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
func (d *Decoder) prepare(c *component, s scan) (err error) {
	c.pred = 0
	if c.quant == nil {
		if c.tq > 3 || d.quant[c.tq] == nil {
			return fmt.Errorf("component %d lacks its quantization table %d", c.id, c.tq)
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
