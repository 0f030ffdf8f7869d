package preprocess

import (
	"bytes"
	oldlzw "compress/lzw"
	"compress/zlib"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"math/bits"
	"paligemma/internal/ccitt"
	"paligemma/internal/pillow"

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
	samples, convert := t.samples, t.converter()
	if t.planar && t.samples > 1 {
		samples, convert = 1, t.planeConverter(plane)
	}
	row := make([]byte, (t.cw*samples*t.depth+7)/8)
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

// unpredict undoes the differences between neighbors of a row.
func (t *tiffImage) unpredict(row []byte, samples int) error {
	switch {
	case t.predictor <= 1 || t.compression != tiffLZW && t.compression != tiffDeflate && t.compression != tiffDeflate2:
		return nil
	case t.predictor == 2 && t.depth == 8:
		for i := samples; i < len(row); i++ {
			row[i] += row[i-samples]
		}
	case t.predictor == 2 && t.depth == 16:
		for i := 2 * samples; i+2 <= len(row); i += 2 {
			t.order.PutUint16(row[i:], t.order.Uint16(row[i:])+t.order.Uint16(row[i-2*samples:]))
		}
	case t.predictor == 2 && t.depth == 32:
		for i := 4 * samples; i+4 <= len(row); i += 4 {
			t.order.PutUint32(row[i:], t.order.Uint32(row[i:])+t.order.Uint32(row[i-4*samples:]))
		}
	case t.predictor == 3 && t.format == 3 && t.depth == 32:
		for i := samples; i < len(row); i++ {
			row[i] += row[i-samples]
		}
		planes, n := bytes.Clone(row), len(row)/4
		for i := range n {
			v := uint32(planes[i])<<24 | uint32(planes[n+i])<<16 | uint32(planes[2*n+i])<<8 | uint32(planes[3*n+i])
			t.order.PutUint32(row[4*i:], v)
		}
	default:
		return fmt.Errorf("%w: predictor %d with %d bits a sample", ErrUnsupported, t.predictor, t.depth)
	}
	return nil
}

// alpha returns the number of the sample that is the opacity, or 0, and whether
// the colors are multiplied by it.
func (t *tiffImage) alpha(colors int) (sample int, premultiplied bool) {
	switch {
	case t.samples <= colors || t.photometric == 5:
		return 0, false
	case len(t.extra) == 0:
		if t.photometric == 2 && t.samples == 4 {
			return 3, false // Pillow's guess
		}
		return 0, false
	case t.extra[0] == 1:
		return colors, true
	case t.extra[0] == 2 || t.extra[0] == 999: // the latter by CorelDRAW
		return colors, false
	}
	return 0, false
}

// converter returns the function that makes RGB of a row of samples.
func (t *tiffImage) converter() func(dst, src []byte) {
	switch {
	case t.photometric == 3, t.photometric != 2 && t.photometric != 5 && t.depth <= 8:
		return t.tableConverter()
	case t.photometric == 2:
		return t.colorConverter()
	case t.photometric == 5:
		step, skip := t.depth/8, t.samples*t.depth/8
		high := t.high()
		return func(dst, src []byte) {
			for ; len(dst) > 0; dst, src = dst[3:], src[skip:] {
				paper := 255 - src[3*step+high]
				for i := range 3 {
					dst[i] = pillow.UnderInk(src[i*step+high], paper)
				}
			}
		}
	}
	return t.grayConverter()
}

// high is where the high byte of a sample is.
func (t *tiffImage) high() int {
	if t.depth == 16 && t.order == binary.ByteOrder(binary.LittleEndian) {
		return 1
	}
	return 0
}

func (t *tiffImage) colorConverter() func(dst, src []byte) {
	step, skip, high := t.depth/8, t.samples*t.depth/8, t.high()
	alpha, premultiplied := t.alpha(3)
	return func(dst, src []byte) {
		for ; len(dst) > 0; dst, src = dst[3:], src[skip:] {
			for i := range 3 {
				c := src[i*step+high]
				if alpha > 0 {
					c = overWhiteTIFF(c, src[alpha*step+high], premultiplied)
				}
				dst[i] = c
			}
		}
	}
}

// overWhiteTIFF is [overWhite] for samples that may be multiplied by the opacity,
// which Pillow undoes first.
func overWhiteTIFF(c, a byte, premultiplied bool) byte {
	if premultiplied && a > 0 {
		c = byte(min(255*int(c)/int(a), 255))
	}
	return overWhite(c, a)
}

// tableConverter looks up samples of up to 8 bits.
func (t *tiffImage) tableConverter() func(dst, src []byte) {
	var table [256][3]byte
	most := 1<<t.depth - 1
	colors := t.numbers(tagColorMap)
	n := len(colors) / 3
	for i := range most + 1 {
		v := byte(255 * i / most)
		switch {
		case t.photometric == 0:
			table[i] = [3]byte{255 - v, 255 - v, 255 - v}
		case t.photometric != 3:
			table[i] = [3]byte{v, v, v}
		case i < n:
			table[i] = [3]byte{byte(colors[i] >> 8), byte(colors[n+i] >> 8), byte(colors[2*n+i] >> 8)}
		}
	}
	if t.samples == 1 || t.planar {
		return indexed(&table, uint(t.depth))
	}
	alpha, premultiplied := t.alpha(1)
	return func(dst, src []byte) {
		for ; len(dst) > 0; dst, src = dst[3:], src[t.samples:] {
			c := table[src[0]]
			for i := range 3 {
				if alpha > 0 {
					c[i] = overWhiteTIFF(c[i], src[alpha], premultiplied)
				}
				dst[i] = c[i]
			}
		}
	}
}

// grayConverter makes gray of samples of more than 8 bits: the high byte of
// unsigned ones of 12 or 16 bits; others are clipped, as in Pillow.
func (t *tiffImage) grayConverter() func(dst, src []byte) {
	value := t.graySample()
	invert := t.photometric == 0 && t.format == 1 && t.depth <= 16
	return func(dst, src []byte) {
		for i := 0; 3*i < len(dst); i++ {
			v := value(src, i*t.samples)
			if invert {
				v = 255 - v
			}
			dst[3*i], dst[3*i+1], dst[3*i+2] = v, v, v
		}
	}
}

// graySample returns the function that reads sample i of a row.
func (t *tiffImage) graySample() func(src []byte, i int) byte {
	switch {
	case t.format == 3:
		return func(src []byte, i int) byte {
			v := math.Float32frombits(t.order.Uint32(src[4*i:]))
			if !(v > 0) {
				return 0
			}
			return byte(min(v, 255))
		}
	case t.depth == 32:
		return func(src []byte, i int) byte { return byte(min(max(int32(t.order.Uint32(src[4*i:])), 0), 255)) }
	case t.depth == 12:
		return func(src []byte, i int) byte {
			if i%2 == 0 {
				return src[i/2*3]
			}
			return src[i/2*3+1]<<4 | src[i/2*3+2]>>4
		}
	case t.format == 2:
		return func(src []byte, i int) byte { return byte(min(max(int16(t.order.Uint16(src[2*i:])), 0), 255)) }
	}
	return func(src []byte, i int) byte { return byte(t.order.Uint16(src[2*i:]) >> 8) }
}

// planeConverter takes one sample of each pixel. Planes come in order: opacity
// and black are applied to what is there.
func (t *tiffImage) planeConverter(plane int) func(dst, src []byte) {
	colors, alpha, premultiplied := 1, 0, false
	switch t.photometric {
	case 2, 6:
		colors = 3
		alpha, premultiplied = t.alpha(3)
	case 5:
		colors = 3
	}
	if colors == 1 && plane == 0 {
		return t.converter()
	}
	step, high := t.depth/8, t.high()
	return func(dst, src []byte) {
		for ; len(dst) > 0; dst, src = dst[3:], src[step:] {
			v := src[high]
			for i := range 3 {
				switch {
				case colors == 3 && plane == i:
					dst[i] = v
				case t.photometric == 5 && plane == 3:
					dst[i] = pillow.UnderInk(dst[i], 255-v)
				case alpha > 0 && plane == alpha:
					dst[i] = overWhiteTIFF(dst[i], v, premultiplied)
				}
			}
		}
	}
}
