package safetensors

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// build makes a file of any header and n bytes of data.
func build(header string, n int) []byte {
	b := binary.LittleEndian.AppendUint64(nil, uint64(len(header)))
	b = append(b, header...)
	for i := range n {
		b = append(b, byte(i))
	}
	return b
}

// Three tensors, not in the order of their data, with metadata and padding.
const (
	sampleHeader = `{"__metadata__":{"format":"pt"},` +
		`"b":{"dtype":"F16","shape":[2,3],"data_offsets":[8,20]},` +
		`"a":{"dtype":"I64","shape":[],"data_offsets":[0,8]},` +
		`"c":{"dtype":"U8","shape":[1,2,1,2],"data_offsets":[20,24]}}  `
	sampleData = 24
)

func sample() []byte { return build(sampleHeader, sampleData) }

func parseBytes(b []byte) (*Header, error) { return Parse(bytes.NewReader(b), int64(len(b))) }

func mustParse(t testing.TB, b []byte) *Header {
	t.Helper()
	h, err := parseBytes(b)
	if err != nil {
		t.Fatalf("Parse: %v", err)
	}
	return h
}

func TestParse(t *testing.T) {
	h := mustParse(t, sample())
	want := []Tensor{
		{"a", I64, nil, 0, 8},
		{"b", F16, []int64{2, 3}, 8, 12},
		{"c", U8, []int64{1, 2, 1, 2}, 20, 4},
	}
	if !reflect.DeepEqual(h.Tensors, want) {
		t.Errorf("tensors %v, want %v", h.Tensors, want)
	}
	if !reflect.DeepEqual(h.Metadata, map[string]string{"format": "pt"}) {
		t.Errorf("metadata %v", h.Metadata)
	}
	if h.DataOffset != int64(8+len(sampleHeader)) {
		t.Errorf("data at %d", h.DataOffset)
	}
	if x, ok := h.Lookup("b"); !ok || !reflect.DeepEqual(x, want[1]) || x.Elements() != 6 {
		t.Errorf("Lookup(b) = %v, %v", x, ok)
	}
	if _, ok := h.Lookup("nope"); ok {
		t.Error("Lookup finds a missing tensor")
	}
	if h := mustParse(t, build("{}", 0)); len(h.Tensors) != 0 || h.Metadata != nil {
		t.Errorf("an empty file gives %+v", h)
	}
	for _, d := range []DType{F64, F32, F16, BF16, I64, I32, I16, I8, U64, U32, U16, U8, BOOL, F8E4M3, F8E5M2, F8E4M3FNUZ, F8E5M2FNUZ, F8E8M0, C64} {
		n := d.Size()
		mustParse(t, build(fmt.Sprintf(`{"t":{"dtype":%q,"shape":[3],"data_offsets":[0,%d]}}`, d, 3*n), int(3*n)))
	}
}

