package preprocess

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"os"
	"paligemma/internal/goldens"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// openFile opens a JPEG with the limits of a test.
func openFile(t testing.TB, data []byte) *jpegDecoder {
	t.Helper()
	d, err := openJPEG(data, DefaultLimits)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// kept decodes a file as if it had several scans, and returns the decoder with all
// coefficients.
func kept(data []byte, lim Limits) (*jpegDecoder, *RGB, error) {
	d, err := openJPEG(data, lim)
	if err != nil {
		return nil, nil, err
	}
	if _, err := d.next(); err != nil {
		return nil, nil, err
	}
	s, err := d.scanHeader()
	if err != nil {
		return nil, nil, err
	}
	if err := d.scans(s); err != nil {
		return nil, nil, err
	}
	img := newRGB(d.w, d.h)
	return d, img, d.output(&wholePicture{img: img})
}

// TestStreamed: bands that are transformed while others are decoded give what the
// coefficients of the whole picture give.
func TestStreamed(t *testing.T) {
	for _, file := range goldens.Glob(t, 30, "*.jpg", "extra/*.jpg") {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		_, want, err := kept(data, DefaultLimits)
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		d := openFile(t, data)
		got := newRGB(d.w, d.h)
		if err := d.decode(&wholePicture{img: got}); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		if !bytes.Equal(got.Pix, want.Pix) {
			t.Errorf("%s: another picture", file)
		}
	}
}

// without returns a JPEG without the segments that have that marker.
func without(t testing.TB, data []byte, marker byte) []byte {
	t.Helper()
	d := &jpegDecoder{data: data, pos: 2}
	out := bytes.Clone(data[:2])
	for start := 2; ; start = d.pos {
		m, err := d.next()
		if err == nil && m != markerEOI && (m < markerRST0 || m > markerRST7) {
			_, err = d.body(true)
		}
		if err != nil || m == markerEOI { // the rest has no segments
			return append(out, data[start:]...)
		}
		if m != marker {
			out = append(out, data[start:d.pos]...)
		}
	}
}

// TestStandardHuffmans: a sequential file may lack the tables of the standard.
func TestStandardHuffmans(t *testing.T) {
	data := goldens.File(t, "extra/h2v1.jpg")
	want, err := Decode(data, Limits{})
	if err != nil {
		t.Fatal(err)
	}
	bare := without(t, data, markerDHT)
	if len(bare) > len(data)-400 {
		t.Fatalf("%d bytes of %d", len(bare), len(data))
	}
	got, err := Decode(bare, Limits{})
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got.Pix, want.Pix) {
		t.Error("another picture")
	}
	bare = without(t, goldens.File(t, "extra/progressive_odd.jpg"), markerDHT)
	if _, err := Decode(bare, Limits{}); err == nil || !strings.Contains(err.Error(), "Huffman table 0 is missing") {
		t.Errorf("progressive: %v", err)
	}
}

