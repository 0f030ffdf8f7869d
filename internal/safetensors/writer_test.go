package safetensors

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"reflect"
	"strings"
	"testing"
)

func TestWrite(t *testing.T) {
	tensors := []Data{
		NewFloat32("w\"<é\n", []int64{1, 2}, []float32{1.5, -2}),
		{"u", U8, []int64{3}, []byte{1, 2, 3}},
		NewInt64("scalar", nil, []int64{-7}),
	}
	metadata := map[string]string{"format": "pt", "a": "<>&\u2028\x00"}
	var out, again bytes.Buffer
	if err := Write(&out, tensors, metadata); err != nil {
		t.Fatal(err)
	}
	h := mustParse(t, out.Bytes())
	if h.DataOffset%8 != 0 {
		t.Errorf("data at %d", h.DataOffset)
	}
	want := []Tensor{{"w\"<é\n", F32, []int64{1, 2}, 0, 8}, {"u", U8, []int64{3}, 8, 3}, {"scalar", I64, nil, 11, 8}}
	if !reflect.DeepEqual(h.Tensors, want) || !reflect.DeepEqual(h.Metadata, metadata) {
		t.Errorf("got %v %v, want %v %v", h.Tensors, h.Metadata, want, metadata)
	}
	for i, d := range dataOf(h, out.Bytes()) {
		if !bytes.Equal(d.Bytes, tensors[i].Bytes) {
			t.Errorf("tensor %q: wrong data", d.Name)
		}
	}
	if err := Write(&again, tensors, metadata); err != nil || !bytes.Equal(out.Bytes(), again.Bytes()) {
		t.Errorf("the same arguments give other bytes (%v)", err)
	}
}

// TestWriteBytes compares with a file written out.
func TestWriteBytes(t *testing.T) {
	var out bytes.Buffer
	err := Write(&out, []Data{{"a", U8, []int64{2, 1}, []byte{8, 9}}, {"b", U8, nil, []byte{7}}}, map[string]string{"k": "v", "j": ""})
	header := `{"__metadata__":{"j":"","k":"v"},"a":{"dtype":"U8","shape":[2,1],"data_offsets":[0,2]},"b":{"dtype":"U8","shape":[],"data_offsets":[2,3]}}`
	header += strings.Repeat(" ", -len(header)&7)
	want := append(build(header, 0), 8, 9, 7)
	if err != nil || !bytes.Equal(out.Bytes(), want) {
		t.Errorf("got (%v)\n%q, want\n%q", err, out.Bytes(), want)
	}
	out.Reset()
	if err := Write(&out, nil, nil); err != nil || !bytes.Equal(out.Bytes(), build("{}      ", 0)) {
		t.Errorf("no tensors give %q (%v)", out.Bytes(), err)
	}
}

func TestWriteRejects(t *testing.T) {
	ok := Data{"a", U8, []int64{1}, []byte{0}}
	many := make(map[string]string)
	for i := range maxMetadata + 1 {
		many[fmt.Sprint(i)] = ""
	}
	tests := []struct {
		name     string
		tensors  []Data
		metadata map[string]string
		want     string
	}{
		{"name twice", []Data{ok, ok}, nil, `"a"`},
		{"name of the metadata", []Data{{metadataKey, U8, []int64{1}, []byte{0}}}, nil, metadataKey},
		{"empty name", []Data{{"", U8, []int64{1}, []byte{0}}}, nil, "empty"},
		{"name not utf-8", []Data{{"\xff", U8, []int64{1}, []byte{0}}}, nil, "unicode"},
		{"unknown dtype", []Data{{"a", "F12", []int64{1}, []byte{0}}}, nil, "F12"},
		{"too few bytes", []Data{{"a", F16, []int64{1}, []byte{0}}}, nil, "1 bytes"},
		{"too many bytes", []Data{{"a", U8, []int64{1}, []byte{0, 0}}}, nil, "2 bytes"},
		{"dimension 0", []Data{{"a", U8, []int64{0}, []byte{0}}}, nil, "1 bytes"},
		{"no type", []Data{{"a", "", []int64{1}, []byte{0}}}, nil, "1 bytes"},
		{"dimension -1", []Data{{"a", U8, []int64{-1, -1}, []byte{0}}}, nil, "dimension"},
		{"5 dimensions", []Data{{"a", U8, []int64{1, 1, 1, 1, 1}, []byte{0}}}, nil, "dimensions"},
		{"overflow", []Data{{"a", U8, []int64{1 << 32, 1 << 32}, nil}}, nil, "overflows"},
		{"values that do not fill the shape", []Data{NewFloat32("a", []int64{2}, []float32{1})}, nil, "4 bytes"},
		{"metadata not utf-8", nil, map[string]string{"k": "\xff"}, "utf-8"},
		{"too much metadata", nil, many, "metadata"},
		{"header too long", nil, map[string]string{"k": strings.Repeat("x", maxHeader)}, "header"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var out bytes.Buffer
			err := Write(&out, test.tensors, test.metadata)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %q", err, test.want)
			}
			if out.Len() > 0 {
				t.Errorf("%d bytes were written", out.Len())
			}
		})
	}
}

