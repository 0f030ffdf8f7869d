package preprocess

import (
	"encoding/binary"
	"fmt"
	"math/bits"
)

// Values of a BMP's compression field.
const (
	bmpRaw       = 0
	bmpRLE8      = 1
	bmpRLE4      = 2
	bmpBitfields = 3
)

// bmpFile is what the headers of a BMP tell.
type bmpFile struct {
	w, h        int
	depth       int // bits a pixel
	compression uint32
	topDown     bool
	masks       [4]uint32 // of red, green, blue and alpha
	colors      [256][3]byte
	data        []byte
}

// decodeBMP reads the bitmaps of Windows (1 to 32 bits, RLE, bit fields) and of
// OS/2.
func decodeBMP(data []byte, lim Limits) (*RGB, error) {
	f := &bmpFile{}
	if err := f.parse(data); err != nil {
		return nil, err
	}
	stride := (int64(f.w)*int64(f.depth) + 31) / 32 * 4
	least := int64(f.h-1)*stride + (int64(f.w)*int64(f.depth)+7)/8 // the last line needs no padding
	if f.compression == bmpRLE4 || f.compression == bmpRLE8 {
		least = 0
	}
	if err := checkSize(f.w, f.h, lim, int64(len(f.data)), least); err != nil {
		return nil, err
	}
	if least == 0 {
		return f.rle()
	}
	img := newRGB(f.w, f.h)
	convert := f.converter()
	for y := range f.h {
		convert(f.line(img, y), f.data[int64(y)*stride:])
	}
	return img, nil
}

// line returns the pixels of the line that is stored as the y-th.
func (f *bmpFile) line(img *RGB, y int) []byte {
	if !f.topDown {
		y = f.h - 1 - y
	}
	return img.Pix[3*y*f.w:][:3*f.w]
}

func (f *bmpFile) parse(data []byte) error {
	if len(data) < 18 {
		return errTruncated
	}
	offset, size := int64(binary.LittleEndian.Uint32(data[10:])), int64(binary.LittleEndian.Uint32(data[14:]))
	if size > int64(len(data))-14 {
		return fmt.Errorf("%w: a header of %d bytes", errTruncated, size)
	}
	header, rest := data[14:14+size], data[14+size:]
	padding, count := 4, uint32(0)
	switch size {
	case 12:
		padding = 3
		f.w, f.h = int(binary.LittleEndian.Uint16(header[4:])), int(binary.LittleEndian.Uint16(header[6:]))
		f.depth = int(binary.LittleEndian.Uint16(header[10:]))
	case 40, 52, 56, 64, 108, 124:
		u32 := func(at int) uint32 { return binary.LittleEndian.Uint32(header[at:]) }
		f.w, f.h, f.topDown = int(u32(4)), int(u32(8)), header[11] == 0xFF
		if f.topDown {
			f.h = int(-u32(8))
		}
		f.depth, f.compression, count = int(binary.LittleEndian.Uint16(header[14:])), u32(16), u32(32)
	default:
		return fmt.Errorf("%w: a header of %d bytes", ErrUnsupported, size)
	}
	if f.compression == bmpBitfields {
		var err error
		if rest, err = f.bitfields(header, rest); err != nil {
			return err
		}
	}
	if err := f.check(); err != nil {
		return err
	}
	if f.depth <= 8 {
		if count == 0 {
			count = 1 << f.depth
		}
		if count > 65536 {
			return fmt.Errorf("a palette of %d colors", count)
		}
		if offset == 14+size {
			offset += int64(padding) * int64(count)
		}
		f.palette(rest, padding, int(count))
	}
	if offset == 0 {
		offset = int64(len(data)) - int64(len(rest)) + int64(padding)*int64(count)
	}
	f.data = data[min(offset, int64(len(data))):]
	return nil
}

// bitfields reads the masks, which stand in the header or after it. Those of
// zeros mean the usual order.
func (f *bmpFile) bitfields(header, rest []byte) ([]byte, error) {
	at, n := header[min(40, len(header)):], 3
	switch {
	case len(header) >= 56:
		n = 4
	case len(header) == 40:
		if len(rest) < 12 {
			return nil, errTruncated
		}
		at, rest = rest, rest[12:]
	}
	for i := range n {
		f.masks[i] = binary.LittleEndian.Uint32(at[4*i:])
	}
	if f.depth == 32 && f.masks == [4]uint32{} {
		f.masks = [4]uint32{0xFF0000, 0xFF00, 0xFF, 0xFF000000}
	}
	return rest, nil
}