// TestReject replaces a piece of the sample's header, or changes its data, so
// that each case is one step from a valid file.
func TestReject(t *testing.T) {
	many := func(n int) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, `,"k%d":""`, i)
		}
		return b.String()
	}
	tests := []struct {
		name     string
		old, new string
		data     int
		want     string
	}{
		{"starts with a space", `{"__meta`, ` {"__meta`, 24, "start with {"},
		{"not an object", sampleHeader, `[]`, 24, "start with {"},
		{"empty header", sampleHeader, ``, 0, "start with {"},
		{"no end", `}}  `, `}`, 24, "bad json"},
		{"another end", `}}  `, `}]`, 24, "bad json"},
		{"text after the end", `}}  `, `}} x`, 24, "after the json"},
		{"another object after the end", `}}  `, `}}{}`, 24, "after the json"},
		{"newline after the end", `}}  `, "}}\n", 24, "after the json"},
		{"NUL after the end", `}}  `, "}}\x00", 24, "after the json"},
		{"trailing comma", `[20,24]}}`, `[20,24]},}`, 24, "bad json"},
		{"no comma", `[0,8]},`, `[0,8]}`, 24, "bad json"},
		{"comment", `"a":`, `/**/"a":`, 24, "bad json"},
		{"not utf-8", `"pt"`, "\"\xff\"", 24, "utf-8"},
		{"duplicate tensor", `"c":`, `"a":`, 24, `"a" is there twice`},
		{"duplicate tensor by escape", `"c":`, `"\u0061":`, 24, `"a" is there twice`},
		{"duplicate metadata", `{"format":"pt"}`, `{"format":"pt","format":"pt"}`, 24, `"format" is there twice`},
		{"two __metadata__", `"c":{`, `"__metadata__":{},"c":{`, 24, "twice"},
		{"duplicate field", `"dtype":"I64"`, `"dtype":"I64","dtype":"I64"`, 24, `"dtype" is there twice`},
		{"metadata of numbers", `"pt"`, `1`, 24, "__metadata__"},
		{"metadata nested", `"pt"`, `{}`, 24, "__metadata__"},
		{"metadata a list", `{"format":"pt"}`, `[]`, 24, `where an object is wanted`},
		{"metadata null", `{"format":"pt"}`, `null`, 24, "__metadata__"},
		{"a long metadata key", `"format":"pt"`, `"` + strings.Repeat("k", maxName+1) + `":"pt"`, 24, "the key"},
		{"a long name", `"c":{`, `"` + strings.Repeat("c", maxName+1) + `":{`, 24, "is 4097 bytes long"},
		{"too much metadata", `"format":"pt"`, `"format":"pt"` + many(maxMetadata), 24, "more than 65536"},
		{"empty name", `"b":`, `"":`, 24, "empty"},
		{"name of a lone surrogate", `"b":`, `"\ud800":`, 24, "unicode"},
		{"tensor is a list", `{"dtype":"F16","shape":[2,3],"data_offsets":[8,20]}`, `[]`, 24, `tensor "b"`},
		{"tensor is null", `{"dtype":"F16","shape":[2,3],"data_offsets":[8,20]}`, `null`, 24, `tensor "b"`},
		{"no dtype", `"dtype":"F16",`, ``, 24, `tensor "b": no dtype`},
		{"no shape", `"shape":[2,3],`, ``, 24, `tensor "b": no shape`},
		{"no shape of a scalar", `"shape":[],`, ``, 24, `tensor "a": no shape`},
		{"no offsets", `,"data_offsets":[8,20]`, ``, 24, `tensor "b": 0 data_offsets`},
		{"one offset", `[8,20]`, `[8]`, 24, `tensor "b": 1 data_offsets`},
		{"three offsets", `[8,20]`, `[8,20,20]`, 24, `tensor "b"`},
		{"unknown field", `"shape":[2,3]`, `"shape":[2,3],"x":1`, 24, `unknown field "x"`},
		{"dtype empty", `"F16"`, `""`, 24, `tensor "b": data_offsets`},
		{"unknown dtype", `"F16"`, `"F12"`, 24, `unknown dtype "F12"`},
		{"dtype in lower case", `"F16"`, `"f16"`, 24, `unknown dtype "f16"`},
		{"dtype is a number", `"F16"`, `16`, 24, `tensor "b": dtype`},
		{"another dtype", `"F16"`, `"F32"`, 24, `tensor "b"`},
		{"dimension 0 with data", `[2,3]`, `[2,0]`, 24, `tensor "b": data_offsets`},
		{"dimensions overflow before a 0", `[2,3]`, `[9223372036854775807,2,0]`, 24, `overflows`},
		{"dimension -1", `[2,3]`, `[-2,-3]`, 24, `tensor "b": shape`},
		{"dimension 2.0", `[2,3]`, `[2.0,3]`, 24, `tensor "b": shape`},
		{"dimension 2e0", `[2,3]`, `[2e0,3]`, 24, `tensor "b": shape`},
		{"dimension as a string", `[2,3]`, `["2",3]`, 24, `tensor "b": shape`},
		{"dimension null", `[2,3]`, `[null]`, 24, `tensor "b": shape`},
		{"nested shape", `[2,3]`, `[[2,3]]`, 24, `tensor "b": shape`},
		{"shape is a number", `[2,3]`, `6`, 24, `tensor "b": shape`},
		{"dimension 2^63", `[2,3]`, `[9223372036854775808]`, 24, `tensor "b": shape`},
		{"dimension 2^64+6", `[2,3]`, `[18446744073709551622]`, 24, `tensor "b": shape`},
		{"product wraps to 6", `[2,3]`, `[9223372036854775807,2,3]`, 24, `overflows`},
		{"bytes wrap to 0", `[2,3]`, `[4611686018427387904,2]`, 24, `overflows`},
		{"5 dimensions", `[2,3]`, `[2,3,1,1,1]`, 24, `tensor "b": shape`},
		{"smaller shape", `[2,3]`, `[2,2]`, 24, `tensor "b": data_offsets`},
		{"bigger shape", `[2,3]`, `[2,4]`, 24, `tensor "b": data_offsets`},
		{"offsets backwards", `[8,20]`, `[20,8]`, 24, `backwards`},
		{"negative offset", `[0,8]`, `[-8,0]`, 24, `tensor "a": data_offsets`},
		{"offset 2^63-1", `[8,20]`, `[9223372036854775795,9223372036854775807]`, 24, `want 8: a gap`},
		{"offset 2^64", `[8,20]`, `[18446744073709551604,18446744073709551616]`, 24, `tensor "b"`},
		{"overlap", `[8,20]`, `[4,16]`, 24, "overlap"},
		{"two at one place", `"I64","shape":[],"data_offsets":[0,8]`, `"I32","shape":[1],"data_offsets":[20,24]`, 24, "gap"},
		{"gap", `[20,24]`, `[21,25]`, 25, `tensor "c"`},
		{"gap at the start", `"a":{"dtype":"I64","shape":[],"data_offsets":[0,8]},`, ``, 24, `tensor "b"`},
		{"data cut short", ``, ``, 23, `tensor "c"`},
		{"no data", ``, ``, 0, `tensor "a"`},
		{"a trailing byte", ``, ``, 25, "after the last tensor"},
		{"data without tensors", sampleHeader, `{}`, 1, "after the last tensor"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			header := strings.Replace(sampleHeader, test.old, test.new, 1)
			if test.old != "" && header == sampleHeader {
				t.Fatal("the case changes nothing")
			}
			_, err := parseBytes(build(header, test.data))
			var format *FormatError
			if !errors.As(err, &format) {
				t.Fatalf("got %v, want a FormatError", err)
			}
			if !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), "invalid safetensors") {
				t.Errorf("got %q, want it to contain %q", err, test.want)
			}
		})
	}
}

