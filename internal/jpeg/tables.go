package jpeg

import (
	"encoding/binary"
	"fmt"
	"sync"
)

// zigzag is the place in natural order of the coefficients as they are coded
// (T.81, figure A.6). Runs of zeros in damaged files lead up to 15 places beyond
// the last one, which stands for all of these, as in libjpeg.
var zigzag = [128]byte{
	0, 1, 8, 16, 9, 2, 3, 10,
	17, 24, 32, 25, 18, 11, 4, 5,
	12, 19, 26, 33, 40, 48, 41, 34,
	27, 20, 13, 6, 7, 14, 21, 28,
	35, 42, 49, 56, 57, 50, 43, 36,
	29, 22, 15, 23, 30, 37, 44, 51,
	58, 59, 52, 45, 38, 31, 39, 46,
	53, 60, 61, 54, 47, 55, 62, 63,
	63, 63, 63, 63, 63, 63, 63, 63,
	63, 63, 63, 63, 63, 63, 63, 63,
}

// tables are the tables in force at some place of a file.
type tables struct {
	quant    [4]*[64]int16       // in natural order
	huff     [2][4]huffmanSource // for DC and AC
	interval int                 // of restart markers, in MCUs; 0 for none
}

// huffmanSource is a table as the file has it, which is made when a scan asks
// for it: a file may have millions of tables and use none.
type huffmanSource struct {
	counts, symbols []byte
	made            *huffman
}

// quantizers reads a DQT segment (T.81, B.2.4.1). Of numbers beyond 15 bits the
// low 16 count, as in libjpeg-turbo's SIMD code.
func (t *tables) quantizers(body []byte) error {
	for len(body) > 0 {
		wide, id := min(int(body[0]>>4), 1), body[0]&15
		if id > 3 {
			return fmt.Errorf("the number of quantization table %d is beyond 3", id)
		}
		n := 1 + 64<<wide
		if len(body) < n {
			return fmt.Errorf("quantization table %d is too short", id)
		}
		q := new([64]int16)
		for i, at := range zigzag[:64] {
			if wide == 1 {
				q[at] = int16(binary.BigEndian.Uint16(body[1+2*i:]))
			} else {
				q[at] = int16(body[1+i])
			}
		}
		t.quant[id] = q
		body = body[n:]
	}
	return nil
}

// huffmans reads a DHT segment (T.81, B.2.4.2).
func (t *tables) huffmans(body []byte) error {
	for len(body) > 0 {
		class, id := body[0]>>4, body[0]&15
		if class > 1 || id > 3 {
			return fmt.Errorf("the Huffman table %#x is not of a known kind", body[0])
		}
		n := 17
		if len(body) >= n {
			for _, count := range body[1:17] {
				n += int(count)
			}
		}
		if len(body) < n || n > 17+256 {
			return fmt.Errorf("the Huffman table %d has a wrong length", id)
		}
		t.huff[class][id] = huffmanSource{counts: body[1:17], symbols: body[17:n]}
		body = body[n:]
	}
	return nil
}

// huffman gives the table for DC (class 0) or AC (1) with that number.
// Sequential files may leave out the standard's own.
func (t *tables) huffman(class, id byte, sequential bool) (*huffman, error) {
	if id > 3 {
		return nil, fmt.Errorf("the Huffman table %d is not of a known kind", id)
	}
	source := &t.huff[class][id]
	if source.counts == nil {
		if !sequential || id > 1 {
			return nil, fmt.Errorf("the Huffman table %d is missing", id)
		}
		*source = standardHuffmans().huff[class][id]
	}
	if source.made == nil {
		for _, symbol := range source.symbols {
			if class == 0 && symbol > 15 {
				return nil, fmt.Errorf("the Huffman table %d has numbers of %d bits", id, symbol)
			}
		}
		var err error
		if source.made, err = newHuffman(source.counts, source.symbols); err != nil {
			return nil, err
		}
	}
	return source.made, nil
}

