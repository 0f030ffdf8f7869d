package gguf

import (
	"bytes"
	"errors"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

func write(t testing.TB, b []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "model.gguf")
	if err := os.WriteFile(path, b, 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestOpen(t *testing.T) {
	b := sample().bytes()
	path := write(t, b)
	for _, opts := range []Options{{}, {NoMmap: true}} {
		f, err := Open(path, opts)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(f.Bytes(), b) || f.Path() != path {
			t.Errorf("%+v: %d bytes of %q", opts, len(f.Bytes()), f.Path())
		}
		if f.OffHeap() != canMap {
			t.Errorf("%+v: OffHeap is %v", opts, f.OffHeap())
		}
		x, _ := f.Lookup("v")
		if got := f.Data(x); !bytes.Equal(got, []byte{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}) || cap(got) != len(got) {
			t.Errorf("%+v: data %v", opts, got)
		}
		for _, bad := range []Tensor{
			{Offset: -1, Size: 1}, {Offset: 0, Size: -1}, {Offset: 1 << 40, Size: 1}, {Offset: 0, Size: 1 << 40},
			{Offset: math.MaxInt64, Size: math.MaxInt64}, {Offset: 1, Size: math.MaxInt64}, {Offset: math.MinInt64, Size: 1},
		} {
			if got := f.Data(bad); got != nil {
				t.Errorf("Data(%+v) has %d bytes", bad, len(got))
			}
		}
		if err := f.Unchanged(); err != nil {
			t.Error(err)
		}
		if err := f.Close(); err != nil {
			t.Error(err)
		}
		if f.Bytes() != nil || f.Data(x) != nil || f.Unchanged() != nil {
			t.Error("bytes after Close")
		}
		if s, err := f.String("a.str"); err != nil || s != "gemma" {
			t.Errorf("after Close, a.str is %q (%v)", s, err)
		}
		if err := f.Close(); err != nil {
			t.Errorf("second Close: %v", err)
		}
	}
}

func TestOpenErrors(t *testing.T) {
	dir := t.TempDir()
	if _, err := Open(filepath.Join(dir, "none.gguf"), Options{}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a missing file gives %v", err)
	}
	if _, err := Open(dir, Options{}); err == nil || !strings.Contains(err.Error(), "not a regular file") {
		t.Errorf("a folder gives %v", err)
	}
	for _, b := range [][]byte{nil, []byte("GGUF"), sample().bytes()[:100]} {
		path := write(t, b)
		var format *FormatError
		if _, err := Open(path, Options{}); !errors.As(err, &format) || !strings.Contains(err.Error(), path) {
			t.Errorf("%d bytes give %v", len(b), err)
		}
		if _, err := FromBytes("built in", b); err == nil || !strings.Contains(err.Error(), "built in") {
			t.Errorf("%d bytes in memory give %v", len(b), err)
		}
	}
}

func TestUnchanged(t *testing.T) {
	if !canMap {
		t.Skip("no mmap here")
	}
	b := sample().bytes()
	tests := []struct {
		name   string
		change func(path string) error
		want   string
	}{
		{"touched", func(path string) error { return os.Chtimes(path, time.Time{}, time.Now().Add(time.Hour)) }, "changed"},
		{"truncated", func(path string) error { return os.Truncate(path, 10) }, "changed"},
		{"replaced", func(path string) error {
			if err := os.WriteFile(path+".new", b, 0o644); err != nil {
				return err
			}
			return os.Rename(path+".new", path)
		}, "replaced"},
		{"deleted", os.Remove, ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
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
			if err := test.change(path); err != nil {
				t.Fatal(err)
			}
			err = f.Unchanged()
			if test.want == "" && err != nil {
				t.Errorf("got %v", err)
			}
			if test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), path)) {
				t.Errorf("got %v, want %q", err, test.want)
			}
			if err := memory.Unchanged(); err != nil {
				t.Errorf("in memory: %v", err)
			}
		})
	}
}

