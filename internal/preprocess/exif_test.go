package preprocess

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"image/png"
	"strings"
	"testing"
)

// exifBlock is a TIFF structure with one entry.
func exifBlock(order binary.AppendByteOrder, tag, kind uint16, count uint32, value uint16) []byte {
	b := []byte("II")
	if order.String() == binary.BigEndian.String() {
		b = []byte("MM")
	}
	b = order.AppendUint16(b, 42)
	b = order.AppendUint32(b, 8)
	b = order.AppendUint16(b, 1)
	b = order.AppendUint16(b, tag)
	b = order.AppendUint16(b, kind)
	b = order.AppendUint32(b, count)
	b = order.AppendUint16(b, value)
	return append(b, 0, 0, 0, 0, 0, 0)
}

// TestOrientations shows a file with each orientation: of the picture
//
//	1 2 3
//	4 5 6
//
// as it is stored, what is seen.
func TestOrientations(t *testing.T) {
	for orientation, want := range map[int]string{
		0: "123 456", 1: "123 456", 2: "321 654", 3: "654 321", 4: "456 123",
		5: "14 25 36", 6: "41 52 63", 7: "63 52 41", 8: "36 25 14", 9: "123 456",
	} {
		var b bytes.Buffer
		if err := png.Encode(&b, drawn(3, 2)); err != nil {
			t.Fatal(err)
		}
		chunk := append([]byte("eXIf"), exifBlock(binary.BigEndian, 0x0112, 3, 1, uint16(orientation))...)
		full := binary.BigEndian.AppendUint32(nil, uint32(len(chunk)-4))
		full = binary.BigEndian.AppendUint32(append(full, chunk...), crc32.ChecksumIEEE(chunk))
		const header = 8 + 8 + 13 + 4
		data := append(append(bytes.Clone(b.Bytes()[:header]), full...), b.Bytes()[header:]...)
		img, err := Decode(data, Limits{})
		if err != nil {
			t.Fatal(err)
		}
		var rows []string
		for y := range img.H {
			row := ""
			for x := range img.W {
				row += fmt.Sprint(img.Pix[3*(y*img.W+x)+2])
			}
			rows = append(rows, row)
		}
		if got := strings.Join(rows, " "); got != want {
			t.Errorf("orientation %d: %s, want %s", orientation, got, want)
		}
	}
}

// TestOrientLarge follows single pixels through pictures of several tiles.
func TestOrientLarge(t *testing.T) {
	src := fromNRGBA(drawn(150, 70))
	w, h := src.W, src.H
	for orientation := 1; orientation <= 8; orientation++ {
		dst := orient(src, orientation)
		if wantW, wantH := []int{w, h}[orientation/5], []int{h, w}[orientation/5]; dst.W != wantW || dst.H != wantH {
			t.Fatalf("orientation %d: %d×%d", orientation, dst.W, dst.H)
		}
		for y := range h {
			for x := range w {
				at := [][2]int{{x, y}, {w - 1 - x, y}, {w - 1 - x, h - 1 - y}, {x, h - 1 - y}, {y, x}, {h - 1 - y, x}, {h - 1 - y, w - 1 - x}, {y, w - 1 - x}}[orientation-1]
				if got := dst.Pix[3*(at[1]*dst.W+at[0]):][:3]; !bytes.Equal(got, src.Pix[3*(y*w+x):][:3]) {
					t.Fatalf("orientation %d: (%d, %d) is not at %v", orientation, x, y, at)
				}
			}
		}
	}
}

