package preprocess

import (
	"bytes"
	"compress/zlib"
	"encoding/hex"
	"io"
	"regexp"
)

// metadata is what a file says about its picture beyond the samples.
type metadata struct {
	exif       []byte // a TIFF structure, with or without "Exif\0\0" before it
	rawProfile []byte // ImageMagick's text form of it
	xmp        []byte
}

// maxText bounds what a compressed text may become.
const maxText = 1 << 20

// xmpOrientation is the orientation as an attribute or an element of XMP.
var xmpOrientation = regexp.MustCompile(`tiff:Orientation(?:="|>)([0-9])`)

// orientation returns the orientation of the picture, 1 to 8, as Pillow finds
// it: that of EXIF or, where EXIF has none at all, that of XMP. Metadata that is
// absent, broken or has another value means 1, upright, and never an error.
func (m *metadata) orientation() int {
	block := m.exif
	if block == nil {
		block = unhexProfile(m.rawProfile)
	}
	o, ok := exifOrientation(block)
	if !ok {
		if found := xmpOrientation.FindSubmatch(m.xmp); found != nil {
			o = int(found[1][0] - '0')
		}
	}
	if o < 1 || o > 8 {
		return 1
	}
	return o
}

// pngText takes a PNG's tEXt, zTXt or iTXt chunk.
func (m *metadata) pngText(kind string, body []byte) {
	key, text, ok := bytes.Cut(body, []byte{0})
	if !ok {
		return
	}
	packed := false
	switch kind {
	case "zTXt":
		if len(text) == 0 {
			return
		}
		packed, text = true, text[1:]
	case "iTXt": // compression flag and method, language, translated key
		if len(text) < 2 {
			return
		}
		packed = text[0] != 0
		parts := bytes.SplitN(text[2:], []byte{0}, 3)
		if len(parts) < 3 {
			return
		}
		text = parts[2]
	}
	switch string(key) {
	case "exif":
		if kind == "tEXt" {
			m.exif = text
		}
	case "Raw profile type exif":
		m.rawProfile = unpackText(text, packed)
	case "XML:com.adobe.xmp", "xmp":
		m.xmp = unpackText(text, packed)
	}
}

// unpackText returns the beginning of a text that may be compressed.
func unpackText(text []byte, packed bool) []byte {
	if !packed {
		return text
	}
	r, err := zlib.NewReader(bytes.NewReader(text))
	if err != nil {
		return nil
	}
	text, _ = io.ReadAll(io.LimitReader(r, maxText))
	return text
}

// unhexProfile returns the bytes of a profile that ImageMagick wrote: an empty
// line, a name, a length and lines of hexadecimal digits.
func unhexProfile(text []byte) []byte {
	lines := bytes.SplitN(text, []byte("\n"), 4)
	if len(lines) < 4 {
		return nil
	}
	digits := bytes.Join(bytes.Fields(lines[3]), nil)
	out := make([]byte, hex.DecodedLen(len(digits)))
	n, _ := hex.Decode(out, digits[:len(digits)&^1])
	return out[:n]
}