// restarts reads a DRI segment.
func (t *tables) restarts(body []byte) error {
	if len(body) != 2 {
		return fmt.Errorf("the restart interval has %d bytes", len(body))
	}
	t.interval = int(binary.BigEndian.Uint16(body))
	return nil
}

// standardHuffmans are the tables of T.81, K.3. Frames of motion JPEG leave them
// out.
var standardHuffmans = sync.OnceValue(func() (t tables) {
	for _, body := range []string{
		"\x00\x00\x01\x05\x01\x01\x01\x01\x01\x01\x00\x00\x00\x00\x00\x00\x00" +
			"\x00\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b",
		"\x01\x00\x03\x01\x01\x01\x01\x01\x01\x01\x01\x01\x00\x00\x00\x00\x00" +
			"\x00\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b",
		"\x10\x00\x02\x01\x03\x03\x02\x04\x03\x05\x05\x04\x04\x00\x00\x01\x7d" +
			"\x01\x02\x03\x00\x04\x11\x05\x12\x21\x31\x41\x06\x13\x51\x61\x07\x22\x71\x14\x32\x81\x91\xa1\x08" +
			"\x23\x42\xb1\xc1\x15\x52\xd1\xf0\x24\x33\x62\x72\x82\x09\x0a\x16\x17\x18\x19\x1a\x25\x26\x27\x28" +
			"\x29\x2a\x34\x35\x36\x37\x38\x39\x3a\x43\x44\x45\x46\x47\x48\x49\x4a\x53\x54\x55\x56\x57\x58\x59" +
			"\x5a\x63\x64\x65\x66\x67\x68\x69\x6a\x73\x74\x75\x76\x77\x78\x79\x7a\x83\x84\x85\x86\x87\x88\x89" +
			"\x8a\x92\x93\x94\x95\x96\x97\x98\x99\x9a\xa2\xa3\xa4\xa5\xa6\xa7\xa8\xa9\xaa\xb2\xb3\xb4\xb5\xb6" +
			"\xb7\xb8\xb9\xba\xc2\xc3\xc4\xc5\xc6\xc7\xc8\xc9\xca\xd2\xd3\xd4\xd5\xd6\xd7\xd8\xd9\xda\xe1\xe2" +
			"\xe3\xe4\xe5\xe6\xe7\xe8\xe9\xea\xf1\xf2\xf3\xf4\xf5\xf6\xf7\xf8\xf9\xfa",
		"\x11\x00\x02\x01\x02\x04\x04\x03\x04\x07\x05\x04\x04\x00\x01\x02\x77" +
			"\x00\x01\x02\x03\x11\x04\x05\x21\x31\x06\x12\x41\x51\x07\x61\x71\x13\x22\x32\x81\x08\x14\x42\x91" +
			"\xa1\xb1\xc1\x09\x23\x33\x52\xf0\x15\x62\x72\xd1\x0a\x16\x24\x34\xe1\x25\xf1\x17\x18\x19\x1a\x26" +
			"\x27\x28\x29\x2a\x35\x36\x37\x38\x39\x3a\x43\x44\x45\x46\x47\x48\x49\x4a\x53\x54\x55\x56\x57\x58" +
			"\x59\x5a\x63\x64\x65\x66\x67\x68\x69\x6a\x73\x74\x75\x76\x77\x78\x79\x7a\x82\x83\x84\x85\x86\x87" +
			"\x88\x89\x8a\x92\x93\x94\x95\x96\x97\x98\x99\x9a\xa2\xa3\xa4\xa5\xa6\xa7\xa8\xa9\xaa\xb2\xb3\xb4" +
			"\xb5\xb6\xb7\xb8\xb9\xba\xc2\xc3\xc4\xc5\xc6\xc7\xc8\xc9\xca\xd2\xd3\xd4\xd5\xd6\xd7\xd8\xd9\xda" +
			"\xe2\xe3\xe4\xe5\xe6\xe7\xe8\xe9\xea\xf2\xf3\xf4\xf5\xf6\xf7\xf8\xf9\xfa",
	} {
		if err := t.huffmans([]byte(body)); err != nil {
			break // never, as a test shows that all four are there
		}
	}
	return t
})
