package preprocess

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
)

// faxBits packs codes that are written in digits.
func faxBits(codes string) []byte {
	codes = strings.ReplaceAll(codes, " ", "")
	out := make([]byte, (len(codes)+7)/8)
	for i, digit := range codes {
		out[i/8] |= byte(digit-'0') << (7 - i%8)
	}
	return out
}

// TestFaxDamaged checks what becomes of data that no encoder writes: as in
// libtiff, lines are white from an invalid code on, and where the data ends.
func TestFaxDamaged(t *testing.T) {
	const eol, white8, white3, black2, black1, bad = "000000000001", "10011", "1000", "11", "010", "000000001"
	for _, test := range []struct {
		name    string
		reader  faxReader
		codes   string
		want    []byte // a line of 8 pixels each
		err     error
		warning string
	}{
		{"runs", faxReader{kind: faxAligned}, white3 + black2 + white3, []byte{0x18}, nil, ""},
		{"Group 3", faxReader{kind: faxGroup3}, eol + white8 + "0000" + eol + white3 + black2 + white3, []byte{0, 0x18}, nil, ""},
		{"no end-of-line codes", faxReader{kind: faxGroup3}, white8 + white3 + black2 + white3, []byte{0, 0x18}, nil, ""},
		{"an invalid code", faxReader{kind: faxGroup3}, eol + white3 + black2 + bad + eol + white3 + black2 + white3, []byte{0x18, 0x18}, nil, "1 lines with invalid"},
		{"a run beyond the line", faxReader{kind: faxGroup3}, eol + white3 + black2 + white8 + eol + white8, []byte{0x18, 0}, nil, "1 lines with invalid"},
		{"lines that are missing", faxReader{kind: faxGroup3}, eol + white3 + black2 + white3, []byte{0x18, 0, 0}, nil, "ends before the last line"},
		{"no line", faxReader{kind: faxGroup3}, "", []byte{0}, errTruncated, ""},
		{"Group 4", faxReader{kind: faxGroup4}, "001" + white3 + black2 + "1" + "1 1 1", []byte{0x18, 0x18}, nil, ""},
		{"Group 4 that ends", faxReader{kind: faxGroup4}, "001" + white3 + black2 + "1" + eol + eol, []byte{0x18, 0, 0}, nil, "invalid"},
		{"a change before the last one", faxReader{kind: faxGroup4}, "001" + white3 + black1 + "1" + "1 0000010 11111111 11111111", []byte{0x10, 0}, nil, "invalid"},
	} {
		t.Run(test.name, func(t *testing.T) {
			f := test.reader
			f.w, f.data = 8, faxBits(test.codes)
			got := make([]byte, len(test.want))
			var err error
			for i := range got {
				if _, err = f.Read(got[i : i+1]); err != nil {
					break
				}
			}
			if !errors.Is(err, test.err) || err == nil && !bytes.Equal(got, test.want) {
				t.Errorf("%x, %v, want %x, %v", got, err, test.want, test.err)
			}
			if told := strings.Join(f.warnings(), "; "); !strings.Contains(told, test.warning) || test.warning == "" && told != "" {
				t.Errorf("warnings %q, want %q", told, test.warning)
			}
		})
	}
}

// TestFaxBounded checks that codes that draw nothing take no memory.
func TestFaxBounded(t *testing.T) {
	for kind, codes := range map[int]string{faxAligned: "00110101" + "0000110111", faxGroup4: "1" + "010"} {
		f := faxReader{kind: kind, w: 8, data: slices.Repeat(faxBits(strings.Repeat(codes, 8)), 20_000), above: []int{0, 0, 0, 0}}
		row := make([]byte, 1)
		for range 100 {
			if _, err := io.ReadFull(&f, row); err != nil {
				t.Fatal(err)
			}
		}
		if n := cap(f.line) + cap(f.above); n > 100 {
			t.Errorf("kind %d: room for %d changes in lines of %d pixels", kind, n, f.w)
		}
	}
}
