package jpeg

import (
	"errors"
	"fmt"
)

// trailer reads what follows the only scan of a file. The picture is complete, so
// the file may end before an end marker.
func (d *Decoder) trailer() error {
	for {
		marker, err := d.next()
		switch {
		case err != nil:
		case marker == markerEOI:
			return nil
		case marker == markerSOS:
			return fmt.Errorf("another scan follows that of all components")
		default:
			err = d.segment(marker)
		}
		if errors.Is(err, ErrTruncated) {
			d.damage.noEnd = true
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// scans decodes the scan s and all that follow it, and keeps their coefficients.
func (d *Decoder) scans(s scan) error {
	if err := d.scan(s); err != nil {
		return err
	}
	for {
		marker, err := d.next()
		switch {
		case err != nil && d.complete():
			d.damage.noEnd = true
			return nil
		case err != nil || marker == markerEOI:
			return err
		case marker == markerSOS:
			s, err := d.scanHeader()
			if err != nil {
				return err
			}
			if err := d.scan(s); err != nil {
				return err
			}
		default:
			if err := d.segment(marker); err != nil {
				return err
			}
		}
	}
}

// complete reports whether no scan can be missing.
func (d *Decoder) complete() bool {
	if d.damage.scans > 0 {
		return false
	}
	for i := range d.comps {
		c := &d.comps[i]
		if c.quant == nil {
			return false
		}
		for _, bit := range c.known {
			if d.progressive && bit != 0 {
				return false
			}
		}
	}
	return true
}

// scan decodes a scan into the coefficients of its components.
func (d *Decoder) scan(s scan) error {
	for _, c := range s.components {
		if c.coef == nil {
			c.coef = make([]int16, 64*c.stride*c.rows)
		}
	}
	m := d.newMCUReader(s)
	for y := range d.mcusY {
		if err := m.rows(y, func(c *component) []int16 { return c.coef[64*c.stride*c.v*y:] }); err != nil {
			return err
		}
	}
	d.finish(m)
	return nil
}

// output gives the picture that the coefficients make to sink.
func (d *Decoder) output(sink RowSink) error {
	d.smoothing = d.smooths()
	d.damage.smoothed = d.smoothing
	for i := range d.comps {
		if d.comps[i].quant == nil {
			d.damage.components++
		}
	}
	b := newBander(d, sink)
	for y := 0; y < d.mcusY; y += b.most {
		b.emit(min(b.most, d.mcusY-y), func(c *component) []int16 { return c.coef[min(64*c.stride*c.v*y, len(c.coef)):] })
	}
	return nil
}
