package pictures

import (
	"bytes"
	"encoding/binary"
	"errors"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/iotest"
)

// picture returns noise, in which all bytes occur.
func picture(side int) image.Image {
	random := rand.New(rand.NewPCG(1, uint64(side)))
	img := image.NewRGBA(image.Rect(0, 0, side, side))
	for i := range side * side {
		img.Set(i%side, i/side, color.RGBA{byte(random.IntN(256)), byte(random.IntN(256)), byte(random.IntN(256)), 255})
	}
	return img
}

func encoded(t testing.TB, encode func(io.Writer, image.Image) error, side int) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := encode(&b, picture(side)); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func asJPEG(w io.Writer, img image.Image) error { return jpeg.Encode(w, img, nil) }

// withThumbnail puts a whole JPEG into a segment of another, as EXIF does.
func withThumbnail(data, thumbnail []byte) []byte {
	head := binary.BigEndian.AppendUint16([]byte{0xff, 0xd8, 0xff, 0xe1}, uint16(2+len(thumbnail)))
	return bytes.Join([][]byte{head, thumbnail, data[2:]}, nil)
}

// all returns the pictures of a stream, nil for those that are too long.
func all(t *testing.T, r io.Reader, max int64) (found [][]byte) {
	t.Helper()
	s := NewScanner(r, max)
	for {
		p, err := s.Next()
		switch {
		case errors.Is(err, io.EOF):
			return found
		case err != nil && !errors.Is(err, ErrTooLong):
			t.Fatal(err)
		}
		found = append(found, p)
	}
}

func TestScanner(t *testing.T) {
	small, large := encoded(t, asJPEG, 8), encoded(t, asJPEG, 300)
	one, two := encoded(t, png.Encode, 9), encoded(t, png.Encode, 200)
	phone := withThumbnail(large, small)
	for _, c := range []struct {
		name   string
		stream [][]byte
		want   [][]byte
	}{
		{"PNG", [][]byte{one, two, one}, [][]byte{one, two, one}},
		{"JPEG", [][]byte{small, large, small}, [][]byte{small, large, small}},
		{"both", [][]byte{one, large, two, small}, [][]byte{one, large, two, small}},
		{"a thumbnail and a second picture", [][]byte{phone, small}, [][]byte{phone, small}},
		{"something between", [][]byte{large, []byte("\x00\xff\x89PNG\xff\xd8SEFT"), one, []byte("\n")}, [][]byte{large, one}},
		{"a JPEG that was cut", [][]byte{large[:len(large)/2], small}, [][]byte{large[:len(large)/2], small}},
		{"the last was cut", [][]byte{one, two[:len(two)/2]}, [][]byte{one, two[:len(two)/2]}},
		{"cut in a chunk's head", [][]byte{one[:36]}, [][]byte{one[:36]}},
		{"cut after a marker's first byte", [][]byte{{0xff, 0xd8, 0xff}}, [][]byte{{0xff, 0xd8, 0xff}}},
		{"cut in a segment's length", [][]byte{{0xff, 0xd8, 0xff, 0xe1, 0}}, [][]byte{{0xff, 0xd8, 0xff, 0xe1, 0}}},
		{"fill bytes", [][]byte{{0xff, 0xd8, 0xff, 0xff, 0xff, 0xd9}, small}, [][]byte{{0xff, 0xd8, 0xff, 0xff, 0xff, 0xd9}, small}},
		{"a chunk longer than PNG allows", [][]byte{[]byte(pngStart + "\xff\xff\xff\xffIDAT"), one}, [][]byte{[]byte(pngStart), one}},
	} {
		t.Run(c.name, func(t *testing.T) {
			stream := bytes.Join(c.stream, nil)
			for _, r := range []io.Reader{bytes.NewReader(stream), iotest.OneByteReader(bytes.NewReader(stream)), iotest.HalfReader(bytes.NewReader(stream))} {
				got := all(t, r, 1<<20)
				if len(got) != len(c.want) {
					t.Fatalf("%d pictures, want %d", len(got), len(c.want))
				}
				for i := range got {
					if !bytes.Equal(got[i], c.want[i]) {
						t.Errorf("picture %d: %d bytes, want %d", i, len(got[i]), len(c.want[i]))
					}
				}
			}
		})
	}
}

// A picture over the limit is passed over and never held; the next ones come.
func TestScannerLimit(t *testing.T) {
	one, two, large := encoded(t, png.Encode, 9), encoded(t, png.Encode, 200), encoded(t, asJPEG, 300)
	got := all(t, bytes.NewReader(bytes.Join([][]byte{one, two, large, one}, nil)), int64(len(one)))
	if len(got) != 4 || !bytes.Equal(got[0], one) || got[1] != nil || got[2] != nil || !bytes.Equal(got[3], one) {
		t.Errorf("%d pictures: %v", len(got), got)
	}
}

func TestScannerErrors(t *testing.T) {
	broken := errors.New("broken")
	one := encoded(t, png.Encode, 9)
	for _, c := range []struct {
		name string
		r    io.Reader
		want error
	}{
		{"nothing", strings.NewReader(""), io.EOF},
		{"text", strings.NewReader("hello, world"), ErrFormat},
		{"a short text", strings.NewReader("x"), ErrFormat},
		{"a read that fails at once", iotest.ErrReader(broken), broken},
		{"a read that fails in a picture", io.MultiReader(bytes.NewReader(one[:40]), iotest.ErrReader(broken)), broken},
	} {
		t.Run(c.name, func(t *testing.T) {
			if p, err := NewScanner(c.r, 1<<20).Next(); !errors.Is(err, c.want) || p != nil {
				t.Errorf("%d bytes, %v", len(p), err)
			}
		})
	}
}

func TestLength(t *testing.T) {
	one, large := encoded(t, png.Encode, 9), encoded(t, asJPEG, 300)
	for _, c := range []struct {
		name string
		data []byte
		want int
	}{
		{"PNG", one, len(one)},
		{"more follows", append(bytes.Clone(large), one...), len(large)},
		{"cut", large[:len(large)-1], 0},
		{"text", []byte("hello"), 0},
		{"empty", nil, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := Length(c.data); got != int64(c.want) {
				t.Errorf("%d, want %d", got, c.want)
			}
		})
	}
}

// Whatever the bytes are, pictures are pieces of the stream in its order.
func FuzzScanner(f *testing.F) {
	f.Add(encoded(f, png.Encode, 9))
	f.Add(append(encoded(f, asJPEG, 8), encoded(f, asJPEG, 9)...))
	f.Fuzz(func(t *testing.T, data []byte) {
		s := NewScanner(bytes.NewReader(data), 1000)
		rest := data
		for range len(data) + 1 {
			p, err := s.Next()
			if errors.Is(err, io.EOF) || errors.Is(err, ErrFormat) {
				return
			}
			if err != nil {
				continue
			}
			at := bytes.Index(rest, p)
			if at < 0 || len(p) == 0 {
				t.Fatalf("%q is not in %q", p, rest)
			}
			rest = rest[at+len(p):]
		}
		t.Fatal("no end")
	})
}
