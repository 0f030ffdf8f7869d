package preprocess

import (
	"errors"
	"fmt"
	"slices"
)

// Values of the sample format tag.
const (
	tiffUnsigned = 1
	tiffSigned   = 2
	tiffFloats   = 3
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

// tiffImage is how the samples of the first page are stored.
type tiffImage struct {
	*tiffFile
	w, h        int
	depth       int // bits a sample
	samples     int // a pixel
	used        int // of these, that are read
	photometric uint64
	format      uint64 // of samples
	extra       []uint64
	compression uint64
	predictor   uint64
	planar      bool // each sample has a plane of its own
	tiled       bool
	cw, ch      int // of a strip or tile
	offsets     []uint64
	counts      []uint64
	ycc         *yccTables // nil: not inUnits
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
	if t.inUnits() {
		if t.ycc, err = t.newYCCTables(); err != nil {
			return nil, err
		}
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
	depth, err := t.sampleDepth()
	if err != nil {
		return err
	}
	t.depth = depth
	return t.supported()
}

// sampleDepth returns the bits of a sample, which must be the same for all.
func (t *tiffImage) sampleDepth() (int, error) {
	depths := t.numbers(tagBits)
	if depths == nil {
		return 1, nil
	}
	for i, d := range depths[:min(len(depths), t.samples)] {
		if d != depths[0] || d > 64 {
			return 0, fmt.Errorf("%w: sample %d has %d bits, others %d", ErrUnsupported, i+1, d, depths[0])
		}
	}
	if len(depths) != 1 && len(depths) < t.samples {
		return 0, fmt.Errorf("%d samples a pixel, but depths of %d", t.samples, len(depths))
	}
	return int(depths[0]), nil
}

// supported refuses samples that [tiffImage.converter] has no code for.
func (t *tiffImage) supported() error {
	colors := t.colorSamples()
	if colors > 0 && t.samples >= colors && slices.Contains(t.depths(colors), t.depth) && (t.samples == 1 || t.depth >= 8) {
		return nil
	}
	return fmt.Errorf("%w: color space %d with %d samples of %d bits (format %d); convert it first: `magick in.tif out.png`",
		ErrUnsupported, t.photometric, t.samples, t.depth, t.format)
}

// colorSamples returns how many samples a color takes, or 0 where it is not read.
func (t *tiffImage) colorSamples() int {
	switch {
	case t.photometric == tiffYCbCr && t.samples == 1:
		return 1
	case t.inUnits() && !t.unitsSupported(), t.photometric == tiffYCbCr && t.samples != 3 && t.compression != tiffJPEG:
		return 0
	}
	return map[uint64]int{tiffWhiteIsZero: 1, tiffBlackIsZero: 1, tiffRGB: 3, tiffPalette: 1, tiffCMYK: 4, tiffYCbCr: 3}[t.photometric]
}

// depths returns how many bits samples may have where a color takes that many of
// them.
func (t *tiffImage) depths(colors int) []int {
	switch {
	case t.format == tiffFloats && colors == 1 && t.photometric != tiffPalette:
		return []int{32}
	case t.format == tiffSigned && t.photometric == tiffBlackIsZero:
		return []int{8, 16, 32}
	case t.format != tiffUnsigned:
		return nil
	case t.photometric == tiffPalette:
		return []int{1, 2, 4, 8}
	case colors == 1:
		return []int{1, 2, 4, 8, 12, 16, 32}
	}
	return []int{8, 16}
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
	if t.inUnits() {
		return t.unitBytes(t.w, t.h)
	}
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