// TestDamagedJPEG changes one thing in a good file: an error that names it.
func TestDamagedJPEG(t *testing.T) {
	replace := func(old, new string) func([]byte) []byte {
		return func(b []byte) []byte {
			if !bytes.Contains(b, []byte(old)) {
				t.Errorf("%x is not there", old)
			}
			return bytes.Replace(b, []byte(old), []byte(new), 1)
		}
	}
	at := func(marker string, offset int, v byte) func([]byte) []byte {
		return func(b []byte) []byte {
			b[bytes.Index(b, []byte(marker))+offset] = v
			return b
		}
	}
	const sof, sos, dht, dqt, dri = "\xff\xc0", "\xff\xda", "\xff\xc4", "\xff\xdb", "\xff\xdd"
	for name, c := range map[string]struct {
		file   string
		change func([]byte) []byte
		want   string
	}{
		"cut in the scan":    {"h2v1.jpg", func(b []byte) []byte { return b[:len(b)-200] }, "cut short"},
		"cut before a scan":  {"progressive_odd.jpg", func(b []byte) []byte { return b[:bytes.LastIndex(b, []byte(sos))] }, "no end marker"},
		"cut in the header":  {"h2v1.jpg", func(b []byte) []byte { return b[:100] }, "cut short"},
		"restart interval":   {"restart.jpg", at(dri, 3, 5), "restart"},
		"no quantiser":       {"h2v1.jpg", func(b []byte) []byte { return without(t, b, markerDQT) }, "lacks its quantisation table"},
		"quantiser kind":     {"h2v1.jpg", at(dqt, 4, 0x04), "quantisation table 4"},
		"quantiser length":   {"h2v1.jpg", at(dqt, 4, 0x10), "too short"},
		"quantiser number":   {"h2v1.jpg", at(sof, 12, 9), "quantisation table 9"},
		"frame length":       {"h2v1.jpg", at(sof, 9, 2), "frame header has 15 bytes"},
		"two frames":         {"h2v1.jpg", replace(sos, "\xff\xc0\x00\x0b\x08\x00\x08\x00\x08\x01\x01\x11\x00\xff\xda"), "two frame headers"},
		"factor 0":           {"h2v1.jpg", at(sof, 11, 0x01), "factors 0×1"},
		"factor 5":           {"h2v1.jpg", at(sof, 14, 0x15), "factors 1×5"},
		"factors 3 to 2":     {"h2v1.jpg", at(sof, 14, 0x31), "factors 2×1 of 3×1"},
		"too many blocks":    {"h2v1.jpg", at(sof, 11, 0x44), "18 blocks"},
		"height open":        {"h2v1.jpg", func(b []byte) []byte { return at(sof, 5, 0)(at(sof, 6, 0)(b)) }, "height"},
		"Huffman kind":       {"h2v1.jpg", at(dht, 4, 0x22), "Huffman table"},
		"Huffman length":     {"h2v1.jpg", at(dht, 6, 200), "wrong length"},
		"Huffman code":       {"h2v1.jpg", at(dht, 5, 2), "Huffman table"},
		"DC of 16 bits":      {"h2v1.jpg", at(dht, 21, 16), "16 bits"},
		"Huffman number":     {"h2v1.jpg", at(sos, 6, 0x30), "Huffman table 3 is missing"},
		"unknown component":  {"h2v1.jpg", at(sos, 5, 77), "component 77"},
		"component twice":    {"h2v1.jpg", at(sos, 7, 1), "out of order"},
		"scan header":        {"h2v1.jpg", at(sos, 4, 2), "scan header"},
		"scan without frame": {"h2v1.jpg", func(b []byte) []byte { return without(t, b, 0xC0) }, "before the frame header"},
		"no scan":            {"h2v1.jpg", replace(sos, "\xff\xd9"), "no scan"},
		"no picture":         {"h2v1.jpg", replace(sof, "\xff\xd9"), "no picture"},
		"picture within":     {"h2v1.jpg", replace(sos, "\xff\xd8\xff\xda"), "second picture"},
		"reserved segment":   {"h2v1.jpg", replace(sos, "\xff\xf0\x00\x02\xff\xda"), "segment 0xf0"},
		"two scans":          {"gray", func(b []byte) []byte { return append(b[:len(b)-2], b[bytes.Index(b, []byte(sos)):]...) }, "another scan"},
		"too many scans": {"progressive_odd.jpg", func(b []byte) []byte {
			i := bytes.LastIndex(b, []byte(sos))
			return slices.Concat(b[:i], bytes.Repeat(b[i:len(b)-2], 300), b[len(b)-2:])
		}, "more than 256 scans"},
		"spectral selection": {"progressive_odd.jpg", at(sos, 12, 5), "coefficients 0 to 5"},
		"bits":               {"progressive_odd.jpg", at(sos, 13, 0x31), "bits from 3 to 1"},
	} {
		path := filepath.Join("extra", c.file)
		if c.file == "gray" {
			path = "gray.jpg"
		}
		data := c.change(bytes.Clone(goldens.File(t, path)))
		if _, err := Decode(data, Limits{}); err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "decoder failed") {
			t.Errorf("%s: %v, want %q in it", name, err, c.want)
		}
	}
	// Bytes of a scan that are wrong anywhere: an error or some picture.
	for _, file := range []string{"extra/restart.jpg", "extra/progressive_odd.jpg", "extra/ycck_half.jpg"} {
		data := goldens.File(t, file)
		r := rand.New(rand.NewPCG(3, 4))
		failed := 0
		for range 2000 {
			bad := bytes.Clone(data)
			bad[r.IntN(len(bad))] = byte(r.Uint32())
			_, err := Decode(bad, Limits{MaxPixels: 1 << 16})
			if err != nil {
				failed++
				if strings.Contains(err.Error(), "decoder failed") {
					t.Fatal(err)
				}
			}
		}
		if failed < 50 {
			t.Errorf("%s: only %d errors", file, failed)
		}
	}
}

