package source

import (
	"encoding/binary"
	"math/bits"

	"github.com/parquet-go/parquet-go/format"
)

// checkLevels finds levels that are more than n.
func checkLevels(data []byte, encoding format.Encoding, most, n int) error {
	if encoding != format.RLE { // the others are as long as their data
		return nil
	}
	return checkRuns(data, bits.Len(uint(most)), n)
}

// maxPrefixed bounds the bytes that values which share their beginnings may have.
const maxPrefixed = 1 << 30

// checkValues finds values that are more than n.
func checkValues(data []byte, encoding format.Encoding, n int) error {
	switch encoding {
	case format.PlainDictionary, format.RLEDictionary:
		if len(data) == 0 {
			return nil
		}
		if data[0] > 32 {
			return errPage
		}
		return checkRuns(data[1:], int(data[0]), n)
	case format.RLE:
		runs, _, err := cutLength(data)
		if err != nil {
			return err
		}
		return checkRuns(runs, 1, n)
	case format.DeltaBinaryPacked, format.DeltaLengthByteArray:
		_, err := checkDelta(data, n)
		return err
	case format.DeltaByteArray:
		rest, err := checkDelta(data, n)
		if err != nil {
			return err
		}
		if int64(n)*int64(len(data)) > maxPrefixed { // each may have all that was before
			return errPage
		}
		_, err = checkDelta(rest, n)
		return err
	}
	return nil // no values are repeated
}

// checkRuns finds runs that stand for more than n values of a number of bits.
func checkRuns(data []byte, width, n int) error {
	left := uint64(n + runSlack)
	for len(data) > 0 {
		header, k := binary.Uvarint(data)
		if k <= 0 {
			return errPage
		}
		data = data[k:]
		count, size := header>>1, uint64(width+7)/8 // a value, repeated
		if header&1 != 0 {                          // groups of eight
			if count > left {
				return errPage
			}
			count, size = 8*count, count*uint64(width)
		}
		if count > left || size > uint64(len(data)) {
			return errPage
		}
		left -= count
		data = data[size:]
	}
	return nil
}

// checkDelta finds delta-encoded numbers that are more than n. It returns what follows.
func checkDelta(data []byte, n int) (rest []byte, err error) {
	var head [4]uint64 // size of a block, parts of a block, values, first value
	for i := range head {
		var k int
		if head[i], k = binary.Uvarint(data); k <= 0 {
			return nil, errPage
		}
		data = data[k:]
	}
	block, parts, total := head[0], head[1], head[2]
	if parts == 0 || parts > block || block > 1<<16 || total > uint64(n) {
		return nil, errPage
	}
	each := block / parts
	for left := int64(total) - 1; left > 0; {
		_, k := binary.Uvarint(data) // the least difference
		if k <= 0 || uint64(len(data)-k) < parts {
			return nil, errPage
		}
		widths := data[k : k+int(parts)]
		data = data[k+int(parts):]
		for _, width := range widths {
			if left <= 0 {
				break
			}
			size := each * uint64(width) / 8
			data = data[min(size, uint64(len(data))):] // the last part may be cut
			left -= int64(each)
		}
	}
	return data, nil
}
