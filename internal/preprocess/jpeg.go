package preprocess

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"image"
	"image/jpeg"
)

// maxScans bounds the passes over a progressive JPEG, each of which may cost
// the time of the whole picture and only a few bytes of file. Encoders make
// about ten.
const maxScans = 256

// jpegHeader is what the segments around a JPEG's data tell.
type jpegHeader struct {
	w, h       int
	components int
	hSampling  [4]byte // horizontal and vertical factors, as in the file: 0x21 is 2 and 1
	exif       []byte
	adobe      []int // offsets of the colour transform in each Adobe segment
	transform  byte  // the last of these
}

// decodeJPEG decodes as near to libjpeg-turbo as Go's inverse DCT allows: that
// gives the planes, and upsampling and colour conversion are done here.
func decodeJPEG(data []byte, lim Limits) (*RGB, error) {
	f, err := parseJPEG(data)
	if err != nil {
		return nil, err
	}
	// Every block of the first component has at least one bit.
	blocks := (int64(f.w) + 7) / 8 * ((int64(f.h) + 7) / 8)
	if err := checkSize(f.w, f.h, lim, int64(len(data)), blocks/8); err != nil {
		return nil, err
	}
	if f.components == 4 {
		data = markCMYK(data, f)
	}
	m, err := jpeg.Decode(bytes.NewReader(data))
	if err != nil {
		if _, ok := err.(jpeg.UnsupportedError); ok {
			err = fmt.Errorf("%w: %w", ErrUnsupported, err)
		}
		return nil, err
	}
	var img *RGB
	switch m := m.(type) {
	case *image.YCbCr:
		y, cb, cr := planes(m)
		img = fromYCbCr(y, cb, cr)
	case *image.CMYK:
		img = fromCMYK(m, f)
	default: // grey, or stored as RGB
		if img, err = fromImage(m); err != nil {
			return nil, err
		}
	}
	return orient(img, exifOrientation(f.exif)), nil
}

// parseJPEG walks over the segments of a JPEG from start to end marker.
func parseJPEG(data []byte) (f jpegHeader, err error) {
	scans := 0
	for i := 2; ; {
		// Between segments there is nothing, or the data of a scan.
		for i+1 < len(data) && !(data[i] == 0xFF && isSegment(data[i+1])) {
			i++
		}
		if i+1 >= len(data) {
			return f, fmt.Errorf("%w: no end marker", errTruncated)
		}
		marker := data[i+1]
		i += 2
		if marker == 0xD9 {
			if f.components == 0 {
				return f, fmt.Errorf("there is no picture in it")
			}
			return f, nil
		}
		if i+2 > len(data) {
			return f, errTruncated
		}
		n := int(binary.BigEndian.Uint16(data[i:]))
		if n < 2 {
			return f, fmt.Errorf("segment %#x has length %d", marker, n)
		}
		if n > len(data)-i {
			return f, errTruncated
		}
		body := data[i+2 : i+n]
		switch {
		case marker == 0xDA:
			if scans++; scans > maxScans {
				return f, fmt.Errorf("%w: more than %d scans", ErrUnsupported, maxScans)
			}
		case marker >= 0xC0 && marker <= 0xCF && marker != 0xC4 && marker != 0xC8 && marker != 0xCC:
			if err := f.frame(marker, body); err != nil {
				return f, err
			}
		case marker == 0xE1 && f.exif == nil && scans == 0 && bytes.HasPrefix(body, []byte("Exif\x00\x00")):
			f.exif = body
		case marker == 0xEE && len(body) >= 12 && string(body[:5]) == "Adobe":
			f.adobe = append(f.adobe, i+2+11)
			f.transform = body[11]
		}
		i += n
	}
}

// isSegment tells whether 0xFF with that byte opens a segment or ends the
// picture, as opposed to a stuffed byte, filling or a restart marker.
func isSegment(b byte) bool {
	return b != 0x00 && b != 0x01 && b != 0xFF && !(b >= 0xD0 && b <= 0xD8)
}

func (f *jpegHeader) frame(marker byte, body []byte) error {
	if marker > 0xC2 {
		return fmt.Errorf("%w: lossless, hierarchical or arithmetic coding (frame type %d)", ErrUnsupported, marker-0xC0)
	}
	if len(body) < 6 || len(body) < 6+3*int(body[5]) {
		return fmt.Errorf("the frame header is too short")
	}
	if f.components != 0 {
		return fmt.Errorf("there are two frame headers")
	}
	if body[0] != 8 {
		return fmt.Errorf("%w: %d bits a sample", ErrUnsupported, body[0])
	}
	f.components = int(body[5])
	if f.components != 1 && f.components != 3 && f.components != 4 {
		return fmt.Errorf("%w: %d components", ErrUnsupported, f.components)
	}
	f.h, f.w = int(binary.BigEndian.Uint16(body[1:])), int(binary.BigEndian.Uint16(body[3:]))
	for i := range f.components {
		f.hSampling[i] = body[6+3*i+1]
	}
	return nil
}

// markCMYK returns a copy of data that image/jpeg takes for plain CMYK: then it
// leaves the four components as they are stored. YCCK is converted in
// [fromCMYK], and files without an Adobe segment, which image/jpeg refuses, are
// CMYK for libjpeg.
func markCMYK(data []byte, f jpegHeader) []byte {
	if len(f.adobe) == 0 {
		out := append(make([]byte, 0, len(data)+16), data[:2]...)
		out = append(out, "\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00\x00"...)
		return append(out, data[2:]...)
	}
	out := bytes.Clone(data)
	for _, at := range f.adobe {
		out[at] = 0
	}
	return out
}
