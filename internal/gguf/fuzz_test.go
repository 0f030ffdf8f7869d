package gguf

import (
	"bytes"
	"reflect"
	"testing"
)

// checkAccepted: if b is a file, then writing it and reading that again gives
// the same keys, values, tensors and data; and the writer's output is a fixed point.
func checkAccepted(t testing.TB, b []byte) {
	t.Helper()
	f, err := FromBytes("in", b)
	if err != nil {
		return
	}
	once := rewrite(t, "once", b)
	g, err := FromBytes("once", once)
	if err != nil {
		t.Fatalf("what the writer wrote is refused: %v", err)
	}
	if !reflect.DeepEqual(f.Keys(), g.Keys()) {
		t.Fatalf("keys were %q, are %q", f.Keys(), g.Keys())
	}
	for _, key := range f.Keys() {
		v, w := f.values[key], g.values[key]
		a, err1 := v.bytes(f.r)
		b, err2 := w.bytes(g.r)
		if v.kind != w.kind || v.elem != w.elem || v.count != w.count || !bytes.Equal(a, b) || err1 != nil || err2 != nil {
			t.Fatalf("key %q was %s %x (%v), is %s %x (%v)", key, v.describe(), a, err1, w.describe(), b, err2)
		}
		f.Value(key)
		f.Int(key)
	}
	if f.Alignment != g.Alignment || len(f.Tensors) != len(g.Tensors) {
		t.Fatalf("alignment was %d, is %d; tensors were %d, are %d", f.Alignment, g.Alignment, len(f.Tensors), len(g.Tensors))
	}
	for i, x := range f.Tensors {
		if !reflect.DeepEqual(x, g.Tensors[i]) {
			t.Fatalf("tensor %v became %v", x, g.Tensors[i])
		}
		if !bytes.Equal(f.Data(x), g.Data(x)) {
			t.Fatalf("tensor %q: the data differ", x.Name)
		}
	}
	if twice := rewrite(t, "twice", once); !bytes.Equal(once, twice) {
		t.Fatal("writing twice gives different bytes")
	}
}

func FuzzParse(f *testing.F) {
	f.Add(sample().bytes())
	v2 := sample()
	v2.version, v2.noPad = 2, true
	f.Add(v2.bytes())
	small := raw{version: 3, align: 32, tensors: []rawTensor{{"t", []uint64{1<<62 - 1}, 0, 0, 4}}}
	f.Add(small.bytes())
	small.tensors[0].dims[0] = 1
	small.keys = [][]byte{kv(alignmentKey, kindUint32, u32(32))}
	f.Add(small.bytes())
	f.Add([]byte("GGUF"))
	f.Add(cat([]byte("GGUF"), u32(3), u64(1<<63), u64(1<<63)))
	f.Fuzz(func(t *testing.T, b []byte) {
		// A window, the short values, and the tables of tensors and keys.
		if got, most := allocated(func() { parse(b) }), uint64(64*len(b)+256<<10); got > most {
			t.Errorf("%d bytes allocated for a file of %d", got, len(b))
		}
		checkAccepted(t, b)
	})
}

// FuzzPatch overwrites fields of a valid file: a mutation that knows where the
// lengths, counts and types lie comes far deeper than flipped bits. Each patch
// is an offset of two bytes, a width less one, and a number of that width.
func FuzzPatch(f *testing.F) {
	b := sample().bytes()
	f.Add(cat([]byte{8, 0, 7}, u64(2)))                               // tensors
	f.Add(cat([]byte{16, 0, 7}, u64(24)))                             // keys
	f.Add(cat([]byte{24, 0, 7}, u64(1<<63), []byte{4, 0, 3}, u32(2))) // a key's length, the version
	for i := range len(b) / 4 {
		if bytes.HasPrefix(b[i*4:], u32(uint32(TypeQ8_0))) {
			f.Add(cat([]byte{byte(i * 4), byte(i * 4 >> 8), 3}, u32(uint32(TypeQ5_1))))
		}
	}
	f.Fuzz(func(t *testing.T, patches []byte) {
		c := bytes.Clone(b)
		for len(patches) >= 4 {
			at := (int(patches[0]) | int(patches[1])<<8) % len(c)
			width := int(patches[2])%8 + 1
			n := copy(c[at:], patches[3:min(3+width, len(patches))])
			patches = patches[3+n:]
		}
		checkAccepted(t, c)
	})
}