func TestExifOrientation(t *testing.T) {
	le, be := binary.LittleEndian, binary.BigEndian
	good := exifBlock(le, 0x0112, 3, 1, 6)
	edit := func(at int, v byte) []byte {
		b := bytes.Clone(good)
		b[at] = v
		return b
	}
	number := func(kind uint16, data ...byte) []byte { // data lies after the directory
		b := exifBlock(be, 0x0112, kind, 1, 0)
		b[21] = byte(len(b)) // where data is
		return append(b, data...)
	}
	twice := append(bytes.Clone(good[:22]), good[10:]...)
	twice[8], twice[22+8] = 2, 8
	for name, c := range map[string]struct {
		block []byte
		want  int // -1: none
	}{
		"little-endian":       {good, 6},
		"big-endian":          {exifBlock(be, 0x0112, 3, 1, 8), 8},
		"prefix":              {append([]byte("Exif\x00\x00"), good...), 6},
		"prefix twice":        {append([]byte("Exif\x00\x00Exif\x00\x00"), good...), 6},
		"long":                {exifBlock(le, 0x0112, 4, 1, 3), 3},
		"signed byte":         {exifBlock(le, 0x0112, 6, 1, 3), 3},
		"signed short":        {exifBlock(le, 0x0112, 8, 1, 3), 3},
		"byte":                {exifBlock(le, 0x0112, 1, 1, 5), 0}, // Pillow has bytes there, which equal no number
		"undefined":           {exifBlock(le, 0x0112, 7, 1, 5), 0},
		"small float":         {exifBlock(le, 0x0112, 11, 1, 6), 0},
		"float":               {exifBlock(be, 0x0112, 11, 1, 0x40C0), 6},
		"rational":            {number(5, 0, 0, 0, 12, 0, 0, 0, 2), 6},
		"rational, broken":    {number(5, 0, 0, 0, 12, 0, 0, 0, 0), 0},
		"double":              {number(12, 0x40, 0x18, 0, 0, 0, 0, 0, 0), 6},
		"double beyond":       {number(12, 0x40, 0x18, 0, 0, 0, 0, 0), -1},
		"two values":          {exifBlock(le, 0x0112, 3, 2, 6), 6},
		"many values, beyond": {exifBlock(le, 0x0112, 3, 200, 6), -1},
		"no value":            {exifBlock(le, 0x0112, 3, 0, 6), -1},
		"unknown type":        {exifBlock(le, 0x0112, 99, 1, 6), -1},
		"value 0":             {exifBlock(le, 0x0112, 3, 1, 0), 0},
		"value 9":             {exifBlock(le, 0x0112, 3, 1, 9), 9},
		"value 300":           {exifBlock(le, 0x0112, 3, 1, 300), 0},
		"another tag":         {exifBlock(le, 0x0113, 3, 1, 6), -1},
		"the last one counts": {twice, 8},
		"no data":             {nil, -1},
		"bad order":           {edit(0, 'X'), -1},
		"bad magic":           {edit(2, 41), -1},
		"magic swapped":       {append([]byte("II\x00*"), good[4:]...), 6},
		"BigTIFF":             {edit(2, 43), -1},
		"directory beyond":    {edit(7, 0xFF), -1},
		"another is beyond":   {append(append(bytes.Clone(good[:8]), 2, 0, 0, 1, 3, 0, 99, 0, 0, 0, 99, 0, 0, 0), good[10:]...), -1},
		"count too large":     {edit(8, 200), 6}, // the entry that is there counts
	} {
		t.Run(name, func(t *testing.T) {
			got, ok := exifOrientation(c.block)
			if ok != (c.want >= 0) || ok && got != c.want {
				t.Errorf("%d, %t, want %d", got, ok, c.want)
			}
		})
	}
	for n := range good {
		if got, ok := exifOrientation(good[:n]); ok && n < 22 {
			t.Errorf("%d bytes: %d", n, got)
		}
	}
}

func FuzzExif(f *testing.F) {
	f.Add(exifBlock(binary.LittleEndian, 0x0112, 3, 1, 6))
	f.Add(append([]byte("Exif\x00\x00"), exifBlock(binary.BigEndian, 0x0112, 4, 1, 8)...))
	f.Add([]byte("MM\x00*\xff\xff\xff\xff"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if o, ok := exifOrientation(data); o < 0 || o > 9 || !ok && o != 0 {
			t.Fatal(o, ok)
		}
		for _, m := range []metadata{{exif: data}, {rawProfile: data}, {xmp: data}} {
			if o := m.orientation(); o < 1 || o > 8 {
				t.Fatal(o)
			}
		}
	})
}
