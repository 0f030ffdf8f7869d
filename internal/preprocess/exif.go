package preprocess

import (
	"bytes"
	"encoding/binary"
	"math"

	"paligemma/internal/parallel"
)

// exifOrientation returns the value of the orientation in the first directory of
// an EXIF block (a TIFF structure, with or without "Exif\0\0" before it), and
// whether there is one. A value that is not a whole number from 0 to 9, or of a
// type without numbers, is returned as 0. As in Pillow the last entry counts, and of several
// values the first.
func exifOrientation(b []byte) (value int, ok bool) {
	for bytes.HasPrefix(b, []byte("Exif\x00\x00")) {
		b = b[6:]
	}
	order := tiffOrder(b)
	if order == nil || string(b[:2]) == "II" && order.Uint16(b[2:]) == bigTIFF { // with MM Pillow takes it for a plain TIFF
		return 0, false
	}
	offset := order.Uint32(b[4:])
	if int64(offset)+2 > int64(len(b)) {
		return 0, false
	}
	entries := b[offset+2:]
	for n := order.Uint16(b[offset:]); n > 0 && len(entries) >= 12; n, entries = n-1, entries[12:] {
		kind, count := order.Uint16(entries[2:]), order.Uint32(entries[4:])
		data := entries[8:12]
		size := int64(count) * int64(tiffTypeSize[kind])
		if size > 4 {
			at := int64(order.Uint32(data))
			if at+size > int64(len(b)) {
				break // Pillow reads no further
			}
			data = b[at : at+size]
		}
		if size > 0 && order.Uint16(entries) == tagOrientation {
			value, ok = exifNumber(order, kind, data), true
		}
	}
	return value, ok
}

// tiffOrder returns the byte order of a TIFF structure with a header, or nil. Two
// wrong spellings of 42 are accepted, as in Pillow.
func tiffOrder(b []byte) binary.ByteOrder {
	if len(b) < 8 {
		return nil
	}
	switch string(b[:4]) {
	case "II*\x00", "II\x00*", "II+\x00":
		return binary.LittleEndian
	case "MM\x00*", "MM*\x00", "MM\x00+":
		return binary.BigEndian
	}
	return nil
}

// exifNumber returns the first number in data, or 0 if it is not a whole one
// between 0 and 9.
func exifNumber(order binary.ByteOrder, kind uint16, data []byte) int {
	v := 0.0
	switch kind {
	case tiffShort, tiffSignedShort:
		v = float64(order.Uint16(data))
	case tiffLong, tiffSignedLong, tiffIFD:
		v = float64(order.Uint32(data))
	case tiffSignedByte:
		v = float64(data[0])
	case tiffLong8:
		v = float64(order.Uint64(data))
	case tiffRational, tiffSignedRational:
		v = float64(order.Uint32(data)) / float64(order.Uint32(data[4:]))
	case tiffFloat:
		v = float64(math.Float32frombits(order.Uint32(data)))
	case tiffDouble:
		v = math.Float64frombits(order.Uint64(data))
	}
	if v >= 0 && v < 10 && v == math.Trunc(v) {
		return int(v)
	}
	return 0
}

// orient returns src upright, given its EXIF orientation: 2 mirrored left to
// right, 3 rotated by 180°, 4 mirrored top to bottom, 5 transposed, 6 to be rotated
// 90° clockwise, 7 transposed along the other diagonal, 8 to be rotated 90°
// counterclockwise.
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
	dst.Warnings = src.Warnings
	if orientation >= 5 {
		dst.W, dst.H = h, w
	}
	const tile = 64 // keeps the lines of a transposed walk in the cache
	parallel.Range((dst.H+tile-1)/tile, 6*tile*dst.W, func(lo, hi int) {
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
