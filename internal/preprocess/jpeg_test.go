package preprocess

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"

	"paligemma/internal/goldens"
)

// TestSizeClaimed: a file that cannot hold a large picture is refused before
// anything of its size is allocated; a small one may lack nearly all.
func TestSizeClaimed(t *testing.T) {
	data := bytes.Clone(goldens.File(t, "damaged/progressive_dc_only.jpg"))
	at := bytes.Index(data, []byte{0xFF, 0xC2}) + 5
	lim := Limits{MaxPixels: 1 << 30}
	copy(data[at:], "\x10\x00\x10\x00") // 16.8 megapixels
	if _, err := Decode(data, lim); !errors.Is(err, errTruncated) || !strings.Contains(err.Error(), "4096×4096") {
		t.Errorf("large: %v", err)
	}
	copy(data[at:], "\x03\x00\x04\x00")
	if img, err := Decode(data, lim); err != nil || img.W != 1024 || img.H != 768 {
		t.Errorf("small: %v", err)
	}
}

// TestExifContinued: EXIF may go on in many segments, at a cost that grows as the
// file does.
func TestExifContinued(t *testing.T) {
	data := goldens.File(t, "gray.jpg")
	whole := withOrientation(data, 6)
	head, tail := whole[:2+4+6+10], whole[2+4+6+10:2+4+6+26] // cut within the directory
	split := slices.Concat(head, []byte("\xff\xe1\x00\x18Exif\x00\x00"), tail, data[2:])
	copy(split[4:], []byte{0, 2 + 6 + 10}) // the first segment's length
	want, err := Decode(whole, Limits{})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := Decode(split, Limits{}); err != nil || got.W != want.W || !bytes.Equal(got.Pix, want.Pix) {
		t.Errorf("two segments: %v, or another picture", err)
	}
	segment := slices.Concat([]byte("\xff\xe1\x80\x02Exif\x00\x00"), make([]byte, 0x8000-6))
	many := slices.Concat(data[:2], bytes.Repeat(segment, 256), data[2:])
	n := allocated(func() {
		if _, err := Decode(many, Limits{}); err != nil {
			t.Error(err)
		}
	})
	if n > 64<<20 {
		t.Errorf("%d bytes for a file of %d", n, len(many))
	}
}
