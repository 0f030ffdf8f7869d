package preprocess

import (
	"encoding/binary"
	"fmt"
)

// Tags of a TIFF directory.
const (
	tagWidth               = 256
	tagLength              = 257
	tagBits                = 258
	tagCompression         = 259
	tagPhotometric         = 262
	tagFillOrder           = 266
	tagStripOffsets        = 273
	tagOrientation         = 274
	tagSamples             = 277
	tagRowsPerStrip        = 278
	tagStripCounts         = 279
	tagPlanar              = 284
	tagT4Options           = 292
	tagPredictor           = 317
	tagColorMap            = 320
	tagTileWidth           = 322
	tagTileLength          = 323
	tagTileOffsets         = 324
	tagTileCounts          = 325
	tagExtraSamples        = 338
	tagSampleFormat        = 339
	tagJPEGTables          = 347
	tagYCCCoefficients     = 529
	tagSubsampling         = 530
	tagReferenceBlackWhite = 532
	tagXMP                 = 700
	tagDNGVersion          = 50706
	bigTIFF                = 43
	maxTIFFSamples         = 6
	maxTIFFDirectory       = 4096
)

// Types of a TIFF entry.
const (
	tiffByte           = 1
	tiffASCII          = 2
	tiffShort          = 3
	tiffLong           = 4
	tiffRational       = 5
	tiffSignedByte     = 6
	tiffUndefined      = 7
	tiffSignedShort    = 8
	tiffSignedLong     = 9
	tiffSignedRational = 10
	tiffFloat          = 11
	tiffDouble         = 12
	tiffIFD            = 13
	tiffLong8          = 16
)

// tiffTypeSize gives the bytes of a value; 0 of types that Pillow passes over.
var tiffTypeSize = map[uint16]int{
	tiffByte: 1, tiffASCII: 1, tiffShort: 2, tiffLong: 4, tiffRational: 8, tiffSignedByte: 1, tiffUndefined: 1,
	tiffSignedShort: 2, tiffSignedLong: 4, tiffSignedRational: 8, tiffFloat: 4, tiffDouble: 8, tiffIFD: 4, tiffLong8: 8,
}

// tiffFile is the first directory of a TIFF.
type tiffFile struct {
	data    []byte
	order   binary.ByteOrder
	big     bool
	entries map[uint16]tiffEntry
}

// tiffEntry is the data of a tag.
type tiffEntry struct {
	kind uint16
	data []byte
}

// parseTIFF reads the first directory.
func parseTIFF(data []byte) (*tiffFile, error) {
	f := &tiffFile{data: data, order: tiffOrder(data), entries: map[uint16]tiffEntry{}}
	if f.order == nil {
		return nil, errTruncated
	}
	f.big = f.order.Uint16(data[2:]) == bigTIFF
	var at, count uint64
	var ok bool
	if !f.big {
		at = uint64(f.order.Uint32(data[4:]))
	} else if at, ok = f.uint64(8); !ok {
		return nil, errTruncated
	}
	size, skip := uint64(12), uint64(2)
	if f.big {
		size, skip = 20, 8
		if count, ok = f.uint64(at); !ok {
			return nil, errTruncated
		}
	} else if b := f.bytes(at, 2); b != nil {
		count = uint64(f.order.Uint16(b))
	} else {
		return nil, errTruncated
	}
	if count > maxTIFFDirectory {
		return nil, fmt.Errorf("a directory of %d entries", count)
	}
	for i := range count {
		b := f.bytes(at+skip+i*size, size)
		if b == nil {
			break // what is there may do
		}
		f.entry(b)
	}
	return f, nil
}

// bytes returns n bytes of the file, or nil where it has none.
func (f *tiffFile) bytes(at, n uint64) []byte {
	if size := uint64(len(f.data)); at > size || n > size-at {
		return nil
	}
	return f.data[at : at+n : at+n]
}

func (f *tiffFile) uint64(at uint64) (uint64, bool) {
	if b := f.bytes(at, 8); b != nil {
		return f.order.Uint64(b), true
	}
	return 0, false
}

// entry takes an entry of the directory, unless its data is not in the file.
func (f *tiffFile) entry(b []byte) {
	tag, kind := f.order.Uint16(b), f.order.Uint16(b[2:])
	count, value := uint64(f.order.Uint32(b[4:])), b[8:]
	if f.big {
		count, value = f.order.Uint64(b[4:]), b[12:]
	}
	unit := uint64(tiffTypeSize[kind])
	if unit == 0 || count == 0 || count > uint64(len(f.data)) {
		return
	}
	size := count * unit
	if size > uint64(len(value)) {
		at := uint64(f.order.Uint32(value))
		if f.big {
			at = f.order.Uint64(value)
		}
		if value = f.bytes(at, size); value == nil {
			return
		}
	}
	f.entries[tag] = tiffEntry{kind, value[:size]}
}

// numbers returns the whole numbers of a tag, or nil.
func (f *tiffFile) numbers(tag uint16) []uint64 {
	e, ok := f.entries[tag]
	if !ok {
		return nil
	}
	var out []uint64
	unit := tiffTypeSize[e.kind]
	for b := e.data; len(b) >= unit; b = b[unit:] {
		switch e.kind {
		case tiffByte, tiffUndefined:
			out = append(out, uint64(b[0]))
		case tiffShort:
			out = append(out, uint64(f.order.Uint16(b)))
		case tiffLong, tiffIFD:
			out = append(out, uint64(f.order.Uint32(b)))
		case tiffLong8:
			out = append(out, f.order.Uint64(b))
		default:
			return nil
		}
	}
	return out
}

// rationals returns the fractions of a tag, or nil. One over zero is zero.
func (f *tiffFile) rationals(tag uint16) []float32 {
	e := f.entries[tag]
	if e.kind != tiffRational {
		return nil
	}
	var out []float32
	for b := e.data; len(b) >= 8; b = b[8:] {
		v := float32(0)
		if d := f.order.Uint32(b[4:]); d != 0 {
			v = float32(float64(f.order.Uint32(b)) / float64(d))
		}
		out = append(out, v)
	}
	return out
}

// number returns the first number of a tag, or otherwise if there is none.
func (f *tiffFile) number(tag uint16, otherwise uint64) uint64 {
	if v := f.numbers(tag); len(v) > 0 {
		return v[0]
	}
	return otherwise
}

// orientation returns the orientation of the picture, 1 to 8.
func (f *tiffFile) orientation() int {
	m := metadata{xmp: f.entries[tagXMP].data}
	e, ok := f.entries[tagOrientation]
	if !ok {
		return m.orientation()
	}
	if o := exifNumber(f.order, e.kind, e.data); o >= 1 && o <= 8 {
		return o
	}
	return 1
}