// TestWarnings: what was mended is told.
func TestWarnings(t *testing.T) {
	for file, want := range map[string][]string{
		"bits":                    nil, // nobody can know
		"second_picture":          nil,
		"bogus_length":            nil,
		"cut_and_closed":          {"a scan ends early"},
		"cut_and_zeros":           {"there is no end marker"},
		"missing_bytes":           {"an invalid code in a scan"},
		"component_missing":       {"2 color components have no data"},
		"junk_in_header":          {"4 bytes between segments are skipped"},
		"surplus":                 {"84 bytes between segments are skipped"},
		"restart_renumbered":      {"a restart marker is missing or out of order"},
		"restart_segment_missing": {"a scan ends early", "a restart marker is missing or out of order"},
		"progressive_dc_only":     {"the scans are incomplete: details are estimated"},
		"progressive_no_dc":       {"6 progressive scans do not fit the scans before them"},
		"progressive_dc_cut":      {"a scan ends early", "the scans are incomplete: details are estimated"},
		"segment_cut_after_scan":  {"there is no end marker"},
	} {
		img, err := Decode(goldens.File(t, filepath.Join("damaged", file+".jpg")), Limits{})
		if err != nil {
			t.Errorf("%s: %v", file, err)
		} else if !slices.Equal(img.Warnings, want) {
			t.Errorf("%s: %q, want %q", file, img.Warnings, want)
		}
	}
}

// TestNoEndMarker: a file that lacks nothing else is complete, unless a scan may be
// missing.
func TestNoEndMarker(t *testing.T) {
	for file, ok := range map[string]bool{
		"extra/h2v1.jpg":                       true,
		"extra/restart.jpg":                    true,
		"extra/scans.jpg":                      true,
		"extra/progressive_odd.jpg":            true,
		"damaged/arithmetic.jpg":               false, // trailing zeros are left out, so nobody can know
		"damaged/component_missing.jpg":        false,
		"damaged/progressive_dc_only.jpg":      false,
		"damaged/progressive_three_scans.jpg":  false,
		"damaged/progressive_scan_missing.jpg": false,
	} {
		data := goldens.File(t, file)
		want, err := Decode(data, Limits{})
		if err != nil {
			t.Fatal(err)
		}
		got, err := Decode(data[:len(data)-2], Limits{})
		switch {
		case !ok && !errors.Is(err, errTruncated):
			t.Errorf("%s: %v", file, err)
		case ok && err != nil:
			t.Errorf("%s: %v", file, err)
		case ok && (!bytes.Equal(got.Pix, want.Pix) || !slices.Equal(got.Warnings, []string{"there is no end marker"})):
			t.Errorf("%s: another picture, or %q", file, got.Warnings)
		}
	}
}

