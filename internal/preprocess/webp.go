package preprocess

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"image"

	"golang.org/x/image/webp"
)

var errWebP = errors.New("invalid WebP structure")

// webpFile is what the container holds of the first picture.
type webpFile struct {
	flags      byte   // of the extended format
	w, h       int    // of the canvas
	alpha      bool   // whether the pictures' alpha counts
	x, y       int    // of the frame on the canvas
	fw, fh     int    // of the frame
	kind       string // "VP8 " or "VP8L"
	data, alph []byte
	meta       metadata
	animated   bool
}

func decodeWebP(data []byte, lim Limits) (*RGB, error) {
	f, err := parseWebP(data)
	if err != nil {
		return nil, err
	}
	if err := f.check(len(data), lim); err != nil {
		return nil, err
	}
	frame, err := f.decode()
	if err != nil {
		return nil, err
	}
	if f.partial() {
		screen := newRGB(f.w, f.h) // black, as libwebp leaves an opaque canvas
		if f.alpha {
			fill(screen, [3]byte{255, 255, 255})
		}
		paste(screen, frame, f.x, f.y)
		frame = screen
	}
	return orient(frame, f.meta.orientation()), nil
}

// partial reports whether the frame leaves some of the canvas free.
func (f *webpFile) partial() bool {
	return f.fw != f.w || f.fh != f.h
}

// check holds sizes against the limits, each other and those of the file.
func (f *webpFile) check(fileBytes int, lim Limits) error {
	if err := checkSize(f.w, f.h, lim, int64(len(f.data)), f.least()); err != nil {
		return err
	}
	if f.x+f.fw > f.w || f.y+f.fh > f.h || !f.animated && f.partial() {
		return fmt.Errorf("%w: the frame of %d×%d pixels does not fit the canvas of %d×%d", errWebP, f.fw, f.fh, f.w, f.h)
	}
	if f.partial() {
		return checkCanvas(f.w, f.h, fileBytes)
	}
	return nil
}

// decode decodes the frame, over white where alpha counts.
func (f *webpFile) decode() (*RGB, error) {
	m, err := webp.Decode(bytes.NewReader(f.still()))
	if err != nil {
		return nil, err
	}
	if m.Bounds() != image.Rect(0, 0, f.fw, f.fh) {
		return nil, fmt.Errorf("%w: decoded to %v", errWebP, m.Bounds())
	}
	switch m := m.(type) {
	case *image.YCbCr:
		return fromVP8(m, nil, 0), nil
	case *image.NYCbCrA:
		if f.alpha {
			return fromVP8(&m.YCbCr, m.A, m.AStride), nil
		}
		return fromVP8(&m.YCbCr, nil, 0), nil
	case *image.NRGBA:
		if !f.alpha {
			for i := 3; i < len(m.Pix); i += 4 {
				m.Pix[i] = 255
			}
		}
		return fromNRGBA(m), nil
	}
	return nil, fmt.Errorf("%w: decoded as %T", ErrUnsupported, m)
}

// least is how many bytes a frame of that size takes at least. A lossy one has
// more than a bit for each block of 16 × 16 pixels. A lossless one may be of one
// color and take none for its pixels: up to 16 megapixels that is believed, since
// it costs little; beyond, a code of ten bits stands for 4,096 pixels.
func (f *webpFile) least() int64 {
	n := int64(f.fw) * int64(f.fh)
	switch {
	case f.kind == "VP8 ":
		return n / 256 / 16
	case n > 16_000_000:
		return n / 4096 * 10 / 8
	}
	return 0
}

// parseWebP reads the RIFF container (RFC 9649) up to what the first picture
// needs, and checks the claimed sizes against each other.
func parseWebP(data []byte) (f webpFile, err error) {
	size := int64(binary.LittleEndian.Uint32(data[4:])) + 8
	if size > int64(len(data)) {
		return f, errTruncated
	}
	if size < 12 {
		return f, errWebP
	}
	rest := data[12:size]
	for first := true; len(rest) > 0; first = false {
		id, body, next, err := riffChunk(rest)
		if err != nil {
			return f, err
		}
		rest = next
		switch {
		case first && id == "VP8X":
			err = f.header(body)
		case first:
			return f, f.simple(id, body) // what follows has no meaning
		default:
			err = f.chunk(id, body)
		}
		if err != nil {
			return f, err
		}
	}
	if f.data == nil {
		return f, fmt.Errorf("%w: there is no picture in it", errWebP)
	}
	return f, nil
}

