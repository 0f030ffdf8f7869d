package preprocess

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"image/png"
	"runtime"
	"slices"
	"strings"
	"testing"

	"paligemma/internal/goldens"
)

// TestMended: what is mended gives a warning, what is only unusual does not.
func TestMended(t *testing.T) {
	for file, want := range map[string]string{
		"surplus.png":           "surplus image data",
		"surplus_bad_adler.png": "surplus image data",
		"no_adler.png":          "checksum of the image data is missing",
		"short.png":             "ends early",
		"no_iend.png":           "end of the file is missing",
		"idat_crc.png":          "checksum of an IDAT chunk is wrong",
		"zero_before.gif":       "unknown bytes",
		"trns_after.png":        "",
		"unknown.png":           "",
		"trailing.png":          "",
		"xmp.png":               "",
		"apng_part.png":         "",
		"no_palette.gif":        "",
		"surplus.gif":           "",
		"rle8.bmp":              "",
		"rgb_lzw.tif":           "",
		"plain.ppm":             "",
		"exif_xmp.webp":         "",
	} {
		t.Run(file, func(t *testing.T) {
			img, err := Decode(goldens.File(t, "kinds/"+file), Limits{})
			if err != nil {
				t.Fatal(err)
			}
			if got := strings.Join(img.Warnings, "; "); !strings.Contains(got, want) || want == "" && got != "" {
				t.Errorf("warnings %q, want %q", got, want)
			}
		})
	}
	// They are kept when the picture is rotated.
	img := orient(&RGB{W: 1, H: 1, Pix: make([]byte, 3), Warnings: []string{"w"}}, 6)
	if len(img.Warnings) != 1 {
		t.Error("lost by orient")
	}
}

// encodedPNG is a PNG of drawn pixels and, apart, its image data.
func encodedPNG(t *testing.T) (whole, data []byte) {
	t.Helper()
	var b bytes.Buffer
	if err := png.Encode(&b, drawn(9, 7)); err != nil {
		t.Fatal(err)
	}
	whole = b.Bytes()
	at := bytes.Index(whole, []byte("IDAT"))
	n := int(binary.BigEndian.Uint32(whole[at-4:]))
	return whole, whole[at+4 : at+4+n]
}

// pngOf is a PNG with what whole begins with, signature and header, and other chunks.
func pngOf(whole []byte, chunks ...string) []byte {
	out := bytes.Clone(whole[:min(33, len(whole))])
	for _, c := range chunks {
		out = binary.BigEndian.AppendUint32(out, uint32(len(c)-4))
		out = append(out, c...)
		out = binary.BigEndian.AppendUint32(out, crc32.ChecksumIEEE([]byte(c)))
	}
	return out
}

// TestPNGRefused gives what Pillow refuses, too, and what it should be converted
// with.
func TestPNGRefused(t *testing.T) {
	whole, data := encodedPNG(t)
	badSum := bytes.Clone(data)
	badSum[len(badSum)-1] ^= 1
	broken := bytes.Clone(data)
	broken[0] = 0
	for name, c := range map[string]struct {
		data []byte
		want string
	}{
		"wrong Adler-32":      {pngOf(whole, "IDAT"+string(badSum), "IEND"), "checksum of the image data"},
		"no zlib header":      {pngOf(whole, "IDAT"+string(broken), "IEND"), "zlib"},
		"half the data":       {pngOf(whole, "IDAT"+string(data[:len(data)/2]), "IEND"), "cut short"},
		"data interrupted":    {pngOf(whole, "IDAT"+string(data[:9]), "tEXta", "IDAT"+string(data[9:]), "IEND"), "cut short"},
		"no data":             {pngOf(whole, "IEND"), "no image data"},
		"only a header":       {whole[:33], "cut short"},
		"bad name of a chunk": {pngOf(whole, "a\x00cd", "IDAT"+string(data)), "no chunk can be called"},
		"broken palette":      {append(pngOf(whole, "PLTEabc")[:45], "abcd"...), "checksum of the PLTE"},
		"for iPhones":         {pngOf(whole[:33], "CgBIabcd", "IDAT"+string(data)), "pngcrush"},
		"depth 3":             {bytes.Replace(whole, []byte{0, 9, 0, 0, 0, 7, 8}, []byte{0, 9, 0, 0, 0, 7, 3}, 1), "checksum of the IHDR"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Decode(c.data, Limits{})
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want one about %q", err, c.want)
			}
		})
	}
}

// TestBrokenAncillary: a chunk that nobody needs may have a wrong checksum, and
// is then not used.
func TestBrokenAncillary(t *testing.T) {
	whole, data := encodedPNG(t)
	exif := string(exifBlock(binary.BigEndian, 0x0112, 3, 1, 6))
	bad := pngOf(whole, "eXIf"+exif)
	bad[len(bad)-1] ^= 1
	img, err := Decode(append(bad, pngOf(whole, "IDAT"+string(data), "IEND")[33:]...), Limits{})
	if err != nil {
		t.Fatal(err)
	}
	if img.W != 9 || len(img.Warnings) != 1 || !strings.Contains(img.Warnings[0], "eXIf") {
		t.Errorf("%d×%d, warnings %q", img.W, img.H, img.Warnings)
	}
}