// TestEmptyTensors: what has no data lies anywhere between the others.
func TestEmptyTensors(t *testing.T) {
	const full = `"b":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},"a":{"dtype":"U8","shape":[2],"data_offsets":[4,6]}`
	for _, empty := range []string{
		`{"dtype":"F32","shape":[0],"data_offsets":[0,0]}`,
		`{"dtype":"F32","shape":[0],"data_offsets":[4,4]}`,
		`{"dtype":"BF16","shape":[3,0,2],"data_offsets":[6,6]}`,
		`{"dtype":"F32","shape":[0,9223372036854775807,9223372036854775807],"data_offsets":[6,6]}`,
		`{"dtype":"","shape":[],"data_offsets":[0,0]}`,
		`{"dtype":"","shape":[3],"data_offsets":[6,6]}`,
	} {
		for _, header := range []string{`{"e":` + empty + `,` + full + `}`, `{` + full + `,"e":` + empty + `}`} {
			b := build(header, 6)
			if e, ok := mustParse(t, b).Lookup("e"); !ok || e.Size != 0 {
				t.Errorf("%s gives %v", header, e)
			}
			checkAccepted(t, b)
		}
	}
	if _, err := parseBytes(build(`{"e":{"dtype":"F32","shape":[0],"data_offsets":[2,2]},`+full+`}`, 6)); err == nil {
		t.Error("a tensor without data inside another is accepted")
	}
}

