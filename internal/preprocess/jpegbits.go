package preprocess

import (
	"encoding/binary"
	"fmt"
)

// lookBits is the length of the codes that a huffman resolves in one step.
const lookBits = 9

// huffman is a table of T.81, C.2, prepared for decoding.
type huffman struct {
	// look holds, by the next bits of the data, length<<8 | symbol of a code of
	// at most lookBits, or 0.
	look [1 << lookBits]uint16
	// short holds value<<16 | run<<8 | length where code and value bits of an
	// AC coefficient have together at most lookBits, or 0.
	short [1 << lookBits]int32
	// Longer codes, by their length: the largest one, or -1, and what to add
	// to a code for the place of its symbol.
	largest [17]int32
	offset  [17]int32
	symbols [256]byte
}

// newHuffman makes a table from how many codes there are of each length from 1
// to 16, and the symbols in order of their codes.
func newHuffman(counts, symbols []byte) (*huffman, error) {
	h := &huffman{}
	copy(h.symbols[:], symbols)
	code, place := int32(0), int32(0)
	for length := 1; length <= 16; length++ {
		n := int32(counts[length-1])
		h.offset[length] = place - code
		for range n {
			if length <= lookBits {
				first := code << (lookBits - length)
				for i := range int32(1) << (lookBits - length) {
					if first+i < 1<<lookBits {
						h.look[first+i] = uint16(length)<<8 | uint16(h.symbols[place])
					}
				}
			}
			code++
			place++
		}
		h.largest[length] = -1
		if n > 0 {
			h.largest[length] = code - 1
			if code >= 1<<length { // no code is all ones
				return nil, fmt.Errorf("a Huffman table has too many codes of %d bits", length)
			}
		}
		code <<= 1
	}
	for bits, e := range h.look {
		length, run, size := int(e>>8), int32(e>>4&15), int(e&15)
		if e != 0 && size != 0 && length+size <= lookBits {
			value := extend(int32(bits)>>(lookBits-length-size)&(1<<size-1), size)
			h.short[bits] = value<<16 | run<<8 | int32(length+size)
		}
	}
	return h, nil
}

// extend gives the number that size bits stand for (T.81, figure F.12).
func extend(bits int32, size int) int32 {
	if bits < 1<<size>>1 {
		bits -= 1<<size - 1
	}
	return bits
}

// badCode is how many bits libjpeg reads before it gives a code up.
const badCode = 17

// long finds a code of more than lookBits at the head of acc. Where there is
// none the length is badCode and the symbol 0.
func (h *huffman) long(acc uint64) (symbol byte, length int) {
	for length := lookBits + 1; length <= 16; length++ {
		if code := int32(acc >> (64 - length)); code <= h.largest[length] {
			return h.symbols[byte(code+h.offset[length])], length
		}
	}
	return 0, badCode
}

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
