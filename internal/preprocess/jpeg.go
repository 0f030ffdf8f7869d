package preprocess

import (
	"bytes"
	"encoding/binary"
	"fmt"
)

// maxScans bounds the passes over a progressive JPEG, each of which may cost
// the time of the whole picture and only a few bytes of file. Encoders make
// about ten.
const maxScans = 256

// Markers of JPEG segments (ITU-T T.81, table B.1), the second byte after 0xFF.
const (
	markerSOF0  = 0xC0 // baseline; 0xC1 is extended sequential
	markerSOF2  = 0xC2 // progressive
	markerDHT   = 0xC4
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

// jpegHeader is what the segments before a JPEG's first scan say.
type jpegHeader struct {
	w, h        int
	progressive bool
	components  []jpegComponent
	meta        metadata
	jfif, adobe bool
	transform   byte // of the last Adobe segment
	inks        bool // whether four components are inks as they are, as in a TIFF
}

// jpegComponent is a component as the frame header declares it.
type jpegComponent struct {
	id   byte
	h, v int // sampling factors
	tq   byte
}

// decodeJPEG returns the samples that libjpeg-turbo returns with its defaults:
// its "islow" inverse DCT, its fancy upsampling, its color conversion, its block
// smoothing where the scans of a progressive file do not hold all bits of the
// coefficients, and its way with damaged files, which a warning tells.
func decodeJPEG(data []byte, lim Limits) (*RGB, error) {
	d, err := openJPEG(data, lim)
	if err != nil {
		return nil, err
	}
	img := newRGB(d.w, d.h)
	if err := d.decode(&wholePicture{img: img}); err != nil {
		return nil, err
	}
	img = orient(img, d.orientation())
	img.Warnings = d.damage.warnings()
	return img, nil
}

// orientation returns the orientation of the picture, 1 to 8.
func (f *jpegHeader) orientation() int {
	return f.meta.orientation()
}

// openJPEG reads the segments of a JPEG up to its first scan. Nothing of the
// picture's size is allocated.
func openJPEG(data []byte, lim Limits) (*jpegDecoder, error) {
	d := &jpegDecoder{data: data, pos: 2}
	d.coding.reset()
	for {
		marker, err := d.next()
		if err != nil {
			return nil, err
		}
		switch {
		case marker == markerSOS && d.components == nil:
			return nil, fmt.Errorf("a scan comes before the frame header")
		case marker == markerSOS:
			d.pos -= 2 // for decode
			if err := d.layOut(); err != nil {
				return nil, err
			}
			return d, checkSize(d.w, d.h, lim, int64(len(data)), leastBytes(d.w, d.h))
		case marker == markerEOI:
			if err := d.tablesOnly(); err != nil {
				return nil, err
			}
		default:
			if err := d.segment(marker); err != nil {
				return nil, err
			}
		}
	}
}

// leastBytes returns the least size of a file that is believed to have w × h
// pixels. A sound file has two bits for each block of 8 × 8 pixels, a progressive
// one has one; of a file that lost its end an eighth of that is enough. Pictures
// up to 16 megapixels may have any size of file, since they cost little.
func leastBytes(w, h int) int64 {
	if int64(w)*int64(h) <= 16_000_000 {
		return 0
	}
	return (int64(w) + 7) / 8 * ((int64(h) + 7) / 8) / 64
}

// tablesOnly continues after an end marker before any frame: what was read is an
// "abbreviated" file with tables (T.81, B.5) for the one after it.
func (d *jpegDecoder) tablesOnly() error {
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

// segment reads the segment of a marker other than SOS and EOI.
func (d *jpegDecoder) segment(marker byte) error {
	switch {
	case marker == markerTEM || marker >= markerRST0 && marker <= markerRST7:
		return nil // nothing belongs to them
	case marker == markerSOI:
		return fmt.Errorf("a second picture begins within the first")
	case marker == markerCOM || marker == markerDNL || marker >= markerAPP0 && marker <= markerAPP15:
		body, err := d.body(true)
		if err == nil && d.scanCount == 0 {
			d.application(marker, body)
		}
		return err
	case marker < markerSOF0 || marker > markerDRI || marker == 0xC8:
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
		return d.quantisers(body)
	case markerDRI:
		return d.restarts(body)
	case markerDAC:
		d.conditioning(body)
		return nil
	default:
		if err := d.frame(marker, body); err != nil {
			return err
		}
		d.arithmetic = marker >= markerSOF9
		return nil
	}
}

// application reads what matters of an APPn segment.
func (f *jpegHeader) application(marker byte, body []byte) {
	switch {
	case marker == markerAPP0 && len(body) >= 14 && string(body[:5]) == "JFIF\x00":
		f.jfif = true
	case marker == markerAPP1:
		f.meta.jpegAPP1(body)
	case marker == markerAPP14 && len(body) >= 12 && string(body[:5]) == "Adobe":
		f.adobe, f.transform = true, body[11]
	}
}

// next moves behind the next marker and returns its code. What lies before it is
// skipped: surplus data of a scan, fill bytes, junk.
func (d *jpegDecoder) next() (byte, error) {
	marker, after, skipped := nextMarker(d.data, d.pos)
	if marker == 0 {
		return 0, fmt.Errorf("%w: no end marker", errTruncated)
	}
	d.pos = after
	d.damage.skipped += skipped
	return marker, nil
}

// nextMarker finds the first marker in data from pos on, and returns its code,
// the place behind it and how many bytes before it are not fill bytes. Without
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
func (d *jpegDecoder) body(lenient bool) ([]byte, error) {
	rest := d.data[d.pos:]
	if len(rest) < 2 {
		return nil, errTruncated
	}
	n := int(binary.BigEndian.Uint16(rest))
	if n < 2 && !lenient {
		return nil, fmt.Errorf("a segment has length %d", n)
	}
	n = max(n, 2)
	if n > len(rest) {
		return nil, errTruncated
	}
	d.pos += n
	return rest[2:n], nil
}

// frame reads a frame header (T.81, B.2.2).
func (f *jpegHeader) frame(marker byte, body []byte) error {
	if marker > markerSOF2 && marker != markerSOF9 && marker != markerSOF10 {
		return fmt.Errorf("%w: lossless or hierarchical coding (frame type %d)", ErrUnsupported, marker-markerSOF0)
	}
	if f.components != nil {
		return fmt.Errorf("there are two frame headers")
	}
	if len(body) < 6 || len(body) != 6+3*int(body[5]) {
		return fmt.Errorf("the frame header has %d bytes", len(body))
	}
	if body[0] != 8 {
		return fmt.Errorf("%w: %d bits a sample", ErrUnsupported, body[0])
	}
	n := int(body[5])
	if n != 1 && n != 3 && n != 4 {
		return fmt.Errorf("%w: %d components", ErrUnsupported, n)
	}
	f.progressive = marker == markerSOF2 || marker == markerSOF10
	f.h, f.w = int(binary.BigEndian.Uint16(body[1:])), int(binary.BigEndian.Uint16(body[3:]))
	if f.h == 0 {
		return fmt.Errorf("%w: the frame header leaves the height open", ErrUnsupported)
	}
	for spec := body[6:]; len(spec) > 0; spec = spec[3:] {
		c := jpegComponent{id: spec[0], h: int(spec[1] >> 4), v: int(spec[1] & 15), tq: spec[2]}
		if c.h < 1 || c.h > 4 || c.v < 1 || c.v > 4 {
			return fmt.Errorf("component %d has sampling factors %d×%d", c.id, c.h, c.v)
		}
		f.components = append(f.components, c)
	}
	return nil
}

// ycc reports whether the first three components are luma and chroma, by the
// rules of libjpeg (default_decompress_parms in jdapimin.c).
func (f *jpegHeader) ycc() bool {
	switch {
	case len(f.components) == 4:
		return f.adobe && f.transform != 0
	case len(f.components) != 3:
		return false
	case f.jfif:
		return true
	case f.adobe:
		return f.transform != 0
	default:
		return f.components[0].id != 'R' || f.components[1].id != 'G' || f.components[2].id != 'B'
	}
}

// jpegDamage counts what was mended in a file.
type jpegDamage struct {
	short      int  // segments of scans that lack data
	codes      int  // codes that are not in their table, or lead out of a block
	restarts   int  // restart markers that are missing or out of order
	skipped    int  // bytes between segments
	scans      int  // scans that do not go with those before them
	components int  // components without data
	smoothed   bool // coefficients were estimated
	noEnd      bool
}

// warnings puts the damage into phrases.
func (d *jpegDamage) warnings() (out []string) {
	add := func(n int, one, many string) {
		switch {
		case n == 1:
			out = append(out, one)
		case n > 1:
			out = append(out, fmt.Sprintf(many, n))
		}
	}
	add(d.short, "a scan ends early", "scans end early in %d places")
	add(d.codes, "an invalid code in a scan", "%d invalid codes in scans")
	add(d.restarts, "a restart marker is missing or out of order", "%d restart markers are missing or out of order")
	add(d.skipped, "a byte between segments is skipped", "%d bytes between segments are skipped")
	add(d.scans, "a progressive scan does not fit the scans before it", "%d progressive scans do not fit the scans before them")
	add(d.components, "a color component has no data", "%d color components have no data")
	if d.smoothed {
		out = append(out, "the scans are incomplete: details are estimated")
	}
	if d.noEnd {
		out = append(out, "there is no end marker")
	}
	return out
}
