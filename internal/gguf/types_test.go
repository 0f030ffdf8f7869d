package gguf

import (
	"math"
	"testing"
)

func TestTypes(t *testing.T) {
	known := 0
	for i := range typeTable {
		typ := Type(i)
		if !typ.Valid() {
			continue
		}
		known++
		n := int64(typ.BlockSize())
		if got, err := typ.RowBytes(3 * n); err != nil || got != int64(3*typ.BlockBytes()) {
			t.Errorf("%s: 3 blocks are %d bytes (%v), want %d", typ, got, err, 3*typ.BlockBytes())
		}
		for _, bad := range []int64{0, -n, math.MinInt64, n + 1} {
			if got, err := typ.RowBytes(bad); err == nil && bad%n+max(0, 1-bad) != 0 {
				t.Errorf("%s: a row of %d is %d bytes", typ, bad, got)
			}
		}
		if typ.BlockBytes() > typ.BlockSize() {
			if got, err := typ.RowBytes(math.MaxInt64 / n * n); err == nil {
				t.Errorf("%s: a row of 2^63 is %d bytes", typ, got)
			}
		}
	}
	for _, typ := range []Type{4, 5, 31, 32, 33, 36, 37, 38, 43, math.MaxUint32} {
		if typ.Valid() || typ.BlockSize() != 0 || typ.BlockBytes() != 0 {
			t.Errorf("%s is valid", typ)
		}
		if _, err := typ.RowBytes(256); err == nil {
			t.Errorf("%s has rows", typ)
		}
	}
	if known != 35 {
		t.Errorf("%d types, want 35", known)
	}
	if TypeQ4_K.String() != "q4_k" || Type(4).String() != "type 4" {
		t.Errorf("names %s, %s", TypeQ4_K, Type(4))
	}
}
