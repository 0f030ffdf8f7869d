package gguf

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestParse(t *testing.T) {
	h := mustParse(t, sample().bytes())
	if h.Version != 3 || h.Alignment != 32 || h.DataOffset%32 != 0 {
		t.Errorf("version %d, alignment %d, data at %d", h.Version, h.Alignment, h.DataOffset)
	}
	want := []Tensor{
		{"w", TypeQ8_0, []int64{32, 2}, 0, 68},
		{"v", TypeF32, []int64{3}, 96, 12},
		{"e", TypeF16, []int64{2, 2, 1, 2}, 128, 16},
	}
	if !reflect.DeepEqual(h.Tensors, want) {
		t.Errorf("tensors %v, want %v", h.Tensors, want)
	}
	if x, ok := h.Lookup("e"); !ok || !reflect.DeepEqual(x, want[2]) || x.Elements() != 8 {
		t.Errorf("Lookup(e) = %v, %v", x, ok)
	}
	if _, ok := h.Lookup("nope"); ok {
		t.Error("Lookup finds a missing tensor")
	}
	values := map[string]any{
		"a.u8": uint8(200), "a.i8": int8(-1), "a.u16": uint16(513), "a.i16": int16(-2),
		"a.u32": uint32(1 << 31), "a.i32": int32(-3), "a.f32": float32(1.5), "a.bool": true, "a.str": "gemma",
		"a.u64": uint64(1 << 63), "a.i64": int64(1 << 40), "a.f64": 1.5,
		"b.u8": []uint8{1, 2}, "b.i8": []int8{1, -1}, "b.u16": []uint16{513}, "b.i16": []int16{-1},
		"b.u32": []uint32{7, 8}, "b.i32": []int32{7, -1}, "b.f32": []float32{0, 1}, "b.bool": []bool{false, true},
		"b.str": []string{"x", "", "zz"}, "b.u64": []uint64{5}, "b.i64": []int64{6}, "b.f64": []float64{0}, "b.none": []int32{},
	}
	keys := h.Keys()
	if len(keys) != len(values) || keys[0] != "a.u8" || keys[len(keys)-1] != "b.none" {
		t.Errorf("keys %v", keys)
	}
	for key, want := range values {
		if got := h.Value(key); !reflect.DeepEqual(got, want) {
			t.Errorf("Value(%q) = %#v, want %#v", key, got, want)
		}
		if !h.Has(key) {
			t.Errorf("Has(%q) is false", key)
		}
	}
	if h.Value("nope") != nil || h.Has("nope") || h.KeyType("nope") != "" {
		t.Error("a missing key is there")
	}
	if h.KeyType("b.str") != "array of 3 string" || h.KeyType("a.f64") != "float64" {
		t.Errorf("KeyType: %q, %q", h.KeyType("b.str"), h.KeyType("a.f64"))
	}
}

func TestParseVariants(t *testing.T) {
	v2 := sample()
	v2.version = 2
	if h := mustParse(t, v2.bytes()); h.Version != 2 {
		t.Errorf("version %d, want 2", h.Version)
	}
	noPad := sample()
	noPad.noPad = true
	mustParse(t, noPad.bytes())

	empty := raw{version: 3, align: 1}
	mustParse(t, empty.bytes())
	empty.align = 32
	mustParse(t, empty.bytes())

	a := sample()
	a.align = 64
	a.keys = append(a.keys, kv(alignmentKey, kindUint32, u32(64)))
	a.tensors[1].offset, a.tensors[2].offset = 128, 192
	if h := mustParse(t, a.bytes()); h.Alignment != 64 {
		t.Errorf("alignment %d, want 64", h.Alignment)
	}
}