// header takes the chunk of a file in the extended format.
func (f *webpFile) header(body []byte) error {
	if len(body) < 10 {
		return errWebP
	}
	f.flags = body[0]
	f.animated, f.alpha = f.flags&0x02 != 0, f.flags&0x10 != 0
	f.w, f.h = 1+u24(body[4:]), 1+u24(body[7:])
	return nil
}

// simple takes the chunk of a file in the simple format, which is a picture.
func (f *webpFile) simple(id string, body []byte) error {
	if err := f.picture(id, body); err != nil {
		return err
	}
	if f.data == nil {
		return fmt.Errorf("%w: it starts with a chunk %q", errWebP, id)
	}
	f.w, f.h = f.fw, f.fh
	return nil
}

// chunk takes a chunk after the header. Of several pictures the first counts.
func (f *webpFile) chunk(id string, body []byte) error {
	switch {
	case id == "EXIF" && f.flags&0x08 != 0 && f.meta.exif == nil:
		f.meta.exif = body
	case id == "XMP " && f.flags&0x04 != 0 && f.meta.xmp == nil:
		f.meta.xmp = body
	case f.data != nil:
	case id == "ANMF" && f.animated:
		return f.frame(body)
	case !f.animated:
		return f.picture(id, body)
	}
	return nil
}

// riffChunk splits the first chunk off b. The byte that pads a chunk to an even
// length may be missing at the end. Of a picture it is a part of body: libwebp
// reads it where the data is too short by some bits.
func riffChunk(b []byte) (id string, body, rest []byte, err error) {
	if len(b) < 8 {
		return "", nil, nil, errTruncated
	}
	n := int64(binary.LittleEndian.Uint32(b[4:]))
	if n > int64(len(b))-8 {
		return "", nil, nil, errTruncated
	}
	id, next := string(b[:4]), min(8+n+n&1, int64(len(b)))
	if id == "VP8L" || id == "VP8 " {
		n = next - 8
	}
	return id, b[8 : 8+n], b[next:], nil
}

func u24(b []byte) int {
	return int(b[0]) | int(b[1])<<8 | int(b[2])<<16
}

// frame takes the first frame of an animation.
func (f *webpFile) frame(body []byte) error {
	if len(body) < 16 {
		return errTruncated
	}
	f.x, f.y = 2*u24(body), 2*u24(body[3:])
	w, h := 1+u24(body[6:]), 1+u24(body[9:])
	alpha := f.alpha // of the canvas; a frame's own flag does not count
	for rest := body[16:]; len(rest) > 0 && f.data == nil; {
		id, chunk, next, err := riffChunk(rest)
		if err != nil {
			return err
		}
		if err := f.picture(id, chunk); err != nil {
			return err
		}
		rest = next
	}
	f.alpha = alpha
	if f.data == nil || f.fw != w || f.fh != h {
		return fmt.Errorf("%w: bad first frame", errWebP)
	}
	return nil
}

// picture takes one chunk of a still picture or frame, and ignores others.
func (f *webpFile) picture(id string, body []byte) error {
	switch id {
	case "ALPH":
		f.alph = body
	case "VP8 ":
		if len(body) < 10 {
			return errTruncated
		}
		f.fw, f.fh = int(binary.LittleEndian.Uint16(body[6:])&0x3FFF), int(binary.LittleEndian.Uint16(body[8:])&0x3FFF)
		f.alpha = f.alph != nil
		f.kind, f.data = id, body
	case "VP8L":
		if len(body) < 5 {
			return errTruncated
		}
		bits := binary.LittleEndian.Uint32(body[1:])
		f.fw, f.fh = 1+int(bits&0x3FFF), 1+int(bits>>14&0x3FFF)
		f.alpha = bits>>28&1 != 0
		f.kind, f.data, f.alph = id, body, nil
	}
	return nil
}

// still returns a file of only the first picture, which is what x/image/webp
// reads.
func (f *webpFile) still() []byte {
	var out []byte
	chunk := func(id string, body []byte) {
		out = append(out, id...)
		out = binary.LittleEndian.AppendUint32(out, uint32(len(body)))
		out = append(out, body...)
		out = append(out, make([]byte, len(body)&1)...)
	}
	out = append(make([]byte, 0, len(f.data)+len(f.alph)+64), "RIFF\x00\x00\x00\x00WEBP"...)
	if f.alph != nil {
		w, h := f.fw-1, f.fh-1
		chunk("VP8X", []byte{0x10, 0, 0, 0, byte(w), byte(w >> 8), byte(w >> 16), byte(h), byte(h >> 8), byte(h >> 16)})
		chunk("ALPH", f.alph)
	}
	chunk(f.kind, f.data)
	binary.LittleEndian.PutUint32(out[4:], uint32(len(out)-8))
	return out
}
