package preprocess

import (
	"encoding/binary"
	"fmt"
	"testing"
)

// TestYCCTables checks what the tags of luma and chroma may say; colors are compared
// with Pillow's by TestDecodeGoldens.
func TestYCCTables(t *testing.T) {
	const most = 1<<32 - 1
	for _, c := range []struct {
		share, reference []uint32 // numerators and denominators
		ok               bool
	}{
		{nil, nil, true},
		{[]uint32{299, 1000, 587, 1000, 114, 1000}, nil, true},
		{[]uint32{1, 1, 0, 1, 1, 1}, nil, false},
		{[]uint32{1, 1, 1, 0, 1, 1}, nil, false},
		{[]uint32{most, 1, 1, most, most, 1}, nil, true},
		{nil, []uint32{0, 1, 255, 1, 128, 1, 255, 1, 128, 1, 255, 1}, true},
		{nil, []uint32{9, 1, 9, 1, 9, 1, 9, 1, 9, 1, 9, 1}, true},
		{nil, []uint32{0, 1, most, 1, 128, 1, 255, 1, 128, 1, 255, 1}, false},
		{nil, []uint32{0, 1, 1, most, 128, 1, 255, 1, 128, 1, 255, 1}, true},
	} {
		t.Run(fmt.Sprint(c.share, c.reference), func(t *testing.T) {
			f := &tiffFile{order: binary.BigEndian, entries: map[uint16]tiffEntry{}}
			for tag, values := range map[uint16][]uint32{tagYCCCoefficients: c.share, tagReferenceBlackWhite: c.reference} {
				var data []byte
				for _, v := range values {
					data = binary.BigEndian.AppendUint32(data, v)
				}
				f.entries[tag] = tiffEntry{tiffRational, data}
			}
			tables, err := (&tiffImage{tiffFile: f}).newYCCTables()
			if (err == nil) != c.ok {
				t.Fatalf("error %v", err)
			}
			if err != nil {
				return
			}
			if got := tables.luma[0]; got > 0 {
				t.Errorf("black is %d", got)
			}
		})
	}
}

// TestUnit checks the sizes of units; without a tag they are of 2 × 2 pixels.
func TestUnit(t *testing.T) {
	for _, c := range []struct {
		name string
		tag  []byte
		w, h int
	}{
		{"none", nil, 2, 2},
		{"one number", []byte{0, 4}, 2, 2},
		{"two", []byte{0, 4, 0, 1}, 4, 1},
		{"large", []byte{255, 255, 0, 1}, 255, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := &tiffFile{order: binary.BigEndian, entries: map[uint16]tiffEntry{tagSubsampling: {tiffShort, c.tag}}}
			if w, h := (&tiffImage{tiffFile: f}).unit(); w != c.w || h != c.h {
				t.Errorf("%d × %d, want %d × %d", w, h, c.w, c.h)
			}
		})
	}
}