// TestReject changes a valid file into each bad form; the message must name
// the culprit.
func TestReject(t *testing.T) {
	count := func(n uint64) *uint64 { return &n }
	tests := []struct {
		name   string
		change func(r *raw)
		want   string
	}{
		{"version 0", func(r *raw) { r.version = 0 }, "version is 0"},
		{"version 1", func(r *raw) { r.version = 1 }, "version 1"},
		{"version 4", func(r *raw) { r.version = 4 }, "version is 4"},
		{"big-endian", func(r *raw) { r.version = 3 << 24 }, "big-endian"},
		{"too many keys", func(r *raw) { r.nKeys = count(maxKeys + 1) }, "number of keys"},
		{"keys beyond the file", func(r *raw) { r.nKeys = count(4000) }, "number of keys"},
		{"2^64-1 keys", func(r *raw) { r.nKeys = count(math.MaxUint64) }, "number of keys"},
		{"too many tensors", func(r *raw) { r.nTensor = count(maxTensors + 1) }, "number of tensors"},
		{"2^63 tensors", func(r *raw) { r.nTensor = count(1 << 63) }, "number of tensors"},
		{"one key too few", func(r *raw) { r.nKeys = count(24) }, "tensor"},
		{"one tensor too few", func(r *raw) { r.nTensor = count(2) }, "after the last tensor"},
		{"duplicate key", func(r *raw) { r.keys[3] = kv("a.u8", kindUint8, []byte{1}) }, `key "a.u8" is there twice`},
		{"empty key", func(r *raw) { r.keys[3] = kv("", kindUint8, []byte{1}) }, "key 3 is empty"},
		{"key not utf-8", func(r *raw) { r.keys[3] = kv("a\xff", kindUint8, []byte{1}) }, "utf-8"},
		{"key with NUL", func(r *raw) { r.keys[3] = kv("a\x00", kindUint8, []byte{1}) }, "zero byte"},
		{"key too long", func(r *raw) { r.keys[3] = kv(strings.Repeat("k", maxKeyLen+1), kindUint8, []byte{1}) }, "key 3"},
		{"key length beyond the file", func(r *raw) { r.keys[3] = u64(60000) }, "key 3"},
		{"key length 2^64-1", func(r *raw) { r.keys[3] = u64(math.MaxUint64) }, "key 3"},
		{"unknown value type", func(r *raw) { r.keys[3] = kv("k", 13, []byte{1}) }, `key "k": unknown type 13`},
		{"value type 2^32-1", func(r *raw) { r.keys[3] = kv("k", math.MaxUint32, []byte{1}) }, `key "k"`},
		{"bool 2", func(r *raw) { r.keys[3] = kv("k", kindBool, []byte{2}) }, `key "k": a bool is 2`},
		{"bool 2 in an array", func(r *raw) { r.keys[3] = kv("k", kindArray, u32(7), u64(2), []byte{1, 2}) }, `key "k": a bool is 2`},
		{"string beyond the file", func(r *raw) { r.keys[3] = kv("k", kindString, u64(1<<20), []byte("abc")) }, `key "k" is 1048576 bytes long`},
		{"string length 2^64-1", func(r *raw) { r.keys[3] = kv("k", kindString, u64(math.MaxUint64)) }, `key "k"`},
		{"string over the limit", func(r *raw) { r.keys[3] = kv("k", kindString, u64(maxString+1)) }, "limit"},
		{"nested array", func(r *raw) { r.keys[3] = kv("k", kindArray, u32(9), u64(0)) }, `key "k": nested`},
		{"array of unknown type", func(r *raw) { r.keys[3] = kv("k", kindArray, u32(13), u64(0)) }, `key "k": array of unknown`},
		{"array beyond the file", func(r *raw) { r.keys[3] = kv("k", kindArray, u32(4), u64(1<<20)) }, `key "k"`},
		{"array over the limit", func(r *raw) { r.keys[3] = kv("k", kindArray, u32(0), u64(maxArray+1)) }, "limit"},
		{"array of 2^62 float64", func(r *raw) { r.keys[3] = kv("k", kindArray, u32(12), u64(1<<62)) }, `key "k"`},
		{"array of strings beyond the file", func(r *raw) { r.keys[3] = kv("k", kindArray, u32(8), u64(1<<20)) }, `key "k"`},
		{"string in an array beyond the file", func(r *raw) { r.keys[3] = kv("k", kindArray, u32(8), u64(1), u64(1<<40)) }, `key "k": a string`},
		{"alignment 0", func(r *raw) { r.keys[3] = kv(alignmentKey, kindUint32, u32(0)) }, "alignment"},
		{"alignment 1", func(r *raw) { r.keys[3] = kv(alignmentKey, kindUint32, u32(1)) }, "alignment"},
		{"alignment 48", func(r *raw) { r.keys[3] = kv(alignmentKey, kindUint32, u32(48)) }, "alignment"},
		{"alignment 2^31", func(r *raw) { r.keys[3] = kv(alignmentKey, kindUint32, u32(1<<31)) }, "alignment"},
		{"alignment of type uint64", func(r *raw) { r.keys[3] = kv(alignmentKey, kindUint64, u64(32)) }, "want uint32"},
		{"alignment of type string", func(r *raw) { r.keys[3] = kv(alignmentKey, kindString, str("32")) }, "want uint32"},
		{"another alignment than the data's", func(r *raw) { r.keys[3] = kv(alignmentKey, kindUint32, u32(64)) }, "offset"},
		{"duplicate tensor", func(r *raw) { r.tensors[1].name = "w" }, `tensor "w" is there twice`},
		{"empty tensor name", func(r *raw) { r.tensors[1].name = "" }, "tensor 1 is empty"},
		{"tensor name not utf-8", func(r *raw) { r.tensors[1].name = "\xc0\x80" }, "utf-8"},
		{"tensor name with NUL", func(r *raw) { r.tensors[1].name = "w\x00" }, "zero byte"},
		{"tensor name too long", func(r *raw) { r.tensors[1].name = strings.Repeat("n", 64) }, "limit of 63"},
		{"no dimensions", func(r *raw) { r.tensors[1].dims = nil }, `tensor "v": 0 dimensions`},
		{"5 dimensions", func(r *raw) { r.tensors[1].dims = []uint64{3, 1, 1, 1, 1} }, `tensor "v": 5 dimensions`},
		{"dimension 0", func(r *raw) { r.tensors[1].dims[0] = 0 }, `tensor "v"`},
		{"outer dimension 0", func(r *raw) { r.tensors[2].dims[3] = 0 }, `tensor "e"`},
		{"dimension -1", func(r *raw) { r.tensors[1].dims[0] = math.MaxUint64 }, `tensor "v"`},
		{"2^62-1 elements", func(r *raw) { r.tensors[1].dims[0] = 1<<62 - 1 }, `tensor "v"`},
		{"2^60 bytes", func(r *raw) { r.tensors[1].dims[0] = 1 << 58 }, `tensor "v"`},
		{"product wraps to 3", func(r *raw) { r.tensors[1].dims = []uint64{1 << 32, 1 << 32} }, `tensor "v"`},
		{"4 dimensions wrap", func(r *raw) { r.tensors[2].dims = []uint64{1 << 16, 1 << 16, 1 << 16, 1 << 16} }, `tensor "e"`},
		{"bytes wrap", func(r *raw) { r.tensors[1].dims = []uint64{1 << 31, 1 << 31} }, `tensor "v"`},
		{"row not a multiple of the block", func(r *raw) { r.tensors[0].dims = []uint64{2, 32} }, `tensor "w"`},
		{"removed type 4", func(r *raw) { r.tensors[1].typ = 4 }, `tensor "v": unknown tensor type 4`},
		{"unknown type 43", func(r *raw) { r.tensors[1].typ = 43 }, `tensor "v": unknown tensor type 43`},
		{"unknown type 2^32-1", func(r *raw) { r.tensors[1].typ = math.MaxUint32 }, `tensor "v"`},
		{"bigger type", func(r *raw) { r.tensors[2].typ = uint32(TypeF64) }, `tensor "e"`},
		{"first offset not 0", func(r *raw) { r.tensors[0].offset = 32 }, `tensor "w": offset`},
		{"offset overlaps", func(r *raw) { r.tensors[1].offset = 64 }, `tensor "v": offset`},
		{"offset leaves a gap", func(r *raw) { r.tensors[1].offset = 128 }, `tensor "v": offset`},
		{"offset not aligned", func(r *raw) { r.tensors[1].offset = 68 }, `tensor "v": offset`},
		{"offset past the end", func(r *raw) { r.tensors[2].offset = 1 << 40 }, `tensor "e": offset`},
		{"offset 2^64-32", func(r *raw) { r.tensors[2].offset = math.MaxUint64 - 31 }, `tensor "e": offset`},
		{"offsets out of order", func(r *raw) { r.tensors[1].offset, r.tensors[2].offset = 128, 96 }, "offset"},
		{"data cut short", func(r *raw) { r.tensors[2].size, r.noPad = 15, true }, `tensor "e"`},
		{"a trailing byte", func(r *raw) { r.tail = []byte{0} }, "after the last tensor"},
		{"trailing padding", func(r *raw) { r.tail = make([]byte, 32) }, "after the last tensor"},
		{"trailing bytes without tensors", func(r *raw) { r.tensors, r.tail = nil, make([]byte, 33) }, "after"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			r := sample()
			test.change(&r)
			_, err := parse(r.bytes())
			var format *FormatError
			if !errors.As(err, &format) {
				t.Fatalf("got %v, want a FormatError", err)
			}
			if !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %q, want it to contain %q", err, test.want)
			}
		})
	}
	for _, magic := range []string{"", "G", "GGU", "GGUF", "GGML", "ggufxxxxxxxxxxxxxxxxxxxxxxxx", "FUGG\x00\x00\x00\x03"} {
		if _, err := parse([]byte(magic)); err == nil {
			t.Errorf("%q is accepted", magic)
		}
	}
	bad := sample().bytes()
	bad[3] = 'f'
	if _, err := parse(bad); err == nil || !strings.Contains(err.Error(), "magic") {
		t.Errorf("a bad magic gives %v", err)
	}
}

