package jpeg

import "encoding/binary"

// bitReader reads the data of a scan, up to a marker. Beyond that it reads
// zeros; left is then negative, and it is for the caller to look.
type bitReader struct {
	data   []byte
	pos    int
	acc    uint64 // the next bits of the data, from the top
	left   int    // how many of them count
	marker bool   // data has nothing before pos's marker, or the file's end
	end    bool   // it is the file's end
	bad    int    // invalid codes

	// In a band of a progressive scan, the blocks to come that hold nothing new
	// but corrections.
	emptyBands int
	// A DC coefficient of a progressive scan has left the range of libjpeg.
	overflow bool
}

// fill adds to the bits of acc, of which left count, so that there are at least
// 56 if the data has as many.
func (r *bitReader) fill(acc uint64, left int) (uint64, int) {
	if r.marker {
		return acc, left
	}
	if r.pos+8 <= len(r.data) {
		v := binary.BigEndian.Uint64(r.data[r.pos:])
		if (^v-0x0101010101010101)&v&0x8080808080808080 == 0 { // no byte is 0xFF
			// The last byte may come in part; it then comes again, over itself.
			acc |= v >> left
			n := (63 - left) >> 3
			r.pos += n
			return acc, left + 8*n
		}
	}
	for left < 56 {
		if r.pos >= len(r.data) {
			r.marker, r.end = true, true
			break
		}
		b := r.data[r.pos]
		if b == 0xFF {
			next := r.pos + 1
			for next < len(r.data) && r.data[next] == 0xFF { // filling
				next++
			}
			if next >= len(r.data) || r.data[next] != 0 {
				r.marker, r.end = true, next >= len(r.data)
				break
			}
			r.pos = next
		}
		r.pos++
		acc |= uint64(b) << (56 - left)
		left += 8
	}
	return acc, left
}

// symbol reads a code.
func (r *bitReader) symbol(h *huffman) int {
	if r.left < 32 {
		r.acc, r.left = r.fill(r.acc, r.left)
	}
	symbol, length := byte(0), 0
	if e := h.look[r.acc>>(64-lookBits)]; e != 0 {
		symbol, length = byte(e), int(e>>8)
	} else if symbol, length = h.long(r.acc); length == badCode {
		r.bad++
	}
	r.acc <<= length
	r.left -= length
	return int(symbol)
}

// bits reads n bits, at most 16.
func (r *bitReader) bits(n int) int32 {
	if r.left < 16 {
		r.acc, r.left = r.fill(r.acc, r.left)
	}
	v := int32(r.acc >> (64 - n))
	r.acc <<= n
	r.left -= n
	return v
}
