package preprocess

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"image"
	"image/color"
	"image/png"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"paligemma/internal/goldens"
)

// TestGray16 has its own truth, as Pillow clips 16-bit gray to white: the
// picture was made by multiplying 8-bit samples by 257.
func TestGray16(t *testing.T) {
	data := goldens.File(t, "gray16.png")
	m, err := png.Decode(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	img, err := Decode(data, Limits{})
	if err != nil {
		t.Fatal(err)
	}
	seen := map[byte]bool{}
	for y := range img.H {
		for x := range img.W {
			want := byte(m.(*image.Gray16).Gray16At(x, y).Y / 257)
			p := img.Pix[3*(y*img.W+x):][:3]
			if p[0] != want || p[1] != want || p[2] != want {
				t.Fatalf("(%d, %d): %v, want %d", x, y, p, want)
			}
			seen[want] = true
		}
	}
	if len(seen) < 50 {
		t.Errorf("only %d levels", len(seen))
	}
}

// TestPrefixes cuts small files at every byte: an error, or the whole picture. Of
// a GIF, a PNG or a bitmap the last bytes tell nothing about pixels.
func TestPrefixes(t *testing.T) {
	for _, file := range []string{
		"one.png", "three_by_two.png", "extra/palette1.png", "extra/exif.png", "extra/interlaced_gray.png",
		"extra/narrow4.jpg", "extra/progressive_odd.jpg", "extra/cmyk_half.jpg", "extra/scans.jpg", "extra/scans_prog.jpg",
		"extra/offset.gif", "extra/offset_transparent.gif", "extra/interlaced.gif",
		"extra/odd.webp", "extra/lossy_alpha.webp", "extra/exif5.webp", "extra/anim_offset.webp",
		"kinds/palette4.bmp", "kinds/rgb24.bmp", "kinds/plain.pbm", "kinds/binary.ppm", "kinds/rgb_lzw.tif", "kinds/gray_deflate.tif",
	} {
		t.Run(file, func(t *testing.T) {
			data := goldens.File(t, file)
			want, err := Decode(data, Limits{})
			if err != nil {
				t.Fatal(err)
			}
			whole := strings.HasSuffix(file, ".jpg") || strings.HasSuffix(file, ".webp")
			for n := range data {
				got, err := Decode(data[:n:n], Limits{})
				if err != nil {
					if strings.Contains(err.Error(), "decoder failed") {
						t.Errorf("%d of %d bytes: %v", n, len(data), err)
					}
					continue
				}
				// A JPEG may lack its end marker.
				noEnd := len(data)-n <= 2 && slices.Equal(got.Warnings, []string{"there is no end marker"})
				if whole && !(strings.HasSuffix(file, ".jpg") && noEnd) {
					t.Errorf("accepted with %d of %d bytes", n, len(data))
				}
				if strings.HasSuffix(file, ".png") && len(got.Warnings) == 0 && n < len(data)-4 {
					t.Errorf("no warning with %d of %d bytes", n, len(data))
				}
				if most, _, err := difference(got, want); file != "extra/exif.png" && (err != nil || most != 0) {
					t.Errorf("another picture from %d of %d bytes", n, len(data))
				}
			}
			if n := len(data) - 4; whole {
				if _, err := Decode(data[:n], Limits{}); err == nil || !strings.Contains(err.Error(), errTruncated.Error()) {
					t.Errorf("%s without its end: %v, want it to say that it is cut short", file, err)
				}
			}
			for _, junk := range []string{"\x00", "trailing junk", "\xff\xd9\xff\xda", string(data)} {
				got, err := Decode(append(bytes.Clone(data), junk...), Limits{})
				if err != nil {
					t.Errorf("%d bytes of junk after it: %v", len(junk), err)
				} else if most, _, err := difference(got, want); err != nil || most != 0 {
					t.Errorf("another picture with %d bytes of junk after it", len(junk))
				}
			}
		})
	}
}

func TestUnsupported(t *testing.T) {
	for name, data := range map[string]string{
		"AVIF":             "\x00\x00\x00\x20ftypavif\x00\x00\x00\x00",
		"HEIC":             "\x00\x00\x00\x18ftypheic\x00\x00\x00\x00",
		"JPEG XL":          "\xff\x0a\xfa\x1f",
		"PDF":              "%PDF-1.7",
		"SVG":              "<svg xmlns=",
		"RIFF":             "RIFF\x24\x00\x00\x00WAVEfmt ",
		"an empty file":    "",
		"not recognized":   "hello, world",
		"12 bits a sample": jpegFrame(0xC1, 12, 8, 8, 1),
		"lossless":         jpegFrame(0xC3, 8, 8, 8, 3),
		"2 components":     jpegFrame(0xC0, 8, 8, 8, 2),
		"PAM":              "P7\nWIDTH 1\n",
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Decode([]byte(data), Limits{})
			if !errors.Is(err, ErrUnsupported) || !strings.Contains(fmt.Sprint(err), name) {
				t.Errorf("error %v", err)
			}
		})
	}
}