// TestSizeClaimed: a file that cannot hold a large picture is refused before
// anything of its size is allocated; a small one may lack nearly all.
func TestSizeClaimed(t *testing.T) {
	data := bytes.Clone(goldens.File(t, "damaged/progressive_dc_only.jpg"))
	at := bytes.Index(data, []byte{0xFF, markerSOF2}) + 5
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
	whole := turned(data, 6)
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

// TestTolerated: harmless oddities between segments and at the end of scans.
func TestTolerated(t *testing.T) {
	for _, file := range []string{"extra/restart.jpg", "extra/progressive_odd.jpg", "extra/h2v1.jpg"} {
		data := goldens.File(t, file)
		want, err := Decode(data, Limits{})
		if err != nil {
			t.Fatal(err)
		}
		for name, odd := range map[string][]byte{
			"fill bytes":      bytes.ReplaceAll(data, []byte("\xff\xc4"), []byte("\xff\xff\xff\xc4")),
			"junk":            bytes.ReplaceAll(data, []byte("\xff\xc4"), []byte("junk\xff\xc4")),
			"after scans":     bytes.ReplaceAll(data, []byte("\xff\xd9"), []byte("\x00\xff\x00\xff\xd7\xff\xff\xd9")),
			"doubled stuffed": bytes.ReplaceAll(data, []byte("\xff\x00"), []byte("\xff\xff\x00")),
			"comment":         bytes.Replace(data, []byte("\xff\xda"), []byte("\xff\xfe\x00\x06\xff\xd9oh\xff\xda"), 1),
		} {
			got, err := Decode(odd, Limits{})
			if err != nil {
				t.Errorf("%s, %s: %v", file, name, err)
			} else if !bytes.Equal(got.Pix, want.Pix) {
				t.Errorf("%s, %s: another picture", file, name)
			}
		}
	}
}

// TestCorrections: each coefficient that is not zero takes a bit, which moves it
// away from zero unless it is set already.
func TestCorrections(t *testing.T) {
	r := &bitReader{data: []byte{0b1111_0111, 0}}
	b := [64]int16{1: 4, 8: -4, 16: 0, 9: 6, 2: -6, 3: 4, 10: -4, 17: 4, 24: 0, 32: 8}
	k := r.correct(&b, 1, 1, jpegScan{first: 1, last: 63, low: 1})
	want := [64]int16{1: 6, 8: -6, 16: 0, 9: 6, 2: -6, 3: 4, 10: -6, 17: 6, 24: 0, 32: 8}
	if b != want || k != 9 || r.left < 0 {
		t.Errorf("%v to place %d, want %v to 9", b, k, want)
	}
}

// TestSamplingAlone: the sampling factors of a grey picture mean nothing.
func TestSamplingAlone(t *testing.T) {
	data := goldens.File(t, "gray.jpg")
	want, err := Decode(data, Limits{})
	if err != nil {
		t.Fatal(err)
	}
	at := bytes.Index(data, []byte("\xff\xc0")) + 11
	for _, factors := range []byte{0x22, 0x14, 0x31} {
		data[at] = factors
		if got, err := Decode(data, Limits{}); err != nil || !bytes.Equal(got.Pix, want.Pix) {
			t.Errorf("factors %#x: %v, or another picture", factors, err)
		}
	}
}

// TestColourSpace: JFIF goes before Adobe, and that before the components'
// numbers, as in libjpeg.
func TestColourSpace(t *testing.T) {
	ids := func(s string) (c []jpegComponent) {
		for _, id := range []byte(s) {
			c = append(c, jpegComponent{id: id})
		}
		return c
	}
	for _, c := range []struct {
		f    jpegHeader
		want bool
	}{
		{jpegHeader{components: ids("\x01")}, false},
		{jpegHeader{components: ids("\x01"), jfif: true}, false},
		{jpegHeader{components: ids("\x01\x02\x03")}, true},
		{jpegHeader{components: ids("\x00\x01\x02")}, true},
		{jpegHeader{components: ids("RGB")}, false},
		{jpegHeader{components: ids("RGB"), jfif: true}, true},
		{jpegHeader{components: ids("RGB"), adobe: true, transform: 1}, true},
		{jpegHeader{components: ids("\x01\x02\x03"), adobe: true}, false},
		{jpegHeader{components: ids("\x01\x02\x03"), adobe: true, jfif: true}, true},
		{jpegHeader{components: ids("\x01\x02\x03"), adobe: true, transform: 2}, true},
		{jpegHeader{components: ids("CMYK")}, false},
		{jpegHeader{components: ids("CMYK"), jfif: true}, false},
		{jpegHeader{components: ids("CMYK"), adobe: true}, false},
		{jpegHeader{components: ids("CMYK"), adobe: true, transform: 2}, true},
	} {
		if got := c.f.ycc(); got != c.want {
			t.Errorf("%+v: %t", c.f, got)
		}
	}
}
