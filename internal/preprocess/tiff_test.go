package preprocess

import (
	"bytes"
	"encoding/binary"
	"testing"
)

// TestTIFFFloats checks that floats are cut to whole numbers and clipped, as
// Pillow's conversion of mode F does.
func TestTIFFFloats(t *testing.T) {
	long := func(tag, v uint32) [4]uint32 { return [4]uint32{tag, 4, 1, v} }
	entries := [][4]uint32{long(tagWidth, 5), long(tagLength, 1), long(tagBits, 32), long(tagPhotometric, tiffBlackIsZero),
		long(tagSampleFormat, tiffFloats), long(tagStripOffsets, 0), long(tagStripCounts, 20)}
	entries[5][3] = uint32(len(tiffHeader(entries...))) // where the strip is
	var b bytes.Buffer
	b.WriteString(tiffHeader(entries...))
	if err := binary.Write(&b, binary.LittleEndian, []float32{-3, 0.9, 100.5, 254.99, 1e9}); err != nil {
		t.Fatal(err)
	}
	img, err := Decode(b.Bytes(), Limits{})
	if err != nil {
		t.Fatal(err)
	}
	if want := []byte{0, 0, 0, 0, 0, 0, 100, 100, 100, 254, 254, 254, 255, 255, 255}; !bytes.Equal(img.Pix, want) {
		t.Errorf("%v, want %v", img.Pix, want)
	}
}
