package preprocess

import (
	"bytes"
	"encoding/binary"
)

// exifOrientation returns the orientation, 1 to 8, of the first directory of an
// EXIF block (a TIFF structure, with or without "Exif\0\0" before it). A block
// that is absent, broken or has another value means 1, upright: metadata is no
// reason to refuse a picture.
func exifOrientation(b []byte) int {
	b = bytes.TrimPrefix(b, []byte("Exif\x00\x00"))
	if len(b) < 8 {
		return 1
	}
	var order binary.ByteOrder = binary.LittleEndian
	if string(b[:2]) == "MM" {
		order = binary.BigEndian
	} else if string(b[:2]) != "II" {
		return 1
	}
	offset := order.Uint32(b[4:])
	if order.Uint16(b[2:]) != 42 || int64(offset)+2 > int64(len(b)) {
		return 1
	}
	entries := b[offset+2:]
	for n := order.Uint16(b[offset:]); n > 0 && len(entries) >= 12; n, entries = n-1, entries[12:] {
		if order.Uint16(entries) != 0x0112 {
			continue
		}
		if order.Uint32(entries[4:]) != 1 {
			return 1
		}
		var v uint32
		switch order.Uint16(entries[2:]) {
		case 1: // BYTE
			v = uint32(entries[8])
		case 3: // SHORT, what the standard asks for
			v = uint32(order.Uint16(entries[8:]))
		case 4: // LONG
			v = order.Uint32(entries[8:])
		}
		if v < 1 || v > 8 {
			return 1
		}
		return int(v)
	}
	return 1
}

// orient returns src as it is meant to be looked at, given its EXIF
// orientation: 2 mirrored left to right, 3 turned by 180°, 4 mirrored top to
// bottom, 5 transposed, 6 to be turned 90° clockwise, 7 transposed along the
// other diagonal, 8 to be turned 90° anticlockwise.
func orient(src *RGB, orientation int) *RGB {
	if orientation < 2 || orientation > 8 {
		return src
	}
	w, h := src.W, src.H
	// The source pixel of (x, y) is start + x·dx + y·dy.
	var start, dx, dy int
	switch orientation {
	case 2:
		start, dx, dy = w-1, -1, w
	case 3:
		start, dx, dy = w*h-1, -1, -w
	case 4:
		start, dx, dy = w*(h-1), 1, -w
	case 5:
		start, dx, dy = 0, w, 1
	case 6:
		start, dx, dy = w*(h-1), -w, 1
	case 7:
		start, dx, dy = w*h-1, -w, -1
	case 8:
		start, dx, dy = w-1, w, -1
	}
	dst := newRGB(w, h)
	if orientation >= 5 {
		dst.W, dst.H = h, w
	}
	const tile = 64 // keeps the lines of a transposed walk in the cache
	parallel((dst.H+tile-1)/tile, 6*tile*dst.W, func(lo, hi int) {
		for y0 := lo * tile; y0 < min(hi*tile, dst.H); y0 += tile {
			for x0 := 0; x0 < dst.W; x0 += tile {
				for y := y0; y < min(y0+tile, dst.H); y++ {
					d := 3 * (y*dst.W + x0)
					s := 3 * (start + x0*dx + y*dy)
					for range min(tile, dst.W-x0) {
						dst.Pix[d], dst.Pix[d+1], dst.Pix[d+2] = src.Pix[s], src.Pix[s+1], src.Pix[s+2]
						d += 3
						s += 3 * dx
					}
				}
			}
		}
	})
	return dst
}
