package preprocess

import (
	"bytes"
	oldlzw "compress/lzw"
	"compress/zlib"
	"errors"
	"fmt"
	"io"
	"math/bits"

	"paligemma/internal/ccitt"

	"golang.org/x/image/tiff/lzw"
)

// Values of the compression tag.
const (
	tiffRaw      = 1
	tiffRLE      = 2 // of fax machines
	tiffGroup3   = 3
	tiffGroup4   = 4
	tiffLZW      = 5
	tiffOldJPEG  = 6
	tiffJPEG     = 7
	tiffDeflate  = 8
	tiffRLEWords = 32771
	tiffDeflate2 = 32946
	tiffPackBits = 32773
)

// tiffCompressions names those that are not read.
var tiffCompressions = map[uint64]string{
	tiffOldJPEG: "old-style JPEG", 34925: "LZMA", 50000: "Zstandard", 50001: "WebP", 50002: "JPEG XL", 34712: "JPEG 2000",
}

// mostInflated is the most bytes of samples that a byte of the file can stand for.
func (t *tiffImage) mostInflated() int64 {
	if _, fax := t.faxKind(); fax { // a line has at least a bit
		return 8 * ((int64(t.w) + 7) / 8)
	}
	switch t.compression {
	case tiffPackBits:
		return 64
	case tiffLZW:
		return maxLZW
	case tiffJPEG: // a block of 64 samples has at least a bit
		return 8 * 64 * maxTIFFSamples
	}
	return maxDeflate
}

// chunks decodes all strips or tiles into img.
func (t *tiffImage) chunks(img *RGB) error {
	across, down := t.across(), t.down()
	for i := range across * down * t.planes() {
		plane, at := i/(across*down), i%(across*down)
		x, y := at%across*t.cw, at/across*t.ch
		data, err := t.chunk(i)
		if err != nil {
			return err
		}
		if t.compression == tiffJPEG {
			err = t.jpeg(img, data, x, y)
		} else {
			err = t.rows(img, data, x, y, plane)
		}
		if err != nil {
			return fmt.Errorf("strip or tile %d: %w", i+1, err)
		}
	}
	return nil
}

// rows decodes the strip or tile at (x, y).
func (t *tiffImage) rows(img *RGB, data []byte, x, y, plane int) error {
	if t.number(tagFillOrder, 1) == 2 {
		data = bytes.Clone(data)
		for i, v := range data {
			data[i] = bits.Reverse8(v)
		}
	}
	r, err := t.decompress(data)
	if err != nil {
		return err
	}
	if t.ycc != nil {
		return t.units(img, r, x, y)
	}
	samples, convert := t.samples, t.converter()
	if t.planar && t.samples > 1 {
		samples, convert = 1, t.planeConverter(plane)
	}
	row := make([]byte, (t.cw*samples*t.depth+7)/8)
	below := t.rowsBelow(y, 1) * int64(len(row))
	for end := min(t.h, y+t.ch); y < end; y++ {
		if _, err := io.ReadFull(r, row); err != nil {
			return err
		}
		if err := t.unpredict(row, samples); err != nil {
			return err
		}
		convert(img.Pix[3*(y*t.w+x):][:3*min(t.cw, t.w-x)], row)
	}
	if fax, ok := r.(*ccitt.Reader); ok {
		t.warnings = append(t.warnings, fax.Warnings()...)
	}
	return checkDeflated(r, below)
}

// rowsBelow returns how many rows, each that many pixels high, of a tile at y lie below
// the picture. Strips end with it.
func (t *tiffImage) rowsBelow(y, height int) int64 {
	if !t.tiled {
		return 0
	}
	return int64((t.ch+height-1)/height - (min(t.ch, t.h-y)+height-1)/height)
}

// checkDeflated returns an error where the checksum of what zlib unpacked, if it did, is
// wrong: it follows the last row of the picture and the bytes below. As for libtiff, a
// checksum that is missing is not missed, and surplus data hides it.
func checkDeflated(r io.Reader, below int64) error {
	if _, ok := r.(zlib.Resetter); !ok {
		return nil
	}
	if _, err := io.CopyN(io.Discard, r, below+1); errors.Is(err, zlib.ErrChecksum) {
		return err
	}
	return nil
}

