package preprocess

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
)

// Markers of a JPEG, which TIFF spreads over a tag of tables and strips or tiles.
var (
	jpegSOI   = []byte{0xFF, 0xD8}
	jpegEOI   = []byte{0xFF, 0xD9}
	jpegAdobe = []byte("\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00") // before the byte for the color transform
)

// jpeg decodes the strip or tile at (x, y), a JPEG whose tables may be in a tag.
func (t *tiffImage) jpeg(img *RGB, data []byte, x, y int) error {
	if err := t.jpegSupported(data); err != nil {
		return err
	}
	d, err := openJPEG(t.jpegStream(data), Limits{MaxPixels: int64(t.cw) * int64(t.ch)})
	if err != nil {
		return err
	}
	d.PlainInks = t.photometric == tiffCMYK
	part, err := jpegPixels(d)
	if err != nil {
		return err
	}
	w, h := min(t.cw, t.w-x), min(t.ch, t.h-y)
	if part.W < w || part.H < h {
		return fmt.Errorf("%w: %d×%d pixels of %d×%d", errTruncated, part.W, part.H, w, h)
	}
	t.warnings = append(t.warnings, part.Warnings...)
	for line := range h {
		dst := img.Pix[3*((y+line)*t.w+x):][:3*w]
		copy(dst, part.Pix[3*line*part.W:])
		if t.photometric == tiffWhiteIsZero {
			for i := range dst {
				dst[i] = 255 - dst[i]
			}
		}
	}
	return nil
}

// jpegSupported refuses what cannot be a JPEG that is read.
func (t *tiffImage) jpegSupported(data []byte) error {
	if len(data) < 4 || !bytes.HasPrefix(data, jpegSOI) {
		return errors.New("it is not a JPEG")
	}
	ok := t.samples == 1 || !t.planar && (t.samples == 3 || t.samples == 4 && t.photometric == tiffCMYK)
	if !ok || t.depth != 8 {
		return fmt.Errorf("%w: JPEG with %d samples; convert it first: `magick in.tif out.png`", ErrUnsupported, t.samples)
	}
	return nil
}

// jpegStream returns the JPEG in a strip or tile with the tables of the tag. What
// three samples are is said by the TIFF, not by the JPEG.
func (t *tiffImage) jpegStream(data []byte) []byte {
	var tables, adobe []byte
	if tag := t.entries[tagJPEGTables].data; len(tag) > 4 {
		tables = bytes.TrimSuffix(tag, jpegEOI)[2:]
	}
	if t.samples == 3 {
		transform := byte(0)
		if t.photometric == tiffYCbCr {
			transform = 1
		}
		adobe = append(bytes.Clone(jpegAdobe), transform)
	}
	return slices.Concat(jpegSOI, tables, adobe, data[2:])
}
