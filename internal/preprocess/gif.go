package preprocess

import (
	"encoding/binary"
	"errors"
)

// gifFile is what stands before the pixels of a GIF's first frame.
type gifFile struct {
	w, h         int // of the screen, which a frame that leaves it enlarges, as in Pillow
	x, y, fw, fh int // of the frame
	palette      []byte
	transparent  int // an index; -1: none
	interlaced   bool
	bits         int // of a sample in the data
	warnings     []string
}

// maxLZW is the most pixels that one byte of GIF data can stand for: a 12-bit
// code gives up to 4,096 of them.
const maxLZW = 4096 * 8 / 12

// decodeGIF reads the first frame as Pillow does: unknown bytes between blocks
// are passed over, whatever follows the last pixel does not matter, and where
// there is no palette the samples are gray.
func decodeGIF(data []byte, lim Limits) (*RGB, error) {
	f := &gifFile{transparent: -1}
	rest, err := f.parse(data)
	if err != nil {
		return nil, err
	}
	if err := checkSize(f.w, f.h, lim, 0, 0); err != nil {
		return nil, err
	}
	if err := checkSize(f.fw, f.fh, lim, int64(len(rest)), int64(f.fw)*int64(f.fh)/maxLZW); err != nil {
		return nil, err
	}
	if err := checkCanvas(f.w, f.h, len(data)); err != nil {
		return nil, err
	}
	colors := f.colors()
	img := newRGB(f.w, f.h)
	if f.fw != f.w || f.fh != f.h {
		// Around the frame the screen is transparent where the frame can be,
		// else of color 0, as in Pillow.
		fill(img, colors[max(f.transparent, 0)])
	}
	frame := &gifFrame{gifFile: f, img: img, colors: &colors, step: 1}
	if f.interlaced {
		frame.step, frame.pass = 8, 1
	}
	z, err := newGIFLZW(rest, f.bits)
	if err == nil {
		err = z.decode(frame.put)
	}
	if err != nil {
		return nil, err
	}
	img.Warnings = f.warnings
	return img, nil
}

// parse reads up to the image data, which it returns.
func (f *gifFile) parse(data []byte) (rest []byte, err error) {
	if len(data) < 13 {
		return nil, errTruncated
	}
	u16 := binary.LittleEndian.Uint16
	f.w, f.h = int(u16(data[6:])), int(u16(data[8:]))
	rest = data[13:]
	if flags := data[10]; flags&0x80 != 0 {
		f.palette, rest = gifPalette(rest, flags)
	}
	unknown := 0
	for len(rest) > 0 {
		block := rest[0]
		rest = rest[1:]
		switch block {
		case ';':
			return nil, errors.New("there is no image in it")
		case '!':
			if rest, err = f.extension(rest); err != nil {
				return nil, err
			}
		case ',':
			if unknown > 0 {
				f.warnings = append(f.warnings, "unknown bytes before the image are ignored")
			}
			return f.descriptor(rest)
		default:
			unknown++
		}
	}
	return nil, errTruncated
}

// gifPalette splits a palette off b. One whose colors are the indices themselves
// counts as none, so that samples beyond its end are gray, too.
func gifPalette(b []byte, flags byte) (palette, rest []byte) {
	palette, rest = cut(b, 3<<(flags&7+1))
	for i, v := range palette {
		if int(v) != i/3 {
			return palette, rest
		}
	}
	return nil, rest
}

// cut splits b after n bytes, or after all that there are.
func cut(b []byte, n int) (head, tail []byte) {
	n = min(n, len(b))
	return b[:n:n], b[n:]
}

// extension reads an extension, of which only the graphic control matters. Of
// one whose first block is empty Pillow reads one more list of blocks.
func (f *gifFile) extension(b []byte) (rest []byte, err error) {
	if len(b) < 2 {
		return nil, errTruncated
	}
	label := b[0]
	block, rest := gifBlock(b[1:])
	if label == 0xF9 && len(block) > 0 && block[0]&1 != 0 {
		if len(block) < 4 {
			return nil, errors.New("the graphic control extension is too short")
		}
		f.transparent = int(block[3])
	}
	if label == 0xFE && len(block) == 0 {
		return rest, nil
	}
	for {
		if block, rest = gifBlock(rest); len(block) == 0 {
			return rest, nil
		}
	}
}

// gifBlock splits off a block, which is empty at the end of a list of blocks.
func gifBlock(b []byte) (block, rest []byte) {
	if len(b) == 0 {
		return nil, nil
	}
	return cut(b[1:], int(b[0]))
}

// descriptor reads an image descriptor after its first byte.
func (f *gifFile) descriptor(b []byte) (rest []byte, err error) {
	if len(b) < 10 {
		return nil, errTruncated
	}
	u16 := binary.LittleEndian.Uint16
	f.x, f.y, f.fw, f.fh = int(u16(b)), int(u16(b[2:])), int(u16(b[4:])), int(u16(b[6:]))
	f.w, f.h = max(f.w, f.x+f.fw), max(f.h, f.y+f.fh)
	flags := b[8]
	f.interlaced = flags&0x40 != 0
	rest = b[9:]
	if flags&0x80 != 0 {
		f.palette, rest = gifPalette(rest, flags)
	}
	if len(rest) == 0 {
		return nil, errTruncated
	}
	f.bits = int(rest[0])
	return rest[1:], nil
}

// colors returns what each index looks like over white.
func (f *gifFile) colors() (table [256][3]byte) {
	for i := range table {
		switch v := byte(i); {
		case i == f.transparent:
			table[i] = [3]byte{255, 255, 255}
		case len(f.palette) == 0:
			table[i] = [3]byte{v, v, v}
		case 3*i+3 <= len(f.palette):
			table[i] = [3]byte(f.palette[3*i:])
		}
	}
	return table
}

// gifFrame takes pixels in the order in which they are stored.
type gifFrame struct {
	*gifFile
	img        *RGB
	colors     *[256][3]byte
	row, col   int
	step, pass int
}

// put paints pixels, and reports whether the frame has room for more.
func (g *gifFrame) put(indices []byte) (more bool) {
	for len(indices) > 0 {
		n := min(len(indices), g.fw-g.col)
		dst := g.img.Pix[3*((g.y+g.row)*g.w+g.x+g.col):][:3*n]
		for i, v := range indices[:n] {
			c := &g.colors[v]
			dst[3*i], dst[3*i+1], dst[3*i+2] = c[0], c[1], c[2]
		}
		indices = indices[n:]
		if g.col += n; g.col == g.fw {
			g.col = 0
			if !g.nextRow() {
				return false
			}
		}
	}
	return true
}

func (g *gifFrame) nextRow() bool {
	for g.row += g.step; g.row >= g.fh; g.pass++ {
		switch g.pass {
		case 1:
			g.row = 4
		case 2:
			g.row, g.step = 2, 4
		case 3:
			g.row, g.step = 1, 2
		default:
			return false
		}
	}
	return true
}