// decompress returns a reader of the samples of a strip or tile.
func (t *tiffImage) decompress(data []byte) (io.Reader, error) {
	in := bytes.NewReader(data)
	switch t.compression {
	case tiffRaw:
		return in, nil
	case tiffLZW:
		if len(data) > 1 && data[0] == 0 && data[1]&1 == 1 { // as written before TIFF 6.0
			return oldlzw.NewReader(in, oldlzw.LSB, 8), nil
		}
		return lzw.NewReader(in, lzw.MSB, 8), nil
	case tiffDeflate, tiffDeflate2:
		return zlib.NewReader(in)
	case tiffPackBits:
		return &packBits{in: data}, nil
	}
	if kind, ok := t.faxKind(); ok {
		if t.depth != 1 || t.samples != 1 {
			return nil, errors.New("fax compression of something that is not black and white")
		}
		return ccitt.NewReader(data, t.cw, kind), nil
	}
	name, ok := tiffCompressions[t.compression]
	if !ok {
		name = fmt.Sprint("number ", t.compression)
	}
	return nil, fmt.Errorf("%w: its compression is %s; convert it first: `tiffcp -c lzw in.tif out.tif` or `magick in.tif out.png`", ErrUnsupported, name)
}

// faxKind returns the kind of fax compression, and whether it is one.
func (t *tiffImage) faxKind() (kind ccitt.Kind, ok bool) {
	switch t.compression {
	case tiffRLE:
		return ccitt.RLE, true
	case tiffRLEWords:
		return ccitt.RLEWords, true
	case tiffGroup3:
		if t.number(tagT4Options, 0)&1 != 0 {
			return ccitt.Group3Mixed, true
		}
		return ccitt.Group3, true
	case tiffGroup4:
		return ccitt.Group4, true
	}
	return 0, false
}

// packBits undoes TIFF's run lengths.
type packBits struct {
	in    []byte
	run   int  // bytes that are still to come
	value byte // of a repeated run
	same  bool
}

// Read implements [io.Reader].
func (p *packBits) Read(b []byte) (n int, err error) {
	for n < len(b) {
		for p.run == 0 {
			if len(p.in) < 2 {
				if n > 0 {
					return n, nil
				}
				return 0, io.EOF
			}
			v := int8(p.in[0])
			p.in = p.in[1:]
			switch {
			case v >= 0:
				p.run, p.same = int(v)+1, false
			case v != -128:
				p.run, p.same, p.value = 1-int(v), true, p.in[0]
				p.in = p.in[1:]
			}
		}
		size := min(p.run, len(b)-n)
		if p.same {
			for i := range size {
				b[n+i] = p.value
			}
		} else if size = copy(b[n:n+size], p.in); size == 0 {
			return n, io.ErrUnexpectedEOF
		} else {
			p.in = p.in[size:]
		}
		n += size
		p.run -= size
	}
	return n, nil
}

// Values of the predictor tag.
const (
	tiffDifferences      = 2
	tiffFloatDifferences = 3
)

// unpredict undoes the differences between neighbors of a row.
func (t *tiffImage) unpredict(row []byte, samples int) error {
	switch t.compression {
	case tiffLZW, tiffDeflate, tiffDeflate2:
	default:
		return nil // others have no predictor
	}
	switch {
	case t.predictor <= 1:
		return nil
	case t.predictor == tiffDifferences && (t.depth == 8 || t.depth == 16 || t.depth == 32):
		t.addNeighbors(row, samples)
	case t.predictor == tiffFloatDifferences && t.format == tiffFloats && t.depth == 32:
		t.joinPlanes(row, samples)
	default:
		return fmt.Errorf("%w: predictor %d with %d bits a sample", ErrUnsupported, t.predictor, t.depth)
	}
	return nil
}

// addNeighbors adds to each sample the one of the pixel before it.
func (t *tiffImage) addNeighbors(row []byte, samples int) {
	switch t.depth {
	case 8:
		for i := samples; i < len(row); i++ {
			row[i] += row[i-samples]
		}
	case 16:
		for i := 2 * samples; i+2 <= len(row); i += 2 {
			t.order.PutUint16(row[i:], t.order.Uint16(row[i:])+t.order.Uint16(row[i-2*samples:]))
		}
	case 32:
		for i := 4 * samples; i+4 <= len(row); i += 4 {
			t.order.PutUint32(row[i:], t.order.Uint32(row[i:])+t.order.Uint32(row[i-4*samples:]))
		}
	}
}

// joinPlanes undoes the differences between bytes of floats, which are stored by
// their significance.
func (t *tiffImage) joinPlanes(row []byte, samples int) {
	for i := samples; i < len(row); i++ {
		row[i] += row[i-samples]
	}
	planes, n := bytes.Clone(row), len(row)/4
	for i := range n {
		v := uint32(planes[i])<<24 | uint32(planes[n+i])<<16 | uint32(planes[2*n+i])<<8 | uint32(planes[3*n+i])
		t.order.PutUint32(row[4*i:], v)
	}
}