// check refuses what is not read and sets the masks that go without saying.
func (f *bmpFile) check() error {
	switch f.depth {
	case 1, 2, 4, 8, 16, 24, 32:
	default:
		return fmt.Errorf("%w: %d bits a pixel", ErrUnsupported, f.depth)
	}
	switch {
	case f.compression == bmpBitfields && f.depth >= 16:
		for _, m := range f.masks {
			if low := m >> bits.TrailingZeros32(m); low&(low+1) != 0 {
				return fmt.Errorf("the bit mask %#x has holes", m)
			}
		}
		if rgb := [3]uint32(f.masks[:]); f.depth == 16 && (rgb == [3]uint32{0x7C00, 0x3E0, 0x1F} || rgb == [3]uint32{0xF800, 0x7E0, 0x1F}) {
			f.masks[3] = 0 // as in Pillow
		}
	case f.compression == bmpRaw && f.depth == 16:
		f.masks = [4]uint32{0x7C00, 0x3E0, 0x1F}
	case f.compression == bmpRaw:
		f.masks = [4]uint32{0xFF0000, 0xFF00, 0xFF}
	case (f.compression == bmpRLE4 || f.compression == bmpRLE8) && f.depth <= 8:
	default:
		return fmt.Errorf("%w: compression %d with %d bits a pixel", ErrUnsupported, f.compression, f.depth)
	}
	return nil
}

func (f *bmpFile) palette(b []byte, padding, count int) {
	for i := range min(count, len(b)/padding, len(f.colors)) {
		c := b[i*padding:]
		f.colors[i] = [3]byte{c[2], c[1], c[0]}
	}
}

// converter returns the function that makes RGB of a line.
func (f *bmpFile) converter() func(dst, src []byte) {
	if f.depth <= 8 {
		return indexed(&f.colors, uint(f.depth))
	}
	var fields [4]bmpField
	for i, m := range f.masks {
		fields[i] = newBMPField(m)
	}
	n := f.depth / 8
	return func(dst, src []byte) {
		for ; len(dst) > 0; dst, src = dst[3:], src[n:] {
			v := uint32(src[0]) | uint32(src[1])<<8
			if n > 2 {
				v |= uint32(src[2]) << 16
			}
			if n > 3 {
				v |= uint32(src[3]) << 24
			}
			alpha := byte(255)
			if f.masks[3] != 0 {
				alpha = fields[3].sample(v)
			}
			for i := range 3 {
				dst[i] = overWhite(fields[i].sample(v), alpha)
			}
		}
	}
}

// bmpField is where a sample stands in a pixel.
type bmpField struct {
	shift int
	most  uint64
}

func newBMPField(mask uint32) bmpField {
	if mask == 0 {
		return bmpField{}
	}
	shift := bits.TrailingZeros32(mask)
	return bmpField{shift, uint64(mask >> shift)}
}

func (f bmpField) sample(v uint32) byte {
	if f.most == 0 {
		return 0
	}
	return byte(uint64(v) >> f.shift & f.most * 255 / f.most)
}

// rle decodes run lengths. Pixels that are skipped, and those after the end of
// the bitmap, have color 0.
func (f *bmpFile) rle() (*RGB, error) {
	if err := checkCanvas(f.w, f.h, len(f.data)); err != nil {
		return nil, err
	}
	img := newRGB(f.w, f.h)
	fill(img, f.colors[0])
	total, at, x := f.w*f.h, 0, 0
	put := func(v byte) {
		if at < total {
			copy(f.line(img, at/f.w)[3*(at%f.w):], f.colors[v][:])
			at++
		}
	}
	b := f.data
	for at < total {
		if len(b) < 2 {
			return nil, fmt.Errorf("%w: %d pixels of %d", errTruncated, at, total)
		}
		n, v := int(b[0]), b[1]
		b = b[2:]
		switch {
		case n > 0:
			n = min(n, max(f.w-x, 0))
			for i := range n {
				put(f.rleSample(v, i))
			}
			x += n
		case v == 0: // end of line
			at, x = (at+f.w-1)/f.w*f.w, 0
		case v == 1: // end of bitmap
			img.Warnings = append(img.Warnings, "the bitmap ends before its last line")
			return img, nil
		case v == 2: // a step to the right and up
			if len(b) < 2 {
				return nil, errTruncated
			}
			at += int(b[0]) + int(b[1])*f.w
			x, b = at%f.w, b[2:]
		default: // as many pixels as v says, in an even number of bytes
			size := int(v)
			if f.compression == bmpRLE4 {
				size = (size + 1) / 2
			}
			if len(b) < size {
				return nil, errTruncated
			}
			for i := range int(v) {
				if f.compression == bmpRLE4 {
					put(f.rleSample(b[i/2], i))
				} else {
					put(b[i])
				}
			}
			x += int(v)
			_, b = cut(b, size+size&1)
		}
	}
	return img, nil
}

// rleSample returns the i-th pixel of a run of v.
func (f *bmpFile) rleSample(v byte, i int) byte {
	switch {
	case f.compression == bmpRLE8:
		return v
	case i%2 == 0:
		return v >> 4
	}
	return v & 15
}
