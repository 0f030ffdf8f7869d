package preprocess

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"image/png"
)

// maxDeflate is the most bytes that one byte of deflate can stand for.
const maxDeflate = 1032

// pngChannels gives samples per pixel by IHDR colour type.
var pngChannels = map[byte]int64{0: 1, 2: 3, 3: 1, 4: 2, 6: 4}

func decodePNG(data []byte, lim Limits) (*RGB, error) {
	const header = 8 + 8 + 13 // signature, chunk length and type, IHDR
	if len(data) < header {
		return nil, errTruncated
	}
	if string(data[12:16]) != "IHDR" {
		return nil, fmt.Errorf("the first chunk is %q, not IHDR", data[12:16])
	}
	w, h := binary.BigEndian.Uint32(data[16:]), binary.BigEndian.Uint32(data[20:])
	if w > 1<<31-1 || h > 1<<31-1 {
		return nil, fmt.Errorf("%w: %d×%d pixels", ErrTooLarge, w, h)
	}
	if err := checkSize(int(w), int(h), lim, int64(len(data)), 0); err != nil {
		return nil, err // before the product below, which it bounds
	}
	bits := int64(w) * int64(h) * int64(data[24]) * pngChannels[data[25]]
	if err := checkSize(int(w), int(h), lim, int64(len(data)), bits/8/maxDeflate); err != nil {
		return nil, err
	}
	m, err := png.Decode(bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	img, err := fromImage(m)
	if err != nil {
		return nil, err
	}
	return orient(img, exifOrientation(pngChunk(data, "eXIf"))), nil
}

// pngChunk returns the data of the first chunk of that type, or nil.
func pngChunk(data []byte, kind string) []byte {
	for rest := data[8:]; len(rest) >= 12; {
		n := binary.BigEndian.Uint32(rest)
		if int64(n) > int64(len(rest))-12 {
			return nil
		}
		switch string(rest[4:8]) {
		case kind:
			return rest[8 : 8+n]
		case "IEND":
			return nil
		}
		rest = rest[12+n:]
	}
	return nil
}
