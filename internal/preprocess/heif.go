//go:build heif

package preprocess

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"image"
	"image/color"
	"strings"
	"sync"

	"github.com/gen2brain/avif"
	"github.com/gen2brain/heic"
)

// maxHEIF is the most pixels of a HEIC or AVIF picture: its decoder, a
// WebAssembly module, needs about 70 bytes for each.
const maxHEIF = 25_000_000

// heifMutex lets one picture be decoded at a time, which bounds the memory.
var heifMutex sync.Mutex

// decodeHEIF reads HEIC and AVIF, of several pictures the primary one.
var decodeHEIF = func(data []byte, kind string, lim Limits) (*RGB, error) {
	f := &heifFile{}
	if err := f.parse(data); err != nil {
		return nil, err
	}
	lim.MaxPixels = min(lim.MaxPixels, maxHEIF)
	for _, size := range f.sizes { // of tiles and thumbnails, too
		if err := checkSize(size.X, size.Y, lim, 0, 0); err != nil {
			return nil, err
		}
	}
	heifMutex.Lock()
	defer heifMutex.Unlock()
	if kind == "HEIC" { // libheif applies the orientation itself
		m, err := heic.Decode(bytes.NewReader(data))
		if err != nil {
			return nil, firstLine(err)
		}
		return fromHEIC(m), nil
	}
	m, err := avif.Decode(bytes.NewReader(data))
	if err != nil {
		return nil, firstLine(err)
	}
	img, err := fromAVIF(m)
	if err != nil {
		return nil, err
	}
	return orient(img, f.orientation()), nil
}

// firstLine leaves out the stack of a WebAssembly module.
func firstLine(err error) error {
	line, _, _ := strings.Cut(err.Error(), "\n")
	return errors.New(line)
}

// heifFile is what the boxes of a file (ISO/IEC 23008-12) say of its pictures.
type heifFile struct {
	primary    uint32
	properties []heifProperty
	used       map[uint32][]int // properties of an item, from 1
	sizes      []image.Point    // of all items
}

type heifProperty struct {
	kind string
	body []byte
}

// boxes calls visit for each box in b.
func boxes(b []byte, visit func(kind string, body []byte) error) error {
	for len(b) >= 8 {
		n, header := uint64(binary.BigEndian.Uint32(b)), uint64(8)
		switch {
		case n == 0:
			n = uint64(len(b))
		case n == 1 && len(b) >= 16:
			n, header = binary.BigEndian.Uint64(b[8:]), 16
		}
		if n < header || n > uint64(len(b)) {
			return errTruncated
		}
		if err := visit(string(b[4:8]), b[header:n]); err != nil {
			return err
		}
		b = b[n:]
	}
	return nil
}

func (f *heifFile) parse(data []byte) error {
	f.used = map[uint32][]int{}
	err := boxes(data, func(kind string, body []byte) error {
		if kind != "meta" || len(body) < 4 {
			return nil
		}
		return boxes(body[4:], f.meta)
	})
	if err == nil && len(f.sizes) == 0 {
		err = errors.New("no picture says its size")
	}
	return err
}

func (f *heifFile) meta(kind string, body []byte) error {
	switch kind {
	case "pitm":
		if len(body) >= 8 && body[0] > 0 {
			f.primary = binary.BigEndian.Uint32(body[4:])
		} else if len(body) >= 6 {
			f.primary = uint32(binary.BigEndian.Uint16(body[4:]))
		}
	case "iprp":
		return boxes(body, func(kind string, body []byte) error {
			switch kind {
			case "ipco":
				return boxes(body, f.property)
			case "ipma":
				f.associations(body)
			}
			return nil
		})
	}
	return nil
}

func (f *heifFile) property(kind string, body []byte) error {
	f.properties = append(f.properties, heifProperty{kind, body})
	if kind == "ispe" && len(body) >= 12 {
		w, h := binary.BigEndian.Uint32(body[4:]), binary.BigEndian.Uint32(body[8:])
		if w > 1<<31-1 || h > 1<<31-1 {
			return fmt.Errorf("%w: %d×%d pixels", ErrTooLarge, w, h)
		}
		f.sizes = append(f.sizes, image.Pt(int(w), int(h)))
	}
	return nil
}

// associations reads which properties belong to which item.
func (f *heifFile) associations(b []byte) {
	if len(b) < 8 {
		return
	}
	version, wide := b[0], b[3]&1 != 0
	for b = b[8:]; len(b) >= 5; {
		id := uint32(binary.BigEndian.Uint16(b))
		b = b[2:]
		if version > 0 {
			id = id<<16 | uint32(binary.BigEndian.Uint16(b))
			b = b[2:]
		}
		if len(b) == 0 {
			return
		}
		n := int(b[0])
		for b = b[1:]; n > 0; n-- {
			switch {
			case wide && len(b) >= 2:
				f.used[id] = append(f.used[id], int(binary.BigEndian.Uint16(b)&0x7FFF))
				b = b[2:]
			case !wide && len(b) >= 1:
				f.used[id] = append(f.used[id], int(b[0]&0x7F))
				b = b[1:]
			default:
				return
			}
		}
	}
}

// orientation returns what the rotation and the mirroring of the primary picture
// are as an EXIF orientation. That of EXIF itself does not count, as in Pillow.
func (f *heifFile) orientation() int {
	angle, mirror := 0, 0 // in quarters; 1 top to bottom, 2 left to right
	for _, i := range f.used[f.primary] {
		if i < 1 || i > len(f.properties) {
			continue
		}
		switch p := f.properties[i-1]; {
		case p.kind == "irot" && len(p.body) > 0:
			angle = int(p.body[0] & 3)
		case p.kind == "imir" && len(p.body) > 0:
			mirror = 1 + int(p.body[0]&1)
		}
	}
	return [4][3]int{{1, 4, 2}, {8, 5, 7}, {3, 2, 4}, {6, 7, 5}}[angle][mirror]
}

// fromAVIF composites a picture whose colors are multiplied by the opacity.
func fromAVIF(m image.Image) (*RGB, error) {
	pix, step := []byte(nil), 1
	switch m := m.(type) {
	case *image.RGBA:
		pix = m.Pix
	case *image.RGBA64:
		pix, step = m.Pix, 2
	default:
		return nil, fmt.Errorf("%w: decoded as %T", ErrUnsupported, m)
	}
	img := newRGB(m.Bounds().Dx(), m.Bounds().Dy())
	if len(pix) < 4*step*img.W*img.H {
		return nil, errTruncated
	}
	for dst := img.Pix; len(dst) > 0; dst, pix = dst[3:], pix[4*step:] {
		for i := range 3 {
			dst[i] = byte(min(int(pix[i*step])+255-int(pix[3*step]), 255))
		}
	}
	return img, nil
}

// fromHEIC converts what the decoder returns: YCbCr, gray or RGBA.
func fromHEIC(m image.Image) *RGB {
	b := m.Bounds()
	img := newRGB(b.Dx(), b.Dy())
	dst := img.Pix
	for y := b.Min.Y; y < b.Max.Y; y++ {
		for x := b.Min.X; x < b.Max.X; x++ {
			c := color.NRGBAModel.Convert(m.At(x, y)).(color.NRGBA)
			dst[0], dst[1], dst[2] = overWhite(c.R, c.A), overWhite(c.G, c.A), overWhite(c.B, c.A)
			dst = dst[3:]
		}
	}
	return img
}
