package gguf

import (
	"bytes"
	"errors"
	"io"
	"math"
	"reflect"
	"strings"
	"testing"
)

// full is a Writer with every kind of value its setters know.
func full(t testing.TB) *Writer {
	w := &Writer{}
	w.SetString("general.architecture", "paligemma")
	w.SetUint32("u32", 1)
	w.SetUint64("u64", 1<<40)
	w.SetInt32("i32", -1)
	w.SetFloat32("f32", 1e-6)
	w.SetBool("bool", true)
	w.SetStrings("strings", []string{"a", "", "ü", "\xff"})
	w.SetInt32s("i32s", []int32{-1, 2})
	w.SetUint32s("u32s", []uint32{3})
	w.SetFloat32s("f32s", nil)
	for _, x := range []struct {
		name  string
		typ   Type
		shape []int64
	}{{"a", TypeF32, []int64{5}}, {"b", TypeQ4_K, []int64{256, 3}}, {strings.Repeat("n", 63), TypeI8, []int64{1, 1, 1, 1}}} {
		if err := w.AddTensor(x.name, x.typ, x.shape...); err != nil {
			t.Fatal(err)
		}
	}
	return w
}

// fill writes n bytes that depend on the tensor, in pieces.
func fill(t Tensor, w io.Writer) error {
	for i := range t.Size {
		if _, err := w.Write([]byte{t.Name[0] + byte(i)}); err != nil {
			return err
		}
	}
	return nil
}

func TestWriter(t *testing.T) {
	w := full(t)
	var out bytes.Buffer
	if err := w.Encode(&out, fill); err != nil {
		t.Fatal(err)
	}
	f, err := FromBytes("x", out.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]any{
		"general.architecture": "paligemma", "u32": uint32(1), "u64": uint64(1 << 40), "i32": int32(-1),
		"f32": float32(1e-6), "bool": true, "strings": []string{"a", "", "ü", "\xff"},
		"i32s": []int32{-1, 2}, "u32s": []uint32{3}, "f32s": []float32{},
	} {
		if got := f.Value(key); !reflect.DeepEqual(got, want) {
			t.Errorf("%s is %#v, want %#v", key, got, want)
		}
	}
	tensors, err := w.Tensors()
	if err != nil || !reflect.DeepEqual(f.Tensors, tensors) {
		t.Errorf("tensors %v, want %v (%v)", f.Tensors, tensors, err)
	}
	for _, x := range f.Tensors {
		var want bytes.Buffer
		fill(x, &want)
		if !bytes.Equal(f.Data(x), want.Bytes()) {
			t.Errorf("tensor %q: wrong data", x.Name)
		}
		if (f.DataOffset+x.Offset)%32 != 0 {
			t.Errorf("tensor %q is not aligned", x.Name)
		}
	}
	if out.Len()%32 != 0 {
		t.Errorf("the file's %d bytes are not padded", out.Len())
	}
	if size, err := w.Size(); err != nil || size != int64(out.Len()) {
		t.Errorf("Size is %d (%v), want %d", size, err, out.Len())
	}
	var again bytes.Buffer
	if err := full(t).Encode(&again, fill); err != nil || !bytes.Equal(out.Bytes(), again.Bytes()) {
		t.Error("the same calls give other bytes")
	}
	checkAccepted(t, out.Bytes())
}

// TestWriterMatchesFormat compares with a file built by hand.
func TestWriterMatchesFormat(t *testing.T) {
	b := sample().bytes()
	if got := rewrite(t, "sample", b); !bytes.Equal(got, b) {
		t.Errorf("got\n%q, want\n%q", got, b)
	}
}

func TestWriterAlignment(t *testing.T) {
	for _, a := range []uint32{8, 32, 4096, maxAlignment} {
		w := full(t)
		w.SetUint32(alignmentKey, a)
		var out bytes.Buffer
		if err := w.Encode(&out, fill); err != nil {
			t.Fatal(err)
		}
		if h := mustParse(t, out.Bytes()); h.Alignment != int64(a) || h.DataOffset%int64(a) != 0 {
			t.Errorf("alignment %d, data at %d, want %d", h.Alignment, h.DataOffset, a)
		}
	}
}