// tiffHeader is a TIFF whose entries are given as tag, type, count, value.
func tiffHeader(entries ...[4]uint32) string {
	b := []byte("II*\x00\x08\x00\x00\x00")
	b = binary.LittleEndian.AppendUint16(b, uint16(len(entries)))
	for _, e := range entries {
		b = binary.LittleEndian.AppendUint16(b, uint16(e[0]))
		b = binary.LittleEndian.AppendUint16(b, uint16(e[1]))
		b = binary.LittleEndian.AppendUint32(b, e[2])
		b = binary.LittleEndian.AppendUint32(b, e[3])
	}
	return string(append(b, 0, 0, 0, 0))
}

func bmpHeader(w, h uint32, depth, compression byte) string {
	b := []byte("BM\x00\x00\x00\x00\x00\x00\x00\x00\x36\x00\x00\x00\x28\x00\x00\x00")
	b = binary.LittleEndian.AppendUint32(b, w)
	b = binary.LittleEndian.AppendUint32(b, h)
	b = append(b, 1, 0, depth, 0, compression, 0, 0, 0)
	return string(append(b, make([]byte, 24)...))
}

// TestSmallFilesCostLittle: what a few bytes claim is held against them before
// anything is allocated.
func TestSmallFilesCostLittle(t *testing.T) {
	long := func(tag, v uint32) [4]uint32 { return [4]uint32{tag, 4, 1, v} }
	size := [][4]uint32{long(tagWidth, 9000), long(tagLength, 9000), long(tagPhotometric, 1), long(tagBits, 8)}
	strip := [][4]uint32{long(tagStripOffsets, 8), long(tagStripCounts, 50)}
	tiff := func(more ...[4]uint32) string { return tiffHeader(slices.Concat(size, more)...) }
	whole, data := encodedPNG(t)
	wide := pngOf([]byte(pngHeader(9000, 9000, 8, 6)), "acTL\x00\x00\x00\x01\x00\x00\x00\x00",
		"fcTL\x00\x00\x00\x00\x00\x00\x00\x09\x00\x00\x00\x07\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01\x00\x01\x00\x00", "IDAT"+string(data))
	_ = whole
	for name, data := range map[string]string{
		"gif screen":         "GIF89a\x28\x23\x28\x23\x80\x00\x00\x00\x00\x00\xff\xff\xff,\x00\x00\x00\x00\x01\x00\x01\x00\x00\x02\x02\x44\x01\x00;",
		"gif frame":          "GIF89a\x01\x00\x01\x00\x80\x00\x00\x00\x00\x00\xff\xff\xff,\x00\x00\x00\x00\x28\x23\x28\x23\x00\x02\x02\x44\x01\x00;",
		"gif far off":        "GIF89a\x01\x00\x01\x00\x80\x00\x00\x00\x00\x00\xff\xff\xff,\x28\x23\x28\x23\x01\x00\x01\x00\x00\x02\x02\x44\x01\x00;",
		"png":                pngHeader(9000, 9000, 8, 6),
		"png first frame":    string(wide),
		"bmp":                bmpHeader(9000, 9000, 24, 0),
		"bmp rle":            bmpHeader(9000, 9000, 8, 1) + "\x00\x01",
		"tiff":               tiff(strip...),
		"tiff lzw":           tiff(append(strip, long(tagCompression, tiffLZW))...),
		"tiff deflate":       tiff(append(strip, long(tagCompression, tiffDeflate))...),
		"tiff packbits":      tiff(append(strip, long(tagCompression, tiffPackBits))...),
		"tiff fax":           tiff(append(strip, long(tagCompression, tiffGroup4))...),
		"tiff jpeg":          tiff(append(strip, long(tagCompression, tiffJPEG))...),
		"tiff units":         tiff(append(strip, long(tagPhotometric, tiffYCbCr), long(tagSamples, 3))...),
		"tiff strips":        tiff(append(strip, long(tagRowsPerStrip, 1))...),
		"tiff tiles of 1":    tiff(long(tagTileWidth, 1), long(tagTileLength, 1), long(tagTileOffsets, 8), long(tagTileCounts, 1)),
		"tiff tile":          tiffHeader(long(tagWidth, 1), long(tagLength, 1), long(tagTileWidth, 1<<30), long(tagTileLength, 1<<30), long(tagTileOffsets, 8)),
		"tiff array":         tiff([4]uint32{tagStripOffsets, 4, 1 << 30, 8}),
		"pgm":                "P5 9000 9000 255\n",
		"pbm":                "P4 9000 9000\n",
		"plain ppm":          "P3 9000 9000 255\n1 2 3",
		"webp, first frame":  riff("VP8X\x0a\x00\x00\x00\x02\x00\x00\x00\x28\x23\x00\x28\x23\x00ANMF\x1e\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00VP8L\x06\x00\x00\x00\x2f\x00\x00\x00\x00\x00"),
		"webp lossless":      riff("VP8L\x11\x00\x00\x00\x2f\xfe\xbf\xff\x0f\x07\x50\x84\x26\xf4\xa0\xff\x81\x88\xe8\x7f\x00\x00"), // sound, of one color
		"webp lossy":         riff("VP8 \x0a\x00\x00\x00\x10\x00\x00\x9d\x01\x2a\xff\x3f\xff\x3f"),
		"png, huge text":     string(pngOf(whole, "zTXtRaw profile type exif\x00\x00\x78\x9c"+strings.Repeat("\xff", 99), "IDAT"+string(wide[:9]))),
		"exif, huge entries": string(pngOf(whole, "eXIfII*\x00\x08\x00\x00\x00\xff\xff\x12\x01\x03\x00\xff\xff\xff\xff\x00\x00\x00\x00", "IDATx")),
	} {
		t.Run(name, func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			_, err := Decode([]byte(data), Limits{MaxPixels: 1 << 40})
			runtime.ReadMemStats(&after)
			if err == nil {
				t.Error("accepted")
			}
			if n := after.TotalAlloc - before.TotalAlloc; n > 1<<20 {
				t.Errorf("allocated %d bytes for %d: %v", n, len(data), err)
			}
		})
	}
}

