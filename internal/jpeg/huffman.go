package jpeg

import "fmt"

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
