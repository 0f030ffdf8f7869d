package preprocess

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"slices"
)

// parse walks over all chunks and checks the size that the header claims against
// lim and against the data that is there.
func (p *pngFile) parse(data []byte, lim Limits) error {
	rest := data[8:]
	for p.data == nil {
		next, err := p.chunkBefore(rest)
		if err != nil {
			return err
		}
		rest = next
	}
	if p.w == 0 && p.h == 0 {
		return errors.New("there is no header before the image data")
	}
	if err := checkSize(p.w, p.h, lim, int64(len(data)), 0); err != nil {
		return err // before the products below, which it bounds
	}
	if p.fw == 0 {
		p.fw, p.fh = p.w, p.h
	}
	var size int64
	for _, part := range p.data {
		size += int64(len(part))
	}
	bits := int64(p.fw) * int64(p.fh) * int64(p.bitsPerPixel())
	if err := checkSize(p.fw, p.fh, lim, size, bits/8/maxDeflate); err != nil {
		return err
	}
	if p.fw != p.w || p.fh != p.h { // the rest of the picture is empty
		if err := checkCanvas(p.w, p.h, len(data)); err != nil {
			return err
		}
	}
	p.chunksAfter(rest)
	return nil
}

// chunkBefore takes the first chunk of rest and, where it is image data, all the
// chunks of it that follow.
func (p *pngFile) chunkBefore(rest []byte) (next []byte, err error) {
	if len(rest) < 8 {
		return nil, errTruncated
	}
	n, id := int64(binary.BigEndian.Uint32(rest)), string(rest[4:8])
	if !isPNGChunk(id) {
		return nil, fmt.Errorf("no chunk can be called %q", id)
	}
	if id == "IDAT" {
		return p.imageData(rest), nil
	}
	if n > int64(len(rest))-12 {
		return nil, errTruncated
	}
	body, next := rest[8:8+n], rest[12+n:]
	if crc32.ChecksumIEEE(rest[4:8+n]) != binary.BigEndian.Uint32(rest[8+n:]) {
		if id[0]&0x20 == 0 {
			return nil, fmt.Errorf("the checksum of the %s chunk is wrong", id)
		}
		p.warn(fmt.Sprintf("the checksum of the %s chunk is wrong: it is ignored", id))
		return next, nil
	}
	switch id {
	case "CgBI":
		return nil, fmt.Errorf("%w: a PNG changed for iPhones (CgBI): `pngcrush -revert-iphone-optimizations in.png out.png` changes it back", ErrUnsupported)
	case "IHDR":
		return next, p.header(body)
	case "IEND":
		return nil, fmt.Errorf("there is no image data in it")
	case "PLTE":
		p.palette = body
	case "acTL":
		p.animated = len(body) >= 8 && binary.BigEndian.Uint32(body) > 0
	case "fcTL":
		p.frame(body)
	default:
		p.ancillary(id, body)
	}
	return next, nil
}

// imageData takes the IDAT chunks at the beginning of rest. Neither their
// checksums nor the end of the last one need be there.
func (p *pngFile) imageData(rest []byte) (next []byte) {
	wrong := false
	for len(rest) >= 8 {
		if id := string(rest[4:8]); id != "IDAT" {
			break
		}
		n := min(int64(binary.BigEndian.Uint32(rest)), int64(len(rest))-8)
		p.data = append(p.data, rest[8:8+n])
		if sum := rest[8+n:]; len(sum) >= 4 && crc32.ChecksumIEEE(rest[4:8+n]) != binary.BigEndian.Uint32(sum) {
			wrong = true
		}
		rest = rest[min(12+n, int64(len(rest))):]
	}
	if wrong {
		p.warn("the checksum of an IDAT chunk is wrong: it is ignored")
	}
	return rest
}

// chunksAfter takes what follows the image data, which no picture fails for.
func (p *pngFile) chunksAfter(rest []byte) {
	for len(rest) >= 8 && isPNGChunk(string(rest[4:8])) {
		n, id := int64(binary.BigEndian.Uint32(rest)), string(rest[4:8])
		if id == "IEND" || id == "fcTL" && p.animated {
			return
		}
		if n > int64(len(rest))-8 {
			break
		}
		p.ancillary(id, rest[8:8+n])
		rest = rest[min(12+n, int64(len(rest))):]
	}
	p.warn("the end of the file is missing")
}

// ancillary takes a chunk that may stand anywhere.
func (p *pngFile) ancillary(id string, body []byte) {
	switch id {
	case "tRNS":
		p.transparency = body
	case "eXIf":
		p.meta.exif = body
	case "tEXt", "zTXt", "iTXt":
		p.meta.pngText(id, body)
	}
}

// header reads the IHDR chunk.
func (p *pngFile) header(b []byte) error {
	if len(b) < 13 {
		return errors.New("the header is too short")
	}
	w, h := binary.BigEndian.Uint32(b), binary.BigEndian.Uint32(b[4:])
	if w > 1<<31-1 || h > 1<<31-1 {
		return fmt.Errorf("%w: %d×%d pixels", ErrTooLarge, w, h)
	}
	p.w, p.h, p.depth, p.color, p.interlaced = int(w), int(h), b[8], b[9], b[12] != 0
	if !slices.Contains(pngDepths[p.color], p.depth) {
		return fmt.Errorf("color type %d with %d bits a sample", p.color, p.depth)
	}
	if b[11] != 0 {
		return fmt.Errorf("unknown filter method %d", b[11])
	}
	return nil
}

// frame takes the place of an APNG's first frame if the image data is one.
func (p *pngFile) frame(b []byte) {
	if len(b) < 26 {
		return
	}
	u32 := func(at int) int64 { return int64(binary.BigEndian.Uint32(b[at:])) }
	w, h, x, y := u32(4), u32(8), u32(12), u32(16)
	if w == 0 || h == 0 || x+w > int64(p.w) || y+h > int64(p.h) {
		p.warn("the first frame lies outside of the picture")
		return
	}
	p.x, p.y, p.fw, p.fh = int(x), int(y), int(w), int(h)
}

func isPNGChunk(id string) bool {
	for _, c := range []byte(id) {
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_') {
			return false
		}
	}
	return true
}