// TestTIFFRefused: what is not read says what it is and how to convert it.
func TestTIFFRefused(t *testing.T) {
	long := func(tag, v uint32) [4]uint32 { return [4]uint32{tag, 4, 1, v} }
	units := func(w, h uint32, more ...[4]uint32) [][4]uint32 {
		return append(more, [4]uint32{tagSubsampling, 3, 2, h<<16 | w}, long(tagPhotometric, tiffYCbCr), long(tagBits, 8), long(tagSamples, 3))
	}
	base := [][4]uint32{long(tagWidth, 2), long(tagLength, 2), long(tagStripOffsets, 8), long(tagStripCounts, 4)}
	for name, c := range map[string]struct {
		entries [][4]uint32
		want    string
	}{
		"old JPEG":        {[][4]uint32{long(tagCompression, tiffOldJPEG), long(tagPhotometric, 6)}, "old-style JPEG"},
		"Zstandard":       {[][4]uint32{long(tagCompression, 50000), long(tagPhotometric, 1), long(tagBits, 8)}, "Zstandard"},
		"Lab":             {[][4]uint32{long(tagPhotometric, 8), long(tagBits, 8), long(tagSamples, 3)}, "magick"},
		"seven samples":   {[][4]uint32{long(tagPhotometric, 2), long(tagBits, 8), long(tagSamples, 7)}, "7 samples"},
		"64 bits":         {[][4]uint32{long(tagPhotometric, 1), long(tagBits, 64)}, "64 bits"},
		"neither":         {nil, "strip or tile"},
		"unknown":         {[][4]uint32{long(tagCompression, 12345), long(tagPhotometric, 1)}, "number 12345"},
		"fax of gray":     {[][4]uint32{long(tagCompression, tiffGroup4), long(tagPhotometric, 1), long(tagBits, 8)}, "black and white"},
		"not a JPEG":      {[][4]uint32{long(tagCompression, tiffJPEG), long(tagPhotometric, 1), long(tagBits, 8)}, "not a JPEG"},
		"units of 3 × 1":  {units(3, 1), "color space 6"},
		"units of 0 × 1":  {units(0, 1), "color space 6"},
		"units of 1 × 4":  {units(1, 4), "color space 6"},
		"units in planes": {units(2, 2, long(tagPlanar, 2)), "color space 6"},
		"units predicted": {units(2, 2, long(tagCompression, tiffLZW), long(tagPredictor, 2)), "color space 6"},
		"units of JPEG":   {units(2, 2, long(tagCompression, tiffOldJPEG)), "color space 6"},
		"float predictor": {[][4]uint32{long(tagCompression, tiffLZW), long(tagPhotometric, 1), long(tagBits, 8), long(tagPredictor, 9)}, "predictor 9"},
	} {
		t.Run(name, func(t *testing.T) {
			entries := slices.Concat(base, c.entries)
			if c.entries == nil {
				entries = base[:2]
				c.want = "neither strips nor tiles"
			}
			_, err := Decode([]byte(tiffHeader(entries...)+strings.Repeat("\x80\x00", 50)), Limits{})
			if err == nil || !strings.Contains(err.Error(), c.want) || len(err.Error()) > 500 {
				t.Errorf("error %v, want one about %q", err, c.want)
			}
		})
	}
}

// TestConverters: a type that is not read names a command.
func TestConverters(t *testing.T) {
	for name, c := range map[string]struct{ data, want string }{
		"HEIC":    {"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00", "heif-convert"},
		"AVIF":    {"\x00\x00\x00\x20ftypavif\x00\x00\x00\x00", "avifdec"},
		"JPEG XL": {"\xff\x0a\xfa\x1f", "djxl"},
		"PAM":     {"P7\nWIDTH 1\n", "pamtopnm"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Decode([]byte(c.data), Limits{})
			if !errors.Is(err, ErrUnsupported) || !strings.Contains(err.Error(), "`"+c.want) || len(err.Error()) > 500 {
				t.Errorf("error %v", err)
			}
		})
	}
}
