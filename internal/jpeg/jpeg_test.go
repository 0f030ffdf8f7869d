package jpeg

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"paligemma/internal/goldens"
)

// picture is a decoded picture, and the RowSink that keeps it.
type picture struct {
	w, h     int
	pix      []byte // [h][w][3]
	done     int    // bytes of pix
	warnings []string
}

func newPicture(d *Decoder) *picture {
	return &picture{w: d.Width, h: d.Height, pix: make([]byte, 3*d.Width*d.Height)}
}

func (p *picture) Room(n int) []byte { return p.pix[p.done:][:3*p.w*n] }

func (p *picture) Flush(rows []byte) { p.done += len(rows) }

// maxPixels bounds the pictures of these tests.
const maxPixels = 1 << 16

// decode decodes a picture of at most maxPixels.
func decode(data []byte) (*picture, error) {
	d, err := Open(data)
	if err != nil {
		return nil, err
	}
	if d.Width*d.Height > maxPixels {
		return nil, fmt.Errorf("%d×%d pixels", d.Width, d.Height)
	}
	p := newPicture(d)
	err = d.Decode(p)
	p.warnings = d.Warnings()
	return p, err
}

// TestGoldens compares with what Pillow decoded: every sample is equal. Files with
// an orientation are for package preprocess.
func TestGoldens(t *testing.T) {
	n := 0
	for _, set := range []string{"", "extra", "kinds", "damaged"} {
		for name, want := range goldens.Read(t, cmp.Or(set, "goldens")+".bin.gz") {
			file, ok := strings.CutSuffix(name, ".rgb")
			if !ok || filepath.Ext(file) != ".jpg" {
				continue
			}
			data := goldens.File(t, filepath.Join(set, file))
			if d, err := Open(data); err == nil && (d.EXIF != nil || d.XMP != nil) {
				continue
			}
			n++
			t.Run(file, func(t *testing.T) {
				got, err := decode(data)
				if err != nil {
					t.Fatal(err)
				}
				if got.w != want.W || got.h != want.H || !bytes.Equal(got.pix, want.Pix) {
					t.Errorf("%d×%d pixels differ from Pillow's %d×%d", got.w, got.h, want.W, want.H)
				}
			})
		}
	}
	if n < 60 {
		t.Errorf("only %d files", n)
	}
}

// kept decodes a file as if it had several scans, and returns the decoder with all
// coefficients.
func kept(data []byte) (*Decoder, *picture, error) {
	d, err := Open(data)
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
	p := newPicture(d)
	return d, p, d.output(p)
}

// TestStreamed: bands that are transformed while others are decoded give what the
// coefficients of the whole picture give.
func TestStreamed(t *testing.T) {
	for _, file := range goldens.Glob(t, 30, "*.jpg", "extra/*.jpg") {
		t.Run(file, func(t *testing.T) {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			_, want, err := kept(data)
			if err != nil {
				t.Fatal(err)
			}
			got, err := decode(data)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got.pix, want.pix) {
				t.Error("another picture")
			}
		})
	}
}

// without returns a JPEG without the segments that have that marker.
func without(t testing.TB, data []byte, marker byte) []byte {
	t.Helper()
	d := &Decoder{data: data, pos: 2}
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
	want, err := decode(data)
	if err != nil {
		t.Fatal(err)
	}
	bare := without(t, data, markerDHT)
	if len(bare) > len(data)-400 {
		t.Fatalf("%d bytes of %d", len(bare), len(data))
	}
	got, err := decode(bare)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got.pix, want.pix) {
		t.Error("another picture")
	}
	bare = without(t, goldens.File(t, "extra/progressive_odd.jpg"), markerDHT)
	if _, err := decode(bare); err == nil || !strings.Contains(err.Error(), "Huffman table 0 is missing") {
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
		"no quantizer":       {"h2v1.jpg", func(b []byte) []byte { return without(t, b, markerDQT) }, "lacks its quantization table"},
		"quantizer kind":     {"h2v1.jpg", at(dqt, 4, 0x04), "quantization table 4"},
		"quantizer length":   {"h2v1.jpg", at(dqt, 4, 0x10), "too short"},
		"quantizer number":   {"h2v1.jpg", at(sof, 12, 9), "quantization table 9"},
		"frame length":       {"h2v1.jpg", at(sof, 9, 2), "frame header has 15 bytes"},
		"two frames":         {"h2v1.jpg", replace(sos, "\xff\xc0\x00\x0b\x08\x00\x08\x00\x08\x01\x01\x11\x00\xff\xda"), "two frame headers"},
		"factor 0":           {"h2v1.jpg", at(sof, 11, 0x01), "factors 0×1"},
		"factor 5":           {"h2v1.jpg", at(sof, 14, 0x15), "factors 1×5"},
		"factors 3 to 2":     {"h2v1.jpg", at(sof, 14, 0x31), "factors 2×1 of 3×1"},
		"too many blocks":    {"h2v1.jpg", at(sof, 11, 0x44), "18 blocks"},
		"no width":           {"h2v1.jpg", func(b []byte) []byte { return at(sof, 7, 0)(at(sof, 8, 0)(b)) }, "empty"},
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
		t.Run(name, func(t *testing.T) {
			path := filepath.Join("extra", c.file)
			if c.file == "gray" {
				path = "gray.jpg"
			}
			data := c.change(bytes.Clone(goldens.File(t, path)))
			if _, err := decode(data); err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "decoder failed") {
				t.Errorf("%v, want %q in it", err, c.want)
			}
		})
	}
	// Bytes of a scan that are wrong anywhere: an error or some picture.
	for _, file := range []string{"extra/restart.jpg", "extra/progressive_odd.jpg", "extra/ycck_half.jpg"} {
		t.Run(file, func(t *testing.T) {
			data := goldens.File(t, file)
			r := rand.New(rand.NewPCG(3, 4))
			failed := 0
			for range 2000 {
				bad := bytes.Clone(data)
				bad[r.IntN(len(bad))] = byte(r.Uint32())
				_, err := decode(bad)
				if err != nil {
					failed++
				}
			}
			if failed < 50 {
				t.Errorf("only %d errors", failed)
			}
		})
	}
}