// TestWriterRejects: what the reader would refuse is an error of Encode, and
// of AddTensor.
func TestWriterRejects(t *testing.T) {
	long := strings.Repeat("k", maxKeyLen+1)
	tests := []struct {
		name string
		do   func(w *Writer) error
		want string
	}{
		{"key twice", func(w *Writer) error { w.SetBool("u32", true); return nil }, `"u32" is set twice`},
		{"empty key", func(w *Writer) error { w.SetBool("", true); return nil }, "is empty"},
		{"key not utf-8", func(w *Writer) error { w.SetString("\xff", ""); return nil }, "utf-8"},
		{"long key", func(w *Writer) error { w.SetInt32(long, 1); return nil }, "limit"},
		{"long string", func(w *Writer) error { w.SetString("s", string(make([]byte, maxString+1))); return nil }, `"s"`},
		{"long string in an array", func(w *Writer) error { w.SetStrings("s", []string{string(make([]byte, maxString+1))}); return nil }, `"s"`},
		{"long array", func(w *Writer) error { w.SetUint32s("s", make([]uint32, maxArray+1)); return nil }, `"s"`},
		{"alignment 0", func(w *Writer) error { w.SetUint32(alignmentKey, 0); return nil }, alignmentKey},
		{"alignment 24", func(w *Writer) error { w.SetUint32(alignmentKey, 24); return nil }, alignmentKey},
		{"alignment as int32", func(w *Writer) error { w.SetInt32(alignmentKey, 32); return nil }, alignmentKey},
		{"copy of a missing key", func(w *Writer) error { w.CopyKey(&Header{}, "nope"); return nil }, `"nope"`},
		{"too many keys", func(w *Writer) error {
			for i := range maxKeys {
				w.SetBool("k"+string(rune(1000+i)), true)
			}
			return nil
		}, "limit"},
		{"tensor twice", func(w *Writer) error { return w.AddTensor("a", TypeF32, 1) }, `"a"`},
		{"empty tensor name", func(w *Writer) error { return w.AddTensor("", TypeF32, 1) }, "empty"},
		{"long tensor name", func(w *Writer) error { return w.AddTensor(long[:64], TypeF32, 1) }, "limit"},
		{"tensor name not utf-8", func(w *Writer) error { return w.AddTensor("\xff", TypeF32, 1) }, "utf-8"},
		{"no dimensions", func(w *Writer) error { return w.AddTensor("x", TypeF32) }, `"x"`},
		{"5 dimensions", func(w *Writer) error { return w.AddTensor("x", TypeF32, 1, 1, 1, 1, 1) }, `"x"`},
		{"dimension 0", func(w *Writer) error { return w.AddTensor("x", TypeF32, 1, 0) }, `"x"`},
		{"dimension -1", func(w *Writer) error { return w.AddTensor("x", TypeF32, -1, -1) }, `"x"`},
		{"overflow", func(w *Writer) error { return w.AddTensor("x", TypeF32, 1<<32, 1<<32) }, `"x"`},
		{"half a block", func(w *Writer) error { return w.AddTensor("x", TypeQ8_0, 48) }, `"x"`},
		{"unknown type", func(w *Writer) error { return w.AddTensor("x", 4, 32) }, `"x"`},
		{"too many tensors", func(w *Writer) error {
			for i := range maxTensors {
				if err := w.AddTensor("k"+string(rune(1000+i)), TypeI8, 1); err != nil {
					return err
				}
			}
			return nil
		}, "limit"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			w := full(t)
			err := test.do(w)
			if err == nil {
				if err = w.Encode(io.Discard, fill); err == nil {
					t.Fatal("no error")
				}
				if again := w.AddTensor("later", TypeF32, 1); again == nil {
					t.Error("AddTensor does not return the error")
				}
				if _, again := w.Size(); again == nil {
					t.Error("Size does not return the error")
				}
				if _, again := w.Tensors(); again == nil {
					t.Error("Tensors does not return the error")
				}
			}
			if !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %q, want it to contain %q", err, test.want)
			}
		})
	}
	var w Writer
	for _, name := range []string{"a", "b", "c"} {
		if err := w.AddTensor(name, TypeI8, math.MaxInt64/2); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Encode(io.Discard, nil); err == nil || !strings.Contains(err.Error(), "overflow") {
		t.Errorf("sizes that overflow give %v", err)
	}
	w = Writer{} // the data alone fit, but not with the header before them
	if err := w.AddTensor("a", TypeI8, math.MaxInt64-31); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Size(); err == nil || !strings.Contains(err.Error(), "overflow") {
		t.Errorf("a size that overflows gives %v", err)
	}
}

func TestWriterData(t *testing.T) {
	bad := errors.New("bad data")
	tests := []struct {
		name string
		data func(x Tensor, w io.Writer) error
		want string
	}{
		{"too few bytes", func(x Tensor, w io.Writer) error { _, err := w.Write(make([]byte, x.Size-1)); return err }, "1 bytes are missing"},
		{"too many bytes", func(x Tensor, w io.Writer) error { _, err := w.Write(make([]byte, x.Size+1)); return err }, "1 bytes more"},
		{"an error", func(Tensor, io.Writer) error { return bad }, "bad data"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			err := full(t).Encode(io.Discard, test.data)
			if err == nil || !strings.Contains(err.Error(), `tensor "a"`) || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v", err)
			}
		})
	}
	size, err := full(t).Size()
	if err != nil {
		t.Fatal(err)
	}
	for limit := range int(size) {
		if err := full(t).Encode(&short{limit, bad}, fill); !errors.Is(err, bad) {
			t.Fatalf("a disk full at %d gives %v", limit, err)
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
