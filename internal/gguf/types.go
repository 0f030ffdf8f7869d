package gguf

import (
	"fmt"
	"math"
)

// Type is a tensor's element type: the numbers of enum ggml_type (ggml.h of
// ggml 0.26), which are also the numbers stored in GGUF files.
type Type uint32

// The tensor types of ggml 0.26. The gaps are types that ggml has removed.
const (
	TypeF32     Type = 0
	TypeF16     Type = 1
	TypeQ4_0    Type = 2
	TypeQ4_1    Type = 3
	TypeQ5_0    Type = 6
	TypeQ5_1    Type = 7
	TypeQ8_0    Type = 8
	TypeQ8_1    Type = 9
	TypeQ2_K    Type = 10
	TypeQ3_K    Type = 11
	TypeQ4_K    Type = 12
	TypeQ5_K    Type = 13
	TypeQ6_K    Type = 14
	TypeQ8_K    Type = 15
	TypeIQ2_XXS Type = 16
	TypeIQ2_XS  Type = 17
	TypeIQ3_XXS Type = 18
	TypeIQ1_S   Type = 19
	TypeIQ4_NL  Type = 20
	TypeIQ3_S   Type = 21
	TypeIQ2_S   Type = 22
	TypeIQ4_XS  Type = 23
	TypeI8      Type = 24
	TypeI16     Type = 25
	TypeI32     Type = 26
	TypeI64     Type = 27
	TypeF64     Type = 28
	TypeIQ1_M   Type = 29
	TypeBF16    Type = 30
	TypeTQ1_0   Type = 34
	TypeTQ2_0   Type = 35
	TypeMXFP4   Type = 39
	TypeNVFP4   Type = 40
	TypeQ1_0    Type = 41
	TypeQ2_0    Type = 42
)

// typeInfo says how a type is laid out: blockSize elements in blockBytes bytes.
type typeInfo struct {
	name       string
	blockSize  int
	blockBytes int
}

// typeTable holds the sizes asserted in ggml-common.h; a blockSize of 0 marks
// a number without a type.
var typeTable = [...]typeInfo{
	TypeF32:     {"f32", 1, 4},
	TypeF16:     {"f16", 1, 2},
	TypeQ4_0:    {"q4_0", 32, 18},
	TypeQ4_1:    {"q4_1", 32, 20},
	TypeQ5_0:    {"q5_0", 32, 22},
	TypeQ5_1:    {"q5_1", 32, 24},
	TypeQ8_0:    {"q8_0", 32, 34},
	TypeQ8_1:    {"q8_1", 32, 36},
	TypeQ2_K:    {"q2_k", 256, 84},
	TypeQ3_K:    {"q3_k", 256, 110},
	TypeQ4_K:    {"q4_k", 256, 144},
	TypeQ5_K:    {"q5_k", 256, 176},
	TypeQ6_K:    {"q6_k", 256, 210},
	TypeQ8_K:    {"q8_k", 256, 292},
	TypeIQ2_XXS: {"iq2_xxs", 256, 66},
	TypeIQ2_XS:  {"iq2_xs", 256, 74},
	TypeIQ3_XXS: {"iq3_xxs", 256, 98},
	TypeIQ1_S:   {"iq1_s", 256, 50},
	TypeIQ4_NL:  {"iq4_nl", 32, 18},
	TypeIQ3_S:   {"iq3_s", 256, 110},
	TypeIQ2_S:   {"iq2_s", 256, 82},
	TypeIQ4_XS:  {"iq4_xs", 256, 136},
	TypeI8:      {"i8", 1, 1},
	TypeI16:     {"i16", 1, 2},
	TypeI32:     {"i32", 1, 4},
	TypeI64:     {"i64", 1, 8},
	TypeF64:     {"f64", 1, 8},
	TypeIQ1_M:   {"iq1_m", 256, 56},
	TypeBF16:    {"bf16", 1, 2},
	TypeTQ1_0:   {"tq1_0", 256, 54},
	TypeTQ2_0:   {"tq2_0", 256, 66},
	TypeMXFP4:   {"mxfp4", 32, 17},
	TypeNVFP4:   {"nvfp4", 64, 36},
	TypeQ1_0:    {"q1_0", 128, 18},
	TypeQ2_0:    {"q2_0", 64, 18},
}

func (t Type) info() typeInfo {
	if uint64(t) < uint64(len(typeTable)) {
		return typeTable[t]
	}
	return typeInfo{}
}

// Valid reports whether t is a known type.
func (t Type) Valid() bool { return t.info().blockSize > 0 }

// String is the type's name in lower case, such as "q4_k".
func (t Type) String() string {
	if !t.Valid() {
		return fmt.Sprintf("type %d", uint32(t))
	}
	return t.info().name
}

// BlockSize is the number of elements in a block, 1 for plain types, and 0 for
// an unknown type.
func (t Type) BlockSize() int { return t.info().blockSize }

// BlockBytes is the number of bytes in a block, and 0 for an unknown type.
func (t Type) BlockBytes() int { return t.info().blockBytes }

// RowBytes is the number of bytes in a row of ne0 elements. It is an error if
// the type is unknown, or if ne0 is not a positive multiple of the block size.
func (t Type) RowBytes(ne0 int64) (int64, error) {
	info := t.info()
	switch {
	case info.blockSize == 0:
		return 0, fmt.Errorf("unknown tensor type %d", uint32(t))
	case ne0 < 1:
		return 0, fmt.Errorf("a row of %d elements", ne0)
	case ne0%int64(info.blockSize) != 0:
		return 0, fmt.Errorf("a row of %d elements is not a multiple of %s's block of %d", ne0, info.name, info.blockSize)
	}
	blocks := ne0 / int64(info.blockSize)
	if blocks > math.MaxInt64/int64(info.blockBytes) {
		return 0, fmt.Errorf("a row of %d elements overflows", ne0)
	}
	return blocks * int64(info.blockBytes), nil
}

// Tensor describes one tensor of a file.
type Tensor struct {
	Name   string
	Type   Type
	Shape  []int64 // ggml's order, innermost first; 1 to 4 dimensions, each at least 1
	Offset int64   // of the first byte, from the start of the data section
	Size   int64   // in bytes, without padding
}

// Elements is the product of the shape. It does not overflow for a tensor that
// a Header or a Writer holds.
func (t Tensor) Elements() int64 {
	n := int64(1)
	for _, d := range t.Shape {
		n *= d
	}
	return n
}

// tensorSize checks a type and shape and returns the tensor's size in bytes.
func tensorSize(typ Type, shape []int64) (int64, error) {
	if !typ.Valid() {
		return 0, fmt.Errorf("unknown tensor type %d", uint32(typ))
	}
	if len(shape) < 1 || len(shape) > maxDims {
		return 0, fmt.Errorf("%d dimensions, want 1 to %d", len(shape), maxDims)
	}
	elements := int64(1)
	for _, d := range shape {
		if d < 1 {
			return 0, fmt.Errorf("shape %v has a dimension below 1", shape)
		}
		if d > math.MaxInt64/elements {
			return 0, fmt.Errorf("shape %v overflows", shape)
		}
		elements *= d
	}
	size, err := typ.RowBytes(shape[0])
	if err != nil {
		return 0, err
	}
	rows := elements / shape[0]
	if rows > math.MaxInt64/size {
		return 0, fmt.Errorf("shape %v of %s overflows", shape, typ)
	}
	return size * rows, nil
}
