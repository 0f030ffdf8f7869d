package jpeg

import (
	"bytes"
	"encoding/binary"
	"fmt"
)

// Markers of JPEG segments (ITU-T T.81, table B.1), the second byte after 0xFF.
const (
	markerSOF0  = 0xC0 // baseline; 0xC1 is extended sequential
	markerSOF2  = 0xC2 // progressive
	markerDHT   = 0xC4
	markerJPG   = 0xC8 // reserved
	markerSOF9  = 0xC9 // sequential, arithmetic coding
	markerSOF10 = 0xCA // progressive, arithmetic coding
	markerDAC   = 0xCC
	markerRST0  = 0xD0
	markerRST7  = 0xD7
	markerSOI   = 0xD8
	markerEOI   = 0xD9
	markerSOS   = 0xDA
	markerDQT   = 0xDB
	markerDNL   = 0xDC
	markerDRI   = 0xDD
	markerAPP0  = 0xE0
	markerAPP1  = 0xE1
	markerAPP14 = 0xEE
	markerAPP15 = 0xEF
	markerCOM   = 0xFE
	markerTEM   = 0x01
)

// header is what the segments before the first scan say of the components.
type header struct {
	progressive bool
	components  []frameComponent
	jfif, adobe bool
	transform   byte // of the last Adobe segment
}

// frameComponent is a component as the frame header declares it.
type frameComponent struct {
	id   byte
	h, v int // sampling factors
	tq   byte
}

// next moves after the next marker and returns its code. What lies before it is
// skipped: surplus data of a scan, fill bytes, junk.
func (d *Decoder) next() (byte, error) {
	marker, after, skipped := nextMarker(d.data, d.pos)
	if marker == 0 {
		return 0, fmt.Errorf("%w: no end marker", ErrTruncated)
	}
	d.pos = after
	d.damage.skipped += skipped
	return marker, nil
}

// nextMarker finds the first marker in data from pos on, and returns its code,
// the place after it and how many bytes before it are not fill bytes. Without
// one the code is 0.
func nextMarker(data []byte, pos int) (marker byte, after, skipped int) {
	for pos < len(data) {
		n := bytes.IndexByte(data[pos:], 0xFF)
		if n < 0 {
			break
		}
		skipped += n
		pos += n
		for pos < len(data) && data[pos] == 0xFF {
			pos++
		}
		if pos < len(data) && data[pos] != 0 {
			return data[pos], pos + 1, skipped
		}
		skipped += 2
		pos++
	}
	return 0, len(data), 0
}

// body reads the length of a segment and what it spans. If lenient, a length
// below two stands for two.
func (d *Decoder) body(lenient bool) ([]byte, error) {
	rest := d.data[d.pos:]
	if len(rest) < 2 {
		return nil, ErrTruncated
	}
	n := int(binary.BigEndian.Uint16(rest))
	if n < 2 && !lenient {
		return nil, fmt.Errorf("a segment has length %d", n)
	}
	n = max(n, 2)
	if n > len(rest) {
		return nil, ErrTruncated
	}
	d.pos += n
	return rest[2:n], nil
}

// segment reads the segment of a marker other than SOS and EOI.
func (d *Decoder) segment(marker byte) error {
	switch {
	case isBare(marker):
		return nil
	case marker == markerSOI:
		return fmt.Errorf("a second picture begins within the first")
	case isApplication(marker):
		body, err := d.body(true)
		if err == nil && d.scanCount == 0 {
			d.application(marker, body)
		}
		return err
	case marker < markerSOF0 || marker > markerDRI || marker == markerJPG:
		return fmt.Errorf("the segment %#x is not of a known kind", marker)
	}
	body, err := d.body(false)
	if err != nil {
		return err
	}
	switch marker {
	case markerDHT:
		return d.huffmans(body)
	case markerDQT:
		return d.quantizers(body)
	case markerDRI:
		return d.restarts(body)
	case markerDAC:
		d.conditioning(body)
		return nil
	}
	return d.frame(marker, body)
}

// isBare reports whether a marker has no segment.
func isBare(marker byte) bool {
	return marker == markerTEM || marker >= markerRST0 && marker <= markerRST7
}

