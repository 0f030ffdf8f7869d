package ggml

/*
#include "ggml.h"

static void pg_to_float(enum ggml_type type, const void * src, float * dst, int64_t n) {
	ggml_get_type_traits(type)->to_float(src, dst, n);
}
static int pg_has_to_float(enum ggml_type type) {
	return ggml_get_type_traits(type)->to_float != NULL;
}
*/
import "C"

import (
	"fmt"
	"unsafe"

	"paligemma/internal/gguf"
)

// typeSizes asks the C library for a type's block, to check gguf's table.
func typeSizes(t gguf.Type) (name string, blockSize, blockBytes int) {
	c := C.enum_ggml_type(t)
	return C.GoString(C.ggml_type_name(c)), int(C.ggml_blck_size(c)), int(C.ggml_type_size(c))
}

// Quantize converts rows of rowLen values to type t with ggml's own quantizer
// and appends nothing: dst must have room for exactly that many rows. It may be
// called from several goroutines.
func Quantize(t gguf.Type, dst []byte, src []float32, rowLen int) error {
	initLibrary()
	rows, err := checkRows(t, len(dst), len(src), rowLen)
	if err != nil || rows == 0 {
		return err
	}
	switch t {
	case gguf.TypeF32:
		copy(dst, unsafe.Slice((*byte)(unsafe.Pointer(&src[0])), len(src)*4))
		return nil
	case gguf.TypeF16, gguf.TypeBF16, gguf.TypeQ4_0, gguf.TypeQ4_1, gguf.TypeQ5_0, gguf.TypeQ5_1, gguf.TypeQ8_0,
		gguf.TypeQ2_K, gguf.TypeQ3_K, gguf.TypeQ4_K, gguf.TypeQ5_K, gguf.TypeQ6_K, gguf.TypeIQ4_NL, gguf.TypeIQ4_XS:
	default:
		return fmt.Errorf("cannot quantize to %v", t)
	}
	C.ggml_quantize_init(C.enum_ggml_type(t))
	n := C.ggml_quantize_chunk(C.enum_ggml_type(t), (*C.float)(&src[0]), unsafe.Pointer(&dst[0]), 0,
		C.int64_t(rows), C.int64_t(rowLen), nil)
	if int(n) != len(dst) {
		return fmt.Errorf("quantizing to %v gave %d bytes, want %d", t, int(n), len(dst))
	}
	return nil
}

// Dequantize converts whole rows of type t to float32, exactly as ggml's
// get_rows does.
func Dequantize(t gguf.Type, dst []float32, src []byte, rowLen int) error {
	initLibrary()
	rows, err := checkRows(t, len(src), len(dst), rowLen)
	if err != nil || rows == 0 {
		return err
	}
	if t == gguf.TypeF32 {
		copy(unsafe.Slice((*byte)(unsafe.Pointer(&dst[0])), len(dst)*4), src)
		return nil
	}
	if C.pg_has_to_float(C.enum_ggml_type(t)) == 0 {
		return fmt.Errorf("cannot dequantize %v", t)
	}
	C.pg_to_float(C.enum_ggml_type(t), unsafe.Pointer(&src[0]), (*C.float)(&dst[0]), C.int64_t(len(dst)))
	return nil
}

// checkRows compares the lengths of both sides.
func checkRows(t gguf.Type, packed, values, rowLen int) (rows int, err error) {
	rowBytes, err := t.RowBytes(int64(rowLen))
	if err != nil {
		return 0, err
	}
	if rowLen < 1 || values%rowLen != 0 {
		return 0, fmt.Errorf("%d values are not rows of %d", values, rowLen)
	}
	rows = values / rowLen
	if int64(packed) != int64(rows)*rowBytes {
		return 0, fmt.Errorf("%d bytes for %d rows of %d %v values, want %d", packed, rows, rowLen, t, int64(rows)*rowBytes)
	}
	return rows, nil
}