// jpegFrame is a JPEG with a frame header and no data.
func jpegFrame(marker, depth byte, w, h uint16, components int) string {
	b := []byte{0xFF, 0xD8, 0xFF, marker, 0, byte(8 + 3*components), depth}
	b = binary.BigEndian.AppendUint16(b, h)
	b = binary.BigEndian.AppendUint16(b, w)
	b = append(b, byte(components))
	for i := range components {
		b = append(b, byte(i+1), 0x11, 0)
	}
	return string(b) + "\xff\xda\x00\x08\x01\x01\x00\x00\x3f\x00\xff\xd9"
}

// pngHeader is a PNG with a header and the first bytes of its data.
func pngHeader(w, h uint32, depth, kind byte) string {
	header := binary.BigEndian.AppendUint32(nil, w)
	header = binary.BigEndian.AppendUint32(header, h)
	header = append(header, depth, kind, 0, 0, 0)
	out := []byte("\x89PNG\r\n\x1a\n")
	for _, chunk := range []string{"IHDR" + string(header), "IDAT\x78\x9c\x63\x60"} {
		out = binary.BigEndian.AppendUint32(out, uint32(len(chunk)-4))
		out = append(out, chunk...)
		out = binary.BigEndian.AppendUint32(out, crc32.ChecksumIEEE([]byte(chunk)))
	}
	return string(out)
}

func riff(chunks string) string {
	return "RIFF" + string(binary.LittleEndian.AppendUint32(nil, uint32(len(chunks)+4))) + "WEBP" + chunks
}

// TestBombs gives small files that claim to be huge. They fail without
// allocating what they claim, whether or not the limit would allow the size.
func TestBombs(t *testing.T) {
	const vp8l = "VP8L\x06\x00\x00\x00\x2f\xff\xff\xff\x0f\x00" // 16,384 × 16,384
	gifScreen := "GIF89a\xff\xff\xff\xff\x80\x00\x00\x00\x00\x00\xff\xff\xff"
	for name, c := range map[string]struct {
		data string
		lies bool // the file is too small for its size, whatever the limit
	}{
		"png":              {pngHeader(65535, 65535, 8, 6), true},
		"png, 16 bits":     {pngHeader(1<<31-1, 1<<31-1, 16, 6), false},
		"png, one bit":     {pngHeader(65535, 65535, 1, 0), true},
		"jpeg":             {jpegFrame(0xC0, 8, 65535, 65535, 3), true},
		"progressive":      {jpegFrame(0xC2, 8, 65535, 65535, 1), true},
		"gif screen":       {gifScreen + ",\x00\x00\x00\x00\x01\x00\x01\x00\x00\x02\x02\x44\x01\x00;", false},
		"gif frame":        {gifScreen[:6] + "\x01\x00\x01\x00" + gifScreen[10:] + ",\x00\x00\x00\x00\xff\xff\xff\xff\x00\x02\x02\x44\x01\x00;", true},
		"webp canvas":      {riff("VP8X\x0a\x00\x00\x00\x00\x00\x00\x00\xff\xff\xff\xff\xff\xff" + vp8l), false},
		"webp lossless":    {riff(vp8l), false},
		"webp lossy":       {riff("VP8 \x0a\x00\x00\x00\x10\x00\x00\x9d\x01\x2a\xff\x3f\xff\x3f"), false},
		"webp animation":   {riff("VP8X\x0a\x00\x00\x00\x02\x00\x00\x00\xff\xff\xff\xff\xff\xffANMF\x1e\x00\x00\x00\x00\x00\x00\x00\x00\x00\xff\x3f\x00\xff\x3f\x00\x00\x00\x00\x00" + vp8l), false},
		"webp small outer": {riff("VP8X\x0a\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00" + vp8l), true},
	} {
		t.Run(name, func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			_, err := Decode([]byte(c.data), Limits{})
			if !c.lies && !errors.Is(err, ErrTooLarge) || name != "webp small outer" && !errors.Is(err, ErrTooLarge) || err == nil {
				t.Errorf("error %v, want too large", err)
			}
			if c.lies {
				_, err := Decode([]byte(c.data), Limits{MaxPixels: 1 << 62})
				if err == nil || name != "webp small outer" && !errors.Is(err, errTruncated) {
					t.Errorf("error %v, want cut short", err)
				}
			}
			runtime.ReadMemStats(&after)
			if n := after.TotalAlloc - before.TotalAlloc; n > 1<<20 {
				t.Errorf("allocated %d bytes", n)
			}
		})
	}
}

func TestEmptyPictures(t *testing.T) {
	for name, data := range map[string]string{
		"png":          pngHeader(0, 5, 8, 2),
		"jpeg":         jpegFrame(0xC0, 8, 5, 0, 1),
		"gif":          "GIF89a\x00\x00\x00\x00\x00\x00\x00,\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00;",
		"gif frame":    "GIF89a\x05\x00\x05\x00\x00\x00\x00,\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00;",
		"webp":         riff("VP8 \x0a\x00\x00\x00\x10\x00\x00\x9d\x01\x2a\x00\x00\x05\x00"),
		"webp, no VP8": riff("VP8X\x0a\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"),
	} {
		t.Run(name, func(t *testing.T) {
			if img, err := Decode([]byte(data), Limits{}); err == nil {
				t.Errorf("decoded to %d×%d", img.W, img.H)
			}
		})
	}
}

