package gguf

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"io/fs"
	"os"
	"reflect"
	"strings"
	"testing"
)

// longValues has one value of each kind that is longer than a window, with more
// of them between than one window holds.
func longValues(t testing.TB) (values map[string]any, file []byte) {
	t.Helper()
	const n = window + 3
	ints, floats, bools := make([]int32, n), make([]float32, n), make([]bool, n)
	texts, doubles := make([]string, n), make([]float64, n)
	for i := range n {
		ints[i], floats[i], bools[i] = int32(-i), float32(i)/3, i%3 == 0
		texts[i], doubles[i] = strings.Repeat("x", i%5), float64(i)/7
	}
	values = map[string]any{"ints": ints, "floats": floats, "texts": texts, "text": strings.Repeat("gemma", n), "bools": bools, "doubles": doubles}
	var w Writer
	w.SetInt32s("ints", ints)
	w.SetString("text", values["text"].(string))
	w.SetStrings("texts", texts)
	w.SetFloat32s("floats", floats)
	setSlice(&w, "bools", kindBool, bools)
	setSlice(&w, "doubles", kindFloat64, doubles)
	w.SetString("short", "short")
	if err := w.AddTensor("w", TypeF32, 1); err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := w.Encode(&b, func(_ Tensor, dst io.Writer) error { _, err := dst.Write(make([]byte, 4)); return err }); err != nil {
		t.Fatal(err)
	}
	return values, b.Bytes()
}

// Long values are read when they are asked for, as long as the file is open.
func TestLongValues(t *testing.T) {
	want, b := longValues(t)
	path := write(t, b)
	for _, opts := range []Options{{}, {NoMmap: true}} {
		f, err := Open(path, opts)
		if err != nil {
			t.Fatal(err)
		}
		for key, want := range want {
			if v := f.values[key]; v.kept != nil {
				t.Errorf("%s is kept in memory", key)
			}
			if got := f.Value(key); !reflect.DeepEqual(got, want) {
				t.Errorf("%s is not what was written", key)
			}
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
		for key := range want {
			if f.Value(key) != nil {
				t.Errorf("%s can be read from a closed file", key)
			}
		}
		if _, err := f.Strings("texts"); !errors.Is(err, fs.ErrClosed) || !strings.Contains(err.Error(), "texts") {
			t.Errorf("a closed file gives %v", err)
		}
		if s, err := f.String("short"); err != nil || s != "short" {
			t.Errorf("a short string is %q (%v)", s, err)
		}
		var w Writer
		w.CopyKey(f.Header, "ints")
		if _, err := w.Size(); !errors.Is(err, fs.ErrClosed) {
			t.Errorf("CopyKey from a closed file gives %v", err)
		}
	}
	checkAccepted(t, b)
}

// A file that shrinks or changes while it is open is an error, not a fault and
// not a panic.
func TestLongValuesChange(t *testing.T) {
	_, b := longValues(t)
	getters := map[string]func(f *File) error{
		"text":   func(f *File) error { _, err := f.String("text"); return err },
		"texts":  func(f *File) error { _, err := f.Strings("texts"); return err },
		"ints":   func(f *File) error { _, err := f.Int32s("ints"); return err },
		"floats": func(f *File) error { _, err := f.Float32s("floats"); return err },
	}
	for key, get := range getters {
		path := write(t, b)
		f, err := Open(path, Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		memory, err := Open(path, Options{NoMmap: true})
		if err != nil {
			t.Fatal(err)
		}
		defer memory.Close()
		if err := os.Truncate(path, f.values[key].start+f.values[key].size-1); err != nil {
			t.Fatal(err)
		}
		if err := get(f); !errors.Is(err, io.ErrUnexpectedEOF) || !strings.Contains(err.Error(), key) {
			t.Errorf("%s of a file cut short: %v", key, err)
		}
		if err := get(memory); err != nil {
			t.Errorf("%s in memory: %v", key, err)
		}
	}
	// In memory that changes, for every length that a string may seem to have.
	h := mustParse(t, b)
	start, size := h.values["texts"].start, h.values["texts"].size
	for _, length := range []uint64{uint64(size), uint64(size) - 8, 1 << 63, 1<<64 - 1, 1<<64 - 8, 1} {
		binary.LittleEndian.PutUint64(b[start:], length)
		if got, err := h.Strings("texts"); !errors.Is(err, errChanged) && length != uint64(size)-8 {
			t.Errorf("with a length of %d: %d strings, %v", length, len(got), err)
		}
	}
}

// What is wrong in a long value is found without keeping it.
func TestLongValuesReject(t *testing.T) {
	bools := make([]byte, 3*window)
	for at, want := range map[int]bool{0: false, window - 1: false, window: false, len(bools) - 1: false, -1: true} {
		if at >= 0 {
			bools[at] = 2
		}
		r := raw{version: 3, align: 32, keys: [][]byte{kv("k", kindArray, u32(uint32(kindBool)), u64(uint64(len(bools))), bools)}}
		if _, err := parse(r.bytes()); (err == nil) != want {
			t.Errorf("a bool of 2 at %d gives %v", at, err)
		}
		if at >= 0 {
			bools[at] = 0
		}
	}
	_, b := longValues(t)
	for n := 1; n < len(b); n += 9973 {
		if _, err := parse(b[:n]); err == nil {
			t.Fatalf("the first %d of %d bytes are accepted", n, len(b))
		}
	}
}

func TestStringLen(t *testing.T) {
	h := mustParse(t, sample().bytes())
	if n, err := h.StringLen("a.str"); err != nil || n != 5 {
		t.Errorf("%d, %v", n, err)
	}
	var typ *TypeError
	var missing *MissingKeyError
	if _, err := h.StringLen("b.str"); !errors.As(err, &typ) {
		t.Errorf("an array gives %v", err)
	}
	if _, err := h.StringLen("nope"); !errors.As(err, &missing) {
		t.Errorf("a missing key gives %v", err)
	}
}

// Strings that end at, before and after the end of a window, and longer ones.
func TestStringsAcrossWindows(t *testing.T) {
	var texts []string
	for n := window - 20; n < window+20; n++ {
		texts = append(texts, strings.Repeat("x", n), "", "y")
	}
	for n := range 3000 {
		texts = append(texts, strings.Repeat("z", n%211))
	}
	var w Writer
	w.SetStrings("texts", texts)
	w.SetString("last", "last")
	var b bytes.Buffer
	if err := w.Encode(&b, nil); err != nil {
		t.Fatal(err)
	}
	h := mustParse(t, b.Bytes())
	if got, err := h.Strings("texts"); err != nil || !reflect.DeepEqual(got, texts) {
		t.Errorf("%d strings, %v", len(got), err)
	}
	if s, err := h.String("last"); err != nil || s != "last" {
		t.Errorf("what follows is %q, %v", s, err)
	}
	for n := b.Len() - defaultAlignment; n > 0; n -= 1013 {
		if _, err := parse(b.Bytes()[:n]); err == nil {
			t.Fatalf("the first %d of %d bytes are accepted", n, b.Len())
		}
	}
}
