package ccitt

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
)

// packed packs codes that are written in digits.
func packed(codes string) []byte {
	codes = strings.ReplaceAll(codes, " ", "")
	out := make([]byte, (len(codes)+7)/8)
	for i, digit := range codes {
		out[i/8] |= byte(digit-'0') << (7 - i%8)
	}
	return out
}

// TestDamaged checks what becomes of data that no encoder writes: as in
// libtiff, lines are white from an invalid code on, and where the data ends.
func TestDamaged(t *testing.T) {
	const eol, white8, white3, black2, black1, bad = "000000000001", "10011", "1000", "11", "010", "000000001"
	for _, test := range []struct {
		name    string
		kind    Kind
		codes   string
		want    []byte // a line of 8 pixels each
		err     error
		warning string
	}{
		{"runs", RLE, white3 + black2 + white3, []byte{0x18}, nil, ""},
		{"Group 3", Group3, eol + white8 + "0000" + eol + white3 + black2 + white3, []byte{0, 0x18}, nil, ""},
		{"no end-of-line codes", Group3, white8 + white3 + black2 + white3, []byte{0, 0x18}, nil, ""},
		{"an invalid code", Group3, eol + white3 + black2 + bad + eol + white3 + black2 + white3, []byte{0x18, 0x18}, nil, "1 lines with invalid"},
		{"a run beyond the line", Group3, eol + white3 + black2 + white8 + eol + white8, []byte{0x18, 0}, nil, "1 lines with invalid"},
		{"lines that are missing", Group3, eol + white3 + black2 + white3, []byte{0x18, 0, 0}, nil, "ends before the last line"},
		{"no line", Group3, "", []byte{0}, io.ErrUnexpectedEOF, ""},
		{"Group 4", Group4, "001" + white3 + black2 + "1" + "1 1 1", []byte{0x18, 0x18}, nil, ""},
		{"Group 4 that ends", Group4, "001" + white3 + black2 + "1" + eol + eol, []byte{0x18, 0, 0}, nil, "invalid"},
		{"a change before the last one", Group4, "001" + white3 + black1 + "1" + "1 0000010 11111111 11111111", []byte{0x10, 0}, nil, "invalid"},
	} {
		t.Run(test.name, func(t *testing.T) {
			f := NewReader(packed(test.codes), 8, test.kind)
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
			if all := strings.Join(f.Warnings(), "; "); !strings.Contains(all, test.warning) || test.warning == "" && all != "" {
				t.Errorf("warnings %q, want %q", all, test.warning)
			}
		})
	}
}

// TestBounded checks that codes that draw nothing take no memory.
func TestBounded(t *testing.T) {
	for kind, codes := range map[Kind]string{RLE: "00110101" + "0000110111", Group4: "1" + "010"} {
		f := Reader{kind: kind, w: 8, data: slices.Repeat(packed(strings.Repeat(codes, 8)), 20_000), above: []int{0, 0, 0, 0}}
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

// FuzzReader checks that no data makes a Reader panic, and that it gives whole
// lines or an error.
func FuzzReader(f *testing.F) {
	f.Add([]byte{0x26, 0xA0, 0x12}, 8, byte(Group4))
	f.Add(packed("000000000001 1000 11 1000 000000000001 10011"), 8, byte(Group3))
	f.Add(packed("000000000001 1 1000 11 1000 000000000001 0 1 1 1"), 8, byte(Group3Mixed))
	f.Fuzz(func(t *testing.T, data []byte, width int, kind byte) {
		if width < 1 || width > 1<<12 {
			return
		}
		r := NewReader(data, width, Kind(kind%5))
		row := make([]byte, (width+7)/8)
		for range 64 {
			if n, err := r.Read(row); err == nil && n != len(row) || err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Fatal(n, err)
			}
		}
	})
}