func TestLimits(t *testing.T) {
	data := goldens.File(t, "scene.png") // 200 × 150
	for _, c := range []struct {
		lim Limits
		ok  bool
	}{
		{Limits{}, true},
		{Limits{MaxPixels: 30000}, true},
		{Limits{MaxPixels: 29999}, false},
		{Limits{MaxBytes: int64(len(data))}, true},
		{Limits{MaxBytes: int64(len(data)) - 1}, false},
		{Limits{MaxBytes: 1<<63 - 1, MaxPixels: 1<<63 - 1}, true},
	} {
		_, err := Decode(data, c.lim)
		if (err == nil) != c.ok || err != nil && !errors.Is(err, ErrTooLarge) {
			t.Errorf("%+v: %v", c.lim, err)
		}
	}
}

// TestWebPCanvas: a still picture fills its canvas, or the file is broken.
func TestWebPCanvas(t *testing.T) {
	picture := string(goldens.File(t, "extra/odd.webp")[12:]) // 51 × 33
	for size, ok := range map[[2]byte]bool{{51, 33}: true, {52, 33}: false, {51, 34}: false, {50, 33}: false, {51, 32}: false} {
		canvas := string([]byte{0, 0, 0, 0, size[0] - 1, 0, 0, size[1] - 1, 0, 0})
		_, err := Decode([]byte(riff("VP8X\x0a\x00\x00\x00"+canvas+picture)), Limits{})
		if (err == nil) != ok || err != nil && !errors.Is(err, errWebP) {
			t.Errorf("canvas %v: %v", size, err)
		}
	}
	// A frame whose header differs from its data.
	data := goldens.File(t, "extra/anim_offset.webp")
	data[bytes.Index(data, []byte("ANMF"))+8+6]--
	if _, err := Decode(data, Limits{}); !errors.Is(err, errWebP) {
		t.Errorf("frame of another size: %v", err)
	}
	// A chunk that claims more than the file has.
	_, err := Decode(slices.Clip([]byte(riff("VP8L\x07\x00\x00\x00\x2f\x00\x00\x00\x00\x00"))), Limits{})
	if !errors.Is(err, errTruncated) {
		t.Errorf("chunk beyond the file: %v", err)
	}
}

func TestPaste(t *testing.T) {
	dst, src := newRGB(3, 2), newRGB(2, 2)
	fill(src, [3]byte{7, 8, 9})
	paste(dst, src, 2, 1) // hangs over on two sides
	paste(dst, src, 3, 0) // all outside
	if want := append(make([]byte, 15), 7, 8, 9); !bytes.Equal(dst.Pix, want) {
		t.Errorf("%v, want %v", dst.Pix, want)
	}
}

func TestOverWhite(t *testing.T) {
	for _, c := range [][3]byte{{0, 255, 0}, {0, 0, 255}, {255, 17, 255}, {100, 128, 177}, {10, 1, 254}} {
		if got := overWhite(c[0], c[1]); got != c[2] {
			t.Errorf("sample %d with alpha %d: %d, want %d", c[0], c[1], got, c[2])
		}
	}
}

// FuzzDecode: no input makes Decode panic, and what it accepts is consistent.
func FuzzDecode(f *testing.F) {
	for _, file := range goldens.Glob(f, 60, "*.*", "extra/*") {
		if data, err := os.ReadFile(file); err == nil && len(data) < 8<<10 && filepath.Ext(file) != ".py" {
			f.Add(data)
		}
	}
	lim := Limits{MaxPixels: 1 << 18}
	f.Fuzz(func(t *testing.T, data []byte) {
		img, err := Decode(data, lim)
		if err != nil {
			if strings.Contains(err.Error(), "decoder failed") {
				t.Fatal(err) // Decode caught a panic: worth a look
			}
			return
		}
		if img.W <= 0 || img.H <= 0 || int64(img.W)*int64(img.H) > lim.MaxPixels || len(img.Pix) != 3*img.W*img.H {
			t.Fatalf("%d×%d with %d bytes", img.W, img.H, len(img.Pix))
		}
		if Kind(data) != "JPEG" {
			return
		}
		fitted, err := fitStreamed(data, 9, lim)
		if err != nil || !bytes.Equal(fitted.RGB.Pix, Resize(img, 9, 9).Pix) || fitted.Size != image.Pt(img.W, img.H) {
			t.Fatalf("by rows: %v, or another picture", err)
		}
	})
}

// drawn is a picture of w × h pixels that all differ.
func drawn(w, h int) *image.NRGBA {
	m := image.NewNRGBA(image.Rect(0, 0, w, h))
	for y := range h {
		for x := range w {
			m.SetNRGBA(x, y, color.NRGBA{R: byte(x), G: byte(y), B: byte(1 + x + y*w), A: 255})
		}
	}
	return m
}