func TestTruncated(t *testing.T) {
	r := sample()
	r.noPad = true
	b := r.bytes()
	mustParse(t, b)
	for n := range b {
		if _, err := parse(b[:n]); err == nil {
			t.Fatalf("the first %d of %d bytes are accepted", n, len(b))
		}
		// The file may also be shorter than its size said. (All of this small
		// file is read at once, the data too.)
		if _, err := Parse(bytes.NewReader(b[:n]), int64(len(b))); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Fatalf("%d of %d bytes can be read, and that gives %v", n, len(b), err)
		}
	}
}

// TestBytesFlipped sets every byte of a file to several values: Parse must
// not panic, and what it accepts must be written back.
func TestBytesFlipped(t *testing.T) {
	b := sample().bytes()
	for i := range b {
		for _, x := range []byte{0, 1, 0x7f, 0x80, 0xff, b[i] + 1, b[i] ^ 0x20} {
			c := slices.Clone(b)
			c[i] = x
			checkAccepted(t, c)
		}
	}
}

func TestReadError(t *testing.T) {
	bad := errors.New("bad disk")
	_, err := Parse(failing{bad}, 1000)
	if !errors.Is(err, bad) {
		t.Errorf("got %v, want %v", err, bad)
	}
	var format *FormatError
	if errors.As(err, &format) {
		t.Error("a read error is a FormatError")
	}
}

