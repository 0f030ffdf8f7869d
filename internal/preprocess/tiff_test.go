package preprocess

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"errors"
	"path/filepath"
	"testing"

	"paligemma/internal/goldens"
)

// TestTIFFDeflated checks that deflated strips, tiles and units whose checksum is wrong
// are refused, and those without one read.
func TestTIFFDeflated(t *testing.T) {
	for _, c := range []struct {
		file            string
		offsets, counts uint16
	}{
		{"gray_deflate.tif", tagStripOffsets, tagStripCounts},
		{"tiles.tif", tagTileOffsets, tagTileCounts},
		{"ycc22.tif", tagStripOffsets, tagStripCounts},
	} {
		t.Run(c.file, func(t *testing.T) {
			data := goldens.File(t, filepath.Join("kinds", c.file))
			f, err := parseTIFF(data)
			if err != nil {
				t.Fatal(err)
			}
			end := f.number(c.offsets, 0) + f.number(c.counts, 0)
			wrong := bytes.Clone(data)
			wrong[end-1] ^= 1
			if _, err := Decode(wrong, Limits{}); !errors.Is(err, zlib.ErrChecksum) {
				t.Errorf("a wrong checksum gives %v", err)
			}
			missing := bytes.Clone(data)
			binary.LittleEndian.PutUint32(missing[bytes.Index(missing, []byte{byte(c.counts), byte(c.counts >> 8), 4, 0, 1, 0, 0, 0})+8:], uint32(f.number(c.counts, 0)-4))
			if _, err := Decode(missing, Limits{}); err != nil {
				t.Errorf("without a checksum: %v", err)
			}
		})
	}
}

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