// TestWarnings: what was mended gives a warning.
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
		t.Run(file, func(t *testing.T) {
			img, err := decode(goldens.File(t, filepath.Join("damaged", file+".jpg")))
			if err != nil {
				t.Error(err)
			} else if !slices.Equal(img.warnings, want) {
				t.Errorf("%q, want %q", img.warnings, want)
			}
		})
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
		t.Run(file, func(t *testing.T) {
			data := goldens.File(t, file)
			want, err := decode(data)
			if err != nil {
				t.Fatal(err)
			}
			got, err := decode(data[:len(data)-2])
			switch {
			case !ok && !errors.Is(err, ErrTruncated):
				t.Error(err)
			case ok && err != nil:
				t.Error(err)
			case ok && (!bytes.Equal(got.pix, want.pix) || !slices.Equal(got.warnings, []string{"there is no end marker"})):
				t.Errorf("another picture, or %q", got.warnings)
			}
		})
	}
}

// TestTolerated: harmless oddities between segments and at the end of scans.
func TestTolerated(t *testing.T) {
	for _, file := range []string{"extra/restart.jpg", "extra/progressive_odd.jpg", "extra/h2v1.jpg"} {
		t.Run(file, func(t *testing.T) {
			data := goldens.File(t, file)
			want, err := decode(data)
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
				got, err := decode(odd)
				if err != nil {
					t.Errorf("%s, %s: %v", file, name, err)
				} else if !bytes.Equal(got.pix, want.pix) {
					t.Errorf("%s, %s: another picture", file, name)
				}
			}
		})
	}
}

// TestCorrections: each coefficient that is not zero takes a bit, which moves it
// away from zero unless it is set already.
func TestCorrections(t *testing.T) {
	r := &bitReader{data: []byte{0b1111_0111, 0}}
	b := [64]int16{1: 4, 8: -4, 16: 0, 9: 6, 2: -6, 3: 4, 10: -4, 17: 4, 24: 0, 32: 8}
	k := r.correct(&b, 1, 1, scan{first: 1, last: 63, low: 1})
	want := [64]int16{1: 6, 8: -6, 16: 0, 9: 6, 2: -6, 3: 4, 10: -6, 17: 6, 24: 0, 32: 8}
	if b != want || k != 9 || r.left < 0 {
		t.Errorf("%v to place %d, want %v to 9", b, k, want)
	}
}

// TestSamplingAlone: the sampling factors of a gray picture mean nothing.
func TestSamplingAlone(t *testing.T) {
	data := goldens.File(t, "gray.jpg")
	want, err := decode(data)
	if err != nil {
		t.Fatal(err)
	}
	at := bytes.Index(data, []byte("\xff\xc0")) + 11
	for _, factors := range []byte{0x22, 0x14, 0x31} {
		data[at] = factors
		if got, err := decode(data); err != nil || !bytes.Equal(got.pix, want.pix) {
			t.Errorf("factors %#x: %v, or another picture", factors, err)
		}
	}
}

// TestColorSpace: JFIF goes before Adobe, and that before the components'
// numbers, as in libjpeg.
func TestColorSpace(t *testing.T) {
	ids := func(s string) (c []frameComponent) {
		for _, id := range []byte(s) {
			c = append(c, frameComponent{id: id})
		}
		return c
	}
	for _, c := range []struct {
		f    header
		want bool
	}{
		{header{components: ids("\x01")}, false},
		{header{components: ids("\x01"), jfif: true}, false},
		{header{components: ids("\x01\x02\x03")}, true},
		{header{components: ids("\x00\x01\x02")}, true},
		{header{components: ids("RGB")}, false},
		{header{components: ids("RGB"), jfif: true}, true},
		{header{components: ids("RGB"), adobe: true, transform: 1}, true},
		{header{components: ids("\x01\x02\x03"), adobe: true}, false},
		{header{components: ids("\x01\x02\x03"), adobe: true, jfif: true}, true},
		{header{components: ids("\x01\x02\x03"), adobe: true, transform: 2}, true},
		{header{components: ids("CMYK")}, false},
		{header{components: ids("CMYK"), jfif: true}, false},
		{header{components: ids("CMYK"), adobe: true}, false},
		{header{components: ids("CMYK"), adobe: true, transform: 2}, true},
	} {
		if got := c.f.ycc(); got != c.want {
			t.Errorf("%+v: %t", c.f, got)
		}
	}
}