// TestHeaderLimit: in a huge file, a huge header is refused before it is read.
func TestHeaderLimit(t *testing.T) {
	s := &scanner{r: failing{errors.New("read")}, size: 1 << 50}
	var format *FormatError
	if s.skip(maxHeader + 1); !errors.As(s.err, &format) {
		t.Errorf("got %v", s.err)
	}
}

type failing struct{ err error }

func (f failing) ReadAt([]byte, int64) (int, error) { return 0, f.err }

// TestAllocations: what a file declares costs no more than a small multiple
// of what it holds.
func TestAllocations(t *testing.T) {
	files := map[string][]byte{
		"array of uint8":   raw{version: 3, align: 32, keys: [][]byte{kv("k", kindArray, u32(0), u64(maxArray))}}.bytes(),
		"array of string":  raw{version: 3, align: 32, keys: [][]byte{kv("k", kindArray, u32(8), u64(maxArray))}}.bytes(),
		"string":           raw{version: 3, align: 32, keys: [][]byte{kv("k", kindString, u64(maxString))}}.bytes(),
		"counts":           cat([]byte("GGUF"), u32(3), u64(maxTensors), u64(maxKeys)),
		"4 bytes of magic": []byte("GGUF"),
	}
	for name, b := range files {
		t.Run(name, func(t *testing.T) {
			if got := allocated(func() { parse(b) }); got > 64<<10 {
				t.Errorf("%d bytes allocated for %d", got, len(b))
			}
		})
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

// vocabulary is a file with 257,216 strings, as many scores, and a long string.
func vocabulary(t testing.TB) []byte {
	var w Writer
	tokens, scores := make([]string, 257216), make([]float32, 257216)
	for i := range tokens {
		tokens[i], scores[i] = fmt.Sprintf("token%d", i), float32(-i)
	}
	w.SetStrings("tokens", tokens)
	w.SetFloat32s("scores", scores)
	w.SetString("json", strings.Repeat("x", 14<<20))
	var b bytes.Buffer
	if err := w.Encode(&b, nil); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestVocabulary(t *testing.T) {
	b := vocabulary(t)
	var h *Header
	if got := allocated(func() { h = mustParse(t, b) }); got > 128<<10 {
		t.Errorf("%d bytes allocated for %d", got, len(b))
	}
	reads := &counting{r: bytes.NewReader(b)}
	if _, err := Parse(reads, int64(len(b))); err != nil || reads.n > 5<<20 {
		t.Errorf("%d bytes read of %d: %v", reads.n, len(b), err)
	}
	if n, err := h.StringLen("json"); err != nil || n != 14<<20 {
		t.Errorf("the string has %d bytes: %v", n, err)
	}
	tokens, err := h.Strings("tokens")
	if err != nil || len(tokens) != 257216 || tokens[257215] != "token257215" {
		t.Errorf("%d tokens: %v", len(tokens), err)
	}
	scores, err := h.Float32s("scores")
	if err != nil || len(scores) != 257216 || scores[100] != -100 {
		t.Errorf("%d scores: %v", len(scores), err)
	}
}

// TestManyKeys: the time for n keys must not grow with its square.
func TestManyKeys(t *testing.T) {
	r := raw{version: 3, align: 32}
	for i := range maxKeys {
		r.keys = append(r.keys, kv(fmt.Sprintf("k%d", i), kindUint8, []byte{1}))
	}
	start := time.Now()
	mustParse(t, r.bytes())
	if took := time.Since(start); took > 2*time.Second {
		t.Errorf("%d keys took %v", maxKeys, took)
	}
	r.keys = append(r.keys, kv("one more", kindUint8, []byte{1}))
	if _, err := parse(r.bytes()); err == nil {
		t.Errorf("%d keys are accepted", maxKeys+1)
	}
}

func BenchmarkParseVocabulary(b *testing.B) {
	data := vocabulary(b)
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		mustParse(b, data)
	}
}

func BenchmarkStrings(b *testing.B) {
	h := mustParse(b, vocabulary(b))
	for b.Loop() {
		if _, err := h.Strings("tokens"); err != nil {
			b.Fatal(err)
		}
	}
}

var _ io.ReaderAt = failing{}

// counting counts the bytes that are read.
type counting struct {
	r io.ReaderAt
	n int
}

func (c *counting) ReadAt(b []byte, off int64) (int, error) {
	n, err := c.r.ReadAt(b, off)
	c.n += n
	return n, err
}
