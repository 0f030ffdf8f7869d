package preprocess

import (
	"bytes"
	"encoding/binary"
	"image"
	"image/gif"
)

// gifFrame is what stands before the pixels of a GIF's first frame.
type gifFrame struct {
	screenW, screenH int
	x, y, w, h       int
	transparent      bool // one index of the palette is
}

// maxLZW is the most pixels that one byte of GIF data can stand for: a 12-bit
// code gives up to 4,096 of them.
const maxLZW = 4096 * 8 / 12

func decodeGIF(data []byte, lim Limits) (*RGB, error) {
	f, err := parseGIF(data)
	if err != nil {
		return nil, err
	}
	// A frame that leaves the screen enlarges it, as in Pillow.
	w, h := max(f.screenW, f.x+f.w), max(f.screenH, f.y+f.h)
	if err := checkSize(w, h, lim, int64(len(data)), int64(f.w)*int64(f.h)/maxLZW); err != nil {
		return nil, err
	}
	if err := checkSize(f.w, f.h, lim, 0, 0); err != nil {
		return nil, err
	}
	if w != f.screenW || h != f.screenH { // image/gif would refuse it
		data = bytes.Clone(data)
		binary.LittleEndian.PutUint16(data[6:], uint16(min(w, 65535)))
		binary.LittleEndian.PutUint16(data[8:], uint16(min(h, 65535)))
	}
	m, err := gif.Decode(bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	frame, err := fromImage(m)
	if err != nil {
		return nil, err
	}
	if frame.W == w && frame.H == h {
		return frame, nil
	}
	// Around the frame the screen is transparent where the frame can be, else
	// of colour 0, as in Pillow.
	ground := [3]byte{255, 255, 255}
	if p, ok := m.(*image.Paletted); ok && !f.transparent {
		ground = flattenPalette(p.Palette)[0]
	}
	screen := newRGB(w, h)
	fill(screen, ground)
	paste(screen, frame, f.x, f.y)
	return screen, nil
}

// parseGIF reads up to the first image descriptor.
func parseGIF(data []byte) (f gifFrame, err error) {
	if len(data) < 13 {
		return f, errTruncated
	}
	u16 := binary.LittleEndian.Uint16
	f.screenW, f.screenH = int(u16(data[6:])), int(u16(data[8:]))
	rest := data[13:]
	if flags := data[10]; flags&0x80 != 0 {
		n := 3 << (flags&7 + 1)
		if len(rest) < n {
			return f, errTruncated
		}
		rest = rest[n:]
	}
	for len(rest) >= 2 {
		switch rest[0] {
		case 0x2C: // image descriptor
			if len(rest) < 10 {
				return f, errTruncated
			}
			f.x, f.y = int(u16(rest[1:])), int(u16(rest[3:]))
			f.w, f.h = int(u16(rest[5:])), int(u16(rest[7:]))
			return f, nil
		case 0x21: // extension: label, then blocks up to an empty one
			if rest[1] == 0xF9 && len(rest) >= 4 { // graphic control
				f.transparent = rest[3]&1 != 0
			}
			rest = rest[2:]
			for {
				if len(rest) == 0 || len(rest) < 1+int(rest[0]) {
					return f, errTruncated
				}
				n := int(rest[0])
				rest = rest[1+n:]
				if n == 0 {
					break
				}
			}
		default: // image/gif gives the error
			return f, nil
		}
	}
	return f, errTruncated
}
