package gguf

import (
	"bytes"
	"encoding/binary"
	"io"
	"testing"
)

// raw builds files by hand, so that tests do not trust Writer and can make
// what it refuses to.
type raw struct {
	version uint32
	keys    [][]byte
	tensors []rawTensor
	align   int
	nKeys   *uint64 // in place of the true counts
	nTensor *uint64
	tail    []byte
	noPad   bool // leave out the padding after the last tensor
}

type rawTensor struct {
	name   string
	dims   []uint64
	typ    uint32
	offset uint64
	size   int
}

func str(s string) []byte {
	return append(binary.LittleEndian.AppendUint64(nil, uint64(len(s))), s...)
}

func u32(n uint32) []byte { return binary.LittleEndian.AppendUint32(nil, n) }
func u64(n uint64) []byte { return binary.LittleEndian.AppendUint64(nil, n) }

func cat(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

func kv(key string, k kind, value ...[]byte) []byte {
	return cat(str(key), u32(uint32(k)), cat(value...))
}

func (r raw) bytes() []byte {
	nKeys, nTensors := uint64(len(r.keys)), uint64(len(r.tensors))
	if r.nKeys != nil {
		nKeys = *r.nKeys
	}
	if r.nTensor != nil {
		nTensors = *r.nTensor
	}
	b := cat([]byte("GGUF"), u32(r.version), u64(nTensors), u64(nKeys), cat(r.keys...))
	for _, t := range r.tensors {
		b = cat(b, str(t.name), u32(uint32(len(t.dims))))
		for _, d := range t.dims {
			b = append(b, u64(d)...)
		}
		b = cat(b, u32(t.typ), u64(t.offset))
	}
	pad := func() { b = append(b, make([]byte, -len(b)&(r.align-1))...) }
	pad()
	for i, t := range r.tensors {
		for j := range t.size {
			b = append(b, byte(i+j))
		}
		if i < len(r.tensors)-1 || !r.noPad {
			pad()
		}
	}
	return append(b, r.tail...)
}

// sample is a valid file with every kind of value and three tensors, the last
// of which ends 16 bytes before the alignment.
func sample() raw {
	return raw{
		version: 3,
		align:   32,
		keys: [][]byte{
			kv("a.u8", kindUint8, []byte{200}),
			kv("a.i8", kindInt8, []byte{0xff}),
			kv("a.u16", kindUint16, []byte{1, 2}),
			kv("a.i16", kindInt16, []byte{0xfe, 0xff}),
			kv("a.u32", kindUint32, u32(1<<31)),
			kv("a.i32", kindInt32, u32(0xfffffffd)),
			kv("a.f32", kindFloat32, u32(0x3fc00000)),
			kv("a.bool", kindBool, []byte{1}),
			kv("a.str", kindString, str("gemma")),
			kv("a.u64", kindUint64, u64(1<<63)),
			kv("a.i64", kindInt64, u64(1<<40)),
			kv("a.f64", kindFloat64, u64(0x3ff8000000000000)),
			kv("b.u8", kindArray, u32(uint32(kindUint8)), u64(2), []byte{1, 2}),
			kv("b.i8", kindArray, u32(uint32(kindInt8)), u64(2), []byte{1, 0xff}),
			kv("b.u16", kindArray, u32(uint32(kindUint16)), u64(1), []byte{1, 2}),
			kv("b.i16", kindArray, u32(uint32(kindInt16)), u64(1), []byte{0xff, 0xff}),
			kv("b.u32", kindArray, u32(uint32(kindUint32)), u64(2), u32(7), u32(8)),
			kv("b.i32", kindArray, u32(uint32(kindInt32)), u64(2), u32(7), u32(0xffffffff)),
			kv("b.f32", kindArray, u32(uint32(kindFloat32)), u64(2), u32(0), u32(0x3f800000)),
			kv("b.bool", kindArray, u32(uint32(kindBool)), u64(2), []byte{0, 1}),
			kv("b.str", kindArray, u32(uint32(kindString)), u64(3), str("x"), str(""), str("zz")),
			kv("b.u64", kindArray, u32(uint32(kindUint64)), u64(1), u64(5)),
			kv("b.i64", kindArray, u32(uint32(kindInt64)), u64(1), u64(6)),
			kv("b.f64", kindArray, u32(uint32(kindFloat64)), u64(1), u64(0)),
			kv("b.none", kindArray, u32(uint32(kindInt32)), u64(0)),
		},
		tensors: []rawTensor{
			{"w", []uint64{32, 2}, uint32(TypeQ8_0), 0, 68},
			{"v", []uint64{3}, uint32(TypeF32), 96, 12},
			{"e", []uint64{2, 2, 1, 2}, uint32(TypeF16), 128, 16},
		},
	}
}

func parse(b []byte) (*Header, error) {
	return Parse(bytes.NewReader(b), int64(len(b)))
}

func mustParse(t testing.TB, b []byte) *Header {
	t.Helper()
	h, err := parse(b)
	if err != nil {
		t.Fatalf("Parse: %v", err)
	}
	return h
}

// rewrite writes what Parse accepted with a Writer.
func rewrite(t testing.TB, name string, b []byte) []byte {
	t.Helper()
	f, err := FromBytes(name, b)
	if err != nil {
		t.Fatal(err)
	}
	var w Writer
	for _, key := range f.Keys() {
		w.CopyKey(f.Header, key)
	}
	for _, x := range f.Tensors {
		if err := w.AddTensor(x.Name, x.Type, x.Shape...); err != nil {
			t.Fatalf("AddTensor: %v", err)
		}
	}
	var out bytes.Buffer
	err = w.Encode(&out, func(x Tensor, dst io.Writer) error {
		d := f.Data(x)
		if int64(len(d)) != x.Size {
			t.Fatalf("Data(%q) has %d bytes, want %d", x.Name, len(d), x.Size)
		}
		_, err := dst.Write(d)
		return err
	})
	if err != nil {
		t.Fatalf("Encode: %v", err)
	}
	if size, err := w.Size(); err != nil || size != int64(out.Len()) {
		t.Fatalf("Size is %d (%v), Encode wrote %d bytes", size, err, out.Len())
	}
	return out.Bytes()
}
