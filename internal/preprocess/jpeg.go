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
	markerSOF2  = 0xC2 // progressive; 0xC0 is baseline, 0xC1 extended sequential
	markerDHT   = 0xC4
	markerRST0  = 0xD0
	markerSOI   = 0xD8
	markerEOI   = 0xD9
	markerSOS   = 0xDA
	markerDQT   = 0xDB
	markerDRI   = 0xDD
	markerAPP0  = 0xE0
	markerAPP1  = 0xE1
	markerAPP14 = 0xEE
)

// jpegHeader is what the segments before a JPEG's first scan tell.
type jpegHeader struct {
	w, h        int
	progressive bool
	components  []jpegComponent
	meta        metadata
	jfif, adobe bool
	transform   byte // of the last Adobe segment
}

// jpegComponent is a component as the frame header declares it.
type jpegComponent struct {
	id   byte
	h, v int // sampling factors
	tq   byte
}

// decodeJPEG gives the very samples that libjpeg-turbo gives with its defaults:
// its "islow" inverse DCT, its fancy upsampling, its colour conversion. Only
// "block smoothing" is left out, which libjpeg applies where the scans of a
// progressive file do not hold all bits of the coefficients.
func decodeJPEG(data []byte, lim Limits) (*RGB, error) {
	f, err := parseJPEG(data)
	if err != nil {
		return nil, err
	}
	if f.h == 0 {
		return nil, fmt.Errorf("%w: the frame header leaves the height open", ErrUnsupported)
	}
	// Every block of the largest component has at least one bit.
	blocks := (int64(f.w) + 7) / 8 * ((int64(f.h) + 7) / 8)
	if err := checkSize(f.w, f.h, lim, int64(len(data)), blocks/8); err != nil {
		return nil, err
	}
	d, err := newJPEGDecoder(&f)
	if err != nil {
		return nil, err
	}
	if err := d.scans(data); err != nil {
		return nil, err
	}
	planes, err := d.planes()
	if err != nil {
		return nil, err
	}
	return orient(fromPlanes(planes, &f), f.meta.orientation()), nil
}

// parseJPEG walks over the segments of a JPEG from start to end marker and
// returns what its headers tell, without looking into tables and scans.
func parseJPEG(data []byte) (f jpegHeader, err error) {
	scans := 0
	err = walkJPEG(data, func(marker byte, body, _ []byte) error {
		switch {
		case marker == markerSOS:
			if scans++; scans > maxScans {
				return fmt.Errorf("%w: more than %d scans", ErrUnsupported, maxScans)
			}
		case marker >= 0xC0 && marker <= 0xCF && marker != markerDHT && marker != 0xC8 && marker != 0xCC:
			return f.frame(marker, body)
		case scans > 0: // what follows tells nothing about the picture as a whole
		case marker == markerAPP0 && len(body) >= 14 && string(body[:5]) == "JFIF\x00":
			f.jfif = true
		case marker == markerAPP1:
			f.meta.jpegAPP1(body)
		case marker == markerAPP14 && len(body) >= 12 && string(body[:5]) == "Adobe":
			f.adobe, f.transform = true, body[11]
		}
		return nil
	})
	if err == nil && f.components == nil {
		err = fmt.Errorf("there is no picture in it")
	}
	return f, err
}

// walkJPEG calls visit for each segment up to the end marker, with its body and
// with the file after it. What lies between segments is passed over: the data
// of a scan, restart markers, fill bytes, junk.
func walkJPEG(data []byte, visit func(marker byte, body, rest []byte) error) error {
	for i := 2; ; {
		for i+1 < len(data) && !(data[i] == 0xFF && isSegment(data[i+1])) {
			if n := bytes.IndexByte(data[i+1:], 0xFF); n >= 0 {
				i += 1 + n
			} else {
				i = len(data)
			}
		}
		if i+1 >= len(data) {
			return fmt.Errorf("%w: no end marker", errTruncated)
		}
		marker := data[i+1]
		i += 2
		if marker == markerEOI {
			return nil
		}
		if i+2 > len(data) {
			return errTruncated
		}
		n := int(binary.BigEndian.Uint16(data[i:]))
		if n < 2 {
			return fmt.Errorf("segment %#x has length %d", marker, n)
		}
		if n > len(data)-i {
			return errTruncated
		}
		if err := visit(marker, data[i+2:i+n], data[i+n:]); err != nil {
			return err
		}
		i += n
	}
}

// isSegment tells whether 0xFF with that byte opens a segment or ends the
// picture, as opposed to a stuffed byte, filling or a restart marker.
func isSegment(b byte) bool {
	return b != 0x00 && b != 0x01 && b != 0xFF && !(b >= markerRST0 && b <= markerSOI)
}

// frame reads a frame header (T.81, B.2.2).
func (f *jpegHeader) frame(marker byte, body []byte) error {
	if marker > markerSOF2 {
		return fmt.Errorf("%w: lossless, hierarchical or arithmetic coding (frame type %d)", ErrUnsupported, marker-0xC0)
	}
	if len(body) < 6 || len(body) < 6+3*int(body[5]) {
		return fmt.Errorf("the frame header is too short")
	}
	if f.components != nil {
		return fmt.Errorf("there are two frame headers")
	}
	if body[0] != 8 {
		return fmt.Errorf("%w: %d bits a sample", ErrUnsupported, body[0])
	}
	n := int(body[5])
	if n != 1 && n != 3 && n != 4 {
		return fmt.Errorf("%w: %d components", ErrUnsupported, n)
	}
	f.progressive = marker == markerSOF2
	f.h, f.w = int(binary.BigEndian.Uint16(body[1:])), int(binary.BigEndian.Uint16(body[3:]))
	for spec := body[6:][:3*n]; len(spec) > 0; spec = spec[3:] {
		c := jpegComponent{id: spec[0], h: int(spec[1] >> 4), v: int(spec[1] & 15), tq: spec[2]}
		if c.h < 1 || c.h > 4 || c.v < 1 || c.v > 4 {
			return fmt.Errorf("component %d has sampling factors %d×%d", c.id, c.h, c.v)
		}
		f.components = append(f.components, c)
	}
	if n == 1 { // factors mean nothing alone, and its scans are not interleaved
		f.components[0].h, f.components[0].v = 1, 1
	}
	return nil
}

// ycc tells whether the first three components are luma and chroma, by the
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