func TestGetters(t *testing.T) {
	h := mustParse(t, sample().bytes())
	good := []struct {
		got  func() (any, error)
		want any
	}{
		{func() (any, error) { return h.String("a.str") }, "gemma"},
		{func() (any, error) { return h.Bool("a.bool") }, true},
		{func() (any, error) { return h.Uint32("a.u32") }, uint32(1 << 31)},
		{func() (any, error) { return h.Uint64("a.u64") }, uint64(1 << 63)},
		{func() (any, error) { return h.Int32("a.i32") }, int32(-3)},
		{func() (any, error) { return h.Float32("a.f32") }, float32(1.5)},
		{func() (any, error) { return h.Strings("b.str") }, []string{"x", "", "zz"}},
		{func() (any, error) { return h.Int32s("b.i32") }, []int32{7, -1}},
		{func() (any, error) { return h.Uint32s("b.u32") }, []uint32{7, 8}},
		{func() (any, error) { return h.Float32s("b.f32") }, []float32{0, 1}},
		{func() (any, error) { return h.Int32s("b.none") }, []int32{}},
		{func() (any, error) { return h.ArrayLen("b.str") }, 3},
		{func() (any, error) { return h.Int("a.u8") }, 200},
		{func() (any, error) { return h.Int("a.i8") }, -1},
		{func() (any, error) { return h.Int("a.u16") }, 513},
		{func() (any, error) { return h.Int("a.i16") }, -2},
		{func() (any, error) { return h.Int("a.i32") }, -3},
	}
	if math.MaxInt > math.MaxInt32 {
		big := int64(1) << 40
		good = append(good, good[0], good[0])
		good[len(good)-2].got, good[len(good)-2].want = func() (any, error) { return h.Int("a.i64") }, int(big)
		good[len(good)-1].got, good[len(good)-1].want = func() (any, error) { return h.Int("a.u32") }, int(big>>9)
	}
	for _, test := range good {
		if got, err := test.got(); err != nil || !reflect.DeepEqual(got, test.want) {
			t.Errorf("got %#v (%v), want %#v", got, err, test.want)
		}
	}
	getters := map[string]func(key string) error{
		"string":           func(k string) error { _, err := h.String(k); return err },
		"bool":             func(k string) error { _, err := h.Bool(k); return err },
		"uint32":           func(k string) error { _, err := h.Uint32(k); return err },
		"uint64":           func(k string) error { _, err := h.Uint64(k); return err },
		"int32":            func(k string) error { _, err := h.Int32(k); return err },
		"float32":          func(k string) error { _, err := h.Float32(k); return err },
		"array of string":  func(k string) error { _, err := h.Strings(k); return err },
		"array of int32":   func(k string) error { _, err := h.Int32s(k); return err },
		"array of uint32":  func(k string) error { _, err := h.Uint32s(k); return err },
		"array of float32": func(k string) error { _, err := h.Float32s(k); return err },
		"an integer":       func(k string) error { _, err := h.Int(k); return err },
	}
	for want, get := range getters {
		t.Run(want, func(t *testing.T) {
			var missing *MissingKeyError
			if err := get("nope"); !errors.As(err, &missing) || missing.Key != "nope" || !strings.Contains(err.Error(), `"nope"`) {
				t.Errorf("a missing key gives %v", err)
			}
			for _, key := range []string{"a.f64", "b.f64", "b.bool"} {
				var typ *TypeError
				if err := get(key); !errors.As(err, &typ) || typ.Key != key || typ.Want != want || !strings.Contains(err.Error(), key) {
					t.Errorf("%s gives %v", key, err)
				}
			}
		})
	}
	var typ *TypeError
	var missing *MissingKeyError
	if _, err := h.ArrayLen("a.u8"); !errors.As(err, &typ) {
		t.Errorf("ArrayLen of a uint8 gives %v", err)
	}
	if _, err := h.ArrayLen("nope"); !errors.As(err, &missing) {
		t.Errorf("ArrayLen of a missing key gives %v", err)
	}
	if _, err := h.Int("a.u64"); !errors.As(err, &typ) || !strings.Contains(typ.Want, "range") {
		t.Errorf("Int of 2^63 gives %v", err)
	}
}