// isApplication reports whether a decoder can do without a segment, but for what
// [Decoder.application] reads.
func isApplication(marker byte) bool {
	return marker >= markerAPP0 && marker <= markerAPP15 || marker == markerCOM || marker == markerDNL
}

// tablesOnly continues after an end marker before any frame: what was read is an
// "abbreviated" file with tables (T.81, B.5) for the one after it.
func (d *Decoder) tablesOnly() error {
	if d.components != nil {
		return fmt.Errorf("there is no scan in it")
	}
	if !bytes.HasPrefix(d.data[d.pos:], []byte{0xFF, markerSOI}) {
		return fmt.Errorf("there is no picture in it")
	}
	d.pos += 2
	d.jfif, d.adobe, d.transform, d.interval = false, false, 0, 0
	d.coding.reset()
	return nil
}

// application reads what matters of an APPn segment.
func (d *Decoder) application(marker byte, body []byte) {
	switch {
	case marker == markerAPP0 && len(body) >= 14 && string(body[:5]) == "JFIF\x00":
		d.jfif = true
	case marker == markerAPP1:
		d.metadata(body)
	case marker == markerAPP14 && len(body) >= 12 && string(body[:5]) == "Adobe":
		d.adobe, d.transform = true, body[11]
	}
}

// metadata takes an APP1 segment. EXIF may continue in several.
func (d *Decoder) metadata(body []byte) {
	const exif, xmp = "Exif\x00\x00", "http://ns.adobe.com/xap/1.0/\x00"
	if rest, ok := bytes.CutPrefix(body, []byte(exif)); ok {
		if d.EXIF == nil {
			d.EXIF = rest[:len(rest):len(rest)] // so that append copies
		} else {
			d.EXIF = append(d.EXIF, rest...)
		}
	} else if rest, ok := bytes.CutPrefix(body, []byte(xmp)); ok {
		d.XMP = rest
	}
}

// frame reads a frame header (T.81, B.2.2).
func (d *Decoder) frame(marker byte, body []byte) error {
	switch {
	case marker > markerSOF2 && marker != markerSOF9 && marker != markerSOF10:
		return unsupported("lossless or hierarchical coding (frame type %d)", marker-markerSOF0)
	case d.components != nil:
		return fmt.Errorf("there are two frame headers")
	case len(body) < 6 || len(body) != 6+3*int(body[5]):
		return fmt.Errorf("the frame header has %d bytes", len(body))
	case body[0] != 8:
		return unsupported("%d bits a sample", body[0])
	case body[5] != 1 && body[5] != 3 && body[5] != 4:
		return unsupported("%d components", body[5])
	}
	d.arithmetic = marker >= markerSOF9
	d.progressive = marker == markerSOF2 || marker == markerSOF10
	d.Height, d.Width = int(binary.BigEndian.Uint16(body[1:])), int(binary.BigEndian.Uint16(body[3:]))
	if d.Height == 0 {
		return unsupported("the frame header leaves the height open")
	}
	return d.frameComponents(body[6:])
}

// frameComponents reads the components of a frame header.
func (h *header) frameComponents(spec []byte) error {
	for ; len(spec) > 0; spec = spec[3:] {
		c := frameComponent{id: spec[0], h: int(spec[1] >> 4), v: int(spec[1] & 15), tq: spec[2]}
		if c.h < 1 || c.h > 4 || c.v < 1 || c.v > 4 {
			return fmt.Errorf("component %d has sampling factors %d×%d", c.id, c.h, c.v)
		}
		h.components = append(h.components, c)
	}
	return nil
}

// ycc reports whether the first three components are luma and chroma, by the
// rules of libjpeg (default_decompress_parms in jdapimin.c).
func (h *header) ycc() bool {
	switch {
	case len(h.components) == 4:
		return h.adobe && h.transform != 0
	case len(h.components) != 3:
		return false
	case h.jfif:
		return true
	case h.adobe:
		return h.transform != 0
	default:
		return h.components[0].id != 'R' || h.components[1].id != 'G' || h.components[2].id != 'B'
	}
}
