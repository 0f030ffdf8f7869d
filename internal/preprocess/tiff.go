package preprocess

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
)

// Tags of a TIFF directory.
const (
	tagWidth         = 256
	tagLength        = 257
	tagBits          = 258
	tagCompression   = 259
	tagPhotometric   = 262
	tagFillOrder     = 266
	tagStripOffsets  = 273
	tagOrientation   = 274
	tagSamples       = 277
	tagRowsPerStrip  = 278
	tagStripCounts   = 279
	tagPlanar        = 284
	tagT4Options     = 292
	tagPredictor     = 317
	tagColorMap      = 320
	tagTileWidth     = 322
	tagTileLength    = 323
	tagTileOffsets   = 324
	tagTileCounts    = 325
	tagExtraSamples  = 338
	tagSampleFormat  = 339
	tagJPEGTables    = 347
	tagXMP           = 700
	tagDNGVersion    = 50706
	bigTIFF          = 43
	maxTIFFSamples   = 6
	maxTIFFDirectory = 4096
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

// Values of the photometric tag: what samples mean.
const (
	tiffWhiteIsZero = 0
	tiffBlackIsZero = 1
	tiffRGB         = 2
	tiffPalette     = 3
	tiffCMYK        = 5
	tiffYCbCr       = 6
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

// tiffImage is how the samples of the first page are stored.
type tiffImage struct {
	*tiffFile
	w, h        int
	depth       int // bits a sample
	samples     int // a pixel
	used        int // of these, that are read
	photometric uint64
	format      uint64 // of samples: 1 unsigned, 2 signed, 3 floating point
	extra       []uint64
	compression uint64
	predictor   uint64
	planar      bool // each sample has a plane of its own
	tiled       bool
	cw, ch      int // of a strip or tile
	offsets     []uint64
	counts      []uint64
	lim         Limits
	warnings    []string
}

func decodeTIFF(data []byte, lim Limits) (*RGB, error) {
	f, err := parseTIFF(data)
	if err != nil {
		return nil, err
	}
	t := &tiffImage{tiffFile: f, lim: lim}
	if err := t.header(); err != nil {
		return nil, err
	}
	if err := t.layout(); err != nil {
		return nil, err
	}
	img := newRGB(t.w, t.h)
	if err := t.chunks(img); err != nil {
		return nil, err
	}
	img.Warnings = t.warnings
	return orient(img, f.orientation()), nil
}

// header reads what the samples mean.
func (t *tiffImage) header() error {
	w, h := t.number(tagWidth, 0), t.number(tagLength, 0)
	if w > 1<<31-1 || h > 1<<31-1 {
		return fmt.Errorf("%w: %d×%d pixels", ErrTooLarge, w, h)
	}
	t.w, t.h = int(w), int(h)
	if err := checkSize(t.w, t.h, t.lim, 0, 0); err != nil {
		return err
	}
	if _, ok := t.entries[tagDNGVersion]; ok {
		t.warnings = append(t.warnings, "a raw photograph: only the picture in its first directory is read")
	}
	t.compression = t.number(tagCompression, 1)
	t.photometric = t.number(tagPhotometric, 0)
	t.extra = t.numbers(tagExtraSamples)
	t.planar = t.number(tagPlanar, 1) == 2
	t.predictor = t.number(tagPredictor, 1)
	t.format = t.number(tagSampleFormat, 1)
	samples := t.number(tagSamples, 1)
	if samples < 1 || samples > maxTIFFSamples {
		return fmt.Errorf("%w: %d samples a pixel", ErrUnsupported, samples)
	}
	t.samples = int(samples)
	t.used = t.samples
	if t.planar && len(t.extra) > 0 && len(t.extra) < t.samples && slices.Max(t.extra) == 0 {
		t.used -= len(t.extra) // planes that mean nothing
	}
	depths := t.numbers(tagBits)
	if depths == nil {
		depths = []uint64{1}
	}
	for i, d := range depths[:min(len(depths), t.samples)] {
		if d != depths[0] || d > 64 {
			return fmt.Errorf("%w: sample %d has %d bits, others %d", ErrUnsupported, i+1, d, depths[0])
		}
	}
	if len(depths) != 1 && len(depths) < t.samples {
		return fmt.Errorf("%d samples a pixel, but depths of %d", t.samples, len(depths))
	}
	t.depth = int(depths[0])
	return t.supported()
}

// supported refuses samples that [tiffImage.converter] has no code for.
func (t *tiffImage) supported() error {
	colors := map[uint64]int{0: 1, 1: 1, 2: 3, 3: 1, 5: 4, 6: 3}[t.photometric]
	if colors == 1 || colors == 3 && t.photometric == 6 && t.samples == 1 {
		colors = 1
	}
	ok := colors > 0 && t.samples >= colors
	switch {
	case t.photometric == 6 && t.compression != tiffJPEG && t.samples != 1:
		ok = false
	case t.format == 3:
		ok = ok && colors == 1 && t.depth == 32 && t.photometric != 3
	case t.format == 2:
		ok = ok && t.photometric == 1 && (t.depth == 8 || t.depth == 16 || t.depth == 32)
	case t.format != 1:
		ok = false
	case t.photometric == 3:
		ok = ok && (t.depth == 1 || t.depth == 2 || t.depth == 4 || t.depth == 8)
	case colors == 1:
		ok = ok && (t.depth == 1 || t.depth == 2 || t.depth == 4 || t.depth == 8 || t.depth == 12 || t.depth == 16 || t.depth == 32)
	default:
		ok = ok && (t.depth == 8 || t.depth == 16)
	}
	if t.samples > 1 && t.depth < 8 {
		ok = false
	}
	if !ok {
		return fmt.Errorf("%w: color space %d with %d samples of %d bits (format %d); convert it first: `magick in.tif out.png`",
			ErrUnsupported, t.photometric, t.samples, t.depth, t.format)
	}
	return nil
}

// layout reads where strips or tiles lie, and holds their sizes against the file.
func (t *tiffImage) layout() error {
	t.cw, t.ch = t.w, t.h
	offsets, counts := uint16(tagStripOffsets), uint16(tagStripCounts)
	if t.offsets = t.numbers(offsets); t.offsets == nil {
		offsets, counts, t.tiled = tagTileOffsets, tagTileCounts, true
		w, h := t.number(tagTileWidth, 0), t.number(tagTileLength, 0)
		if w < 1 || h < 1 || w > 1<<31-1 || h > 1<<31-1 {
			return errors.New("neither strips nor tiles are there")
		}
		t.cw, t.ch = int(w), int(h)
		if err := checkSize(t.cw, t.ch, t.lim, 0, 0); err != nil {
			return fmt.Errorf("a tile: %w", err)
		}
	} else if rows := t.number(tagRowsPerStrip, uint64(t.h)); rows >= 1 && rows < uint64(t.h) {
		t.ch = int(rows)
	}
	t.offsets, t.counts = t.numbers(offsets), t.numbers(counts)
	if need := int64(t.across()) * int64(t.down()) * int64(t.planes()); int64(len(t.offsets)) < need {
		return fmt.Errorf("%w: %d of %d strips or tiles", errTruncated, len(t.offsets), need)
	}
	if t.compression != 1 {
		// A strip that says nothing has at least a byte for what the best
		// compression makes of it.
		return checkSize(t.w, t.h, t.lim, int64(len(t.data)), t.bytes64()/t.mostInflated())
	}
	return checkSize(t.w, t.h, t.lim, int64(len(t.data)), t.bytes64())
}

// bytes64 is the size of all samples.
func (t *tiffImage) bytes64() int64 {
	return int64(t.h) * ((int64(t.w)*int64(t.samples)*int64(t.depth) + 7) / 8)
}

func (t *tiffImage) across() int { return (t.w + t.cw - 1) / t.cw }
func (t *tiffImage) down() int   { return (t.h + t.ch - 1) / t.ch }

func (t *tiffImage) planes() int {
	if t.planar {
		return t.used
	}
	return 1
}

// chunk returns the stored bytes of strip or tile i.
func (t *tiffImage) chunk(i int) ([]byte, error) {
	at := t.offsets[i]
	if at > uint64(len(t.data)) {
		return nil, fmt.Errorf("%w: strip or tile %d begins beyond the end", errTruncated, i+1)
	}
	b := t.data[at:]
	if i < len(t.counts) && t.counts[i] > 0 && t.compression != 1 {
		if _, fax := t.faxKind(); fax && t.counts[i] > uint64(len(b)) { // other kinds notice themselves
			return nil, fmt.Errorf("%w: strip or tile %d has %d bytes of %d", errTruncated, i+1, len(b), t.counts[i])
		}
		b, _ = cut(b, int(min(t.counts[i], uint64(len(b)))))
	}
	return b, nil
}