// writeFile writes a file that tests read.
func writeFile(t testing.TB, path string, tensors []Data, metadata map[string]string) {
	t.Helper()
	var b bytes.Buffer
	if err := Write(&b, tensors, metadata); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, b.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestWriteErrors(t *testing.T) {
	full := errors.New("disk full")
	data := []Data{{"a", U8, []int64{30}, make([]byte, 30)}}
	var whole bytes.Buffer
	if err := Write(&whole, data, nil); err != nil {
		t.Fatal(err)
	}
	for n := range whole.Len() {
		err := Write(&short{n, full}, data, nil)
		if !errors.Is(err, full) {
			t.Fatalf("a disk full at %d gives %v", n, err)
		}
	}
}

// short fails once left bytes are written.
type short struct {
	left int
	err  error
}

func (s *short) Write(p []byte) (int, error) {
	if len(p) > s.left {
		return s.left, s.err
	}
	s.left -= len(p)
	return len(p), nil
}

var _ io.Writer = (*short)(nil)

func TestDecodeFloats(t *testing.T) {
	inf := float32(math.Inf(1))
	tests := []struct {
		dtype DType
		data  []byte
		want  []float32
	}{
		{F64, binary.LittleEndian.AppendUint64(nil, math.Float64bits(0.1)), []float32{0.1}},
		{F32, []byte{0, 0, 0xc0, 0x3f, 0, 0, 0, 0x80}, []float32{1.5, float32(math.Copysign(0, -1))}},
		{BF16, []byte{0xc0, 0x3f, 0x80, 0xff}, []float32{1.5, -inf}},
		{F16, []byte{0x00, 0x3e, 0xff, 0x7b, 0x00, 0xfc, 0x01, 0x00, 0xff, 0x83, 0x00, 0x04, 0x00, 0x80},
			[]float32{1.5, 65504, -inf, 0x1p-24, -1023 * 0x1p-24, 0x1p-14, float32(math.Copysign(0, -1))}},
	}
	for _, test := range tests {
		got, err := Float32s(test.dtype, test.data)
		if err != nil || len(got) != len(test.want) {
			t.Errorf("%s: got %v (%v)", test.dtype, got, err)
			continue
		}
		for i := range got {
			if math.Float32bits(got[i]) != math.Float32bits(test.want[i]) {
				t.Errorf("%s: value %d is %v, want %v", test.dtype, i, got[i], test.want[i])
			}
		}
	}
	if got, err := Float32s(F16, []byte{1, 0x7c}); err != nil || got[0] == got[0] {
		t.Errorf("a NaN is %v (%v)", got, err)
	}
	for _, d := range []DType{I64, BOOL, ""} {
		if _, err := Float32s(d, nil); err == nil {
			t.Errorf("%q is a floating-point type", d)
		}
	}
	if _, err := Float32s(F32, make([]byte, 5)); err == nil {
		t.Error("5 bytes of F32 are accepted")
	}
}

func TestDecodeInts(t *testing.T) {
	ones := bytes.Repeat([]byte{0xff}, 8)
	for d, want := range map[DType]int64{I64: -1, I32: -1, I16: -1, I8: -1, U32: math.MaxUint32, U16: 65535, U8: 255, BOOL: 255} {
		if got, err := Int64s(d, ones); err != nil || got[0] != want || len(got) != int(8/d.Size()) {
			t.Errorf("%s: got %v (%v), want %d", d, got, err, want)
		}
	}
	if got, err := Int64s(U64, []byte{5, 0, 0, 0, 0, 0, 0, 0}); err != nil || got[0] != 5 {
		t.Errorf("U64: got %v (%v)", got, err)
	}
	if _, err := Int64s(U64, ones); err == nil {
		t.Error("2^64-1 fits an int64")
	}
	for _, d := range []DType{F32, ""} {
		if _, err := Int64s(d, nil); err == nil {
			t.Errorf("%q is an integer type", d)
		}
	}
}