// TestForeign: files of another kind are named, with what to do.
func TestForeign(t *testing.T) {
	for start, want := range map[string]string{
		"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n": "git lfs pull",
		"GGUF\x03\x00\x00\x00":             "paligemma quantize",
		"PK\x03\x04pytorch":                "save_pretrained",
		"\x80\x02ctorch":                   "pickle",
		"\x89HDF\r\n\x1a\n":                "HDF5",
		"<!DOCTYPE html><html>404</html>":  "web page",
		"\x1f\x8b\x08\x00\x00\x00\x00\x00": "gzip",
	} {
		_, err := parseBytes([]byte(start))
		var format *FormatError
		if !errors.As(err, &format) || !strings.Contains(err.Error(), want) {
			t.Errorf("%q gives %v, want %q", start, err, want)
		}
	}
	if got := DescribeForeign(sample()[:20]); got != "" {
		t.Errorf("a safetensors file is %q", got)
	}
}

// TestLongNames: a message does not repeat a long name.
func TestLongNames(t *testing.T) {
	long := strings.Repeat("x", 10_000)
	for old, new := range map[string]string{`"b":{"dtype":"F16"`: `"` + long + `":{"dtype":"F15"`, `"F16"`: `"` + long + `"`, `"shape":[2,3]`: `"` + long + `":[2,3]`, `"c":`: `"` + long + `":{},"` + long + `":`} {
		header := strings.Replace(sampleHeader, old, new, 1)
		if _, err := parseBytes(build(header, sampleData)); err == nil || header == sampleHeader || len(err.Error()) > 400 {
			t.Errorf("%.20s gives %.500v", old, err)
		}
	}
}

// TestMessageLength: a message does not repeat a long value.
func TestMessageLength(t *testing.T) {
	long := strings.Repeat("9", 1000)
	for _, shape := range []string{"[" + long + "]", `["` + long + `"]`} {
		_, err := parseBytes(build(strings.Replace(sampleHeader, "[2,3]", shape, 1), sampleData))
		if err == nil || len(err.Error()) > 200 {
			t.Errorf("got %v", err)
		}
	}
}

func TestHeaderLength(t *testing.T) {
	for _, n := range []uint64{maxHeader + 1, 1 << 40, 1 << 63, math.MaxUint64, uint64(len(sampleHeader) + sampleData + 1)} {
		b := sample()
		binary.LittleEndian.PutUint64(b, n)
		var format *FormatError
		if _, err := parseBytes(b); !errors.As(err, &format) || !strings.Contains(err.Error(), "header is") {
			t.Errorf("a header of %d bytes gives %v", n, err)
		}
		if got := allocated(func() { parseBytes(b) }); got > 16<<10 {
			t.Errorf("a header of %d bytes allocates %d", n, got)
		}
	}
}

func TestTruncated(t *testing.T) {
	b := sample()
	for n := range b {
		if _, err := parseBytes(b[:n]); err == nil {
			t.Fatalf("the first %d of %d bytes are accepted", n, len(b))
		}
		// The file may also be shorter than its size said.
		_, err := Parse(bytes.NewReader(b[:n]), int64(len(b)))
		if inHeader := n < 8+len(sampleHeader); inHeader != errors.Is(err, io.ErrUnexpectedEOF) {
			t.Fatalf("%d of %d bytes can be read, and that gives %v", n, len(b), err)
		}
	}
}

func TestBytesFlipped(t *testing.T) {
	b := sample()
	for i := range b {
		for _, x := range []byte{0, '0', '9', '"', '{', '[', ',', ' ', '\\', 0xff, b[i] + 1} {
			c := slices.Clone(b)
			c[i] = x
			checkAccepted(t, c)
		}
	}
}

// TestManyKeys: duplicates are found in linear time.
func TestManyKeys(t *testing.T) {
	var b strings.Builder
	b.WriteString("{")
	const n = 50_000
	for i := range n {
		fmt.Fprintf(&b, `"tensor%d":{"dtype":"U8","shape":[1],"data_offsets":[%d,%d]},`, i, n-1-i, n-i)
	}
	header := b.String()
	good := build(header[:len(header)-1]+"}", n)
	if got := allocated(func() { mustParse(t, good) }); got > 40*uint64(len(good)) {
		t.Errorf("%d bytes allocated for %d", got, len(good))
	}
	_, err := parseBytes(build(header+`"tensor0":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}`, n))
	if err == nil || !strings.Contains(err.Error(), "twice") {
		t.Errorf("got %v", err)
	}
}

// allocated is the number of bytes that do allocates.
func allocated(do func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	do()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}
