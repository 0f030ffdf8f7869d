package ggml

/*
#include "ggml.h"
#include "ggml-backend.h"
*/
import "C"

import (
	"fmt"
	"strings"
	"unsafe"

	"paligemma/internal/gguf"
)

// Tensor is a weight, a piece of a cache or a node of a graph: a handle, valid
// as long as what it was made by. The zero Tensor stands for the result of an
// operation that failed.
type Tensor struct{ c *C.struct_ggml_tensor }

// Valid reports whether the tensor exists.
func (t Tensor) Valid() bool { return t.c != nil }

// Type returns the type of the elements; F32 for the zero Tensor.
func (t Tensor) Type() gguf.Type {
	if t.c == nil {
		return gguf.TypeF32
	}
	return gguf.Type(t.c._type)
}

// Dim returns the size of dimension i, 0 (innermost) to 3; 1 for the zero Tensor,
// so that callers can compute with it and leave errors to the graph.
func (t Tensor) Dim(i int) int64 {
	if t.c == nil {
		return 1
	}
	return int64(t.c.ne[i])
}

// Elements returns the number of elements.
func (t Tensor) Elements() int64 { return t.Dim(0) * t.Dim(1) * t.Dim(2) * t.Dim(3) }

// shape is all four dimensions.
func (t Tensor) shape() [4]int64 {
	return [4]int64{t.Dim(0), t.Dim(1), t.Dim(2), t.Dim(3)}
}

// stride is the distance in bytes between neighbors in dimension i.
func (t Tensor) stride(i int) int64 { return int64(t.c.nb[i]) }

// size is the bytes that the elements take, gaps between them included.
func (t Tensor) size() int64 { return int64(C.ggml_nbytes(t.c)) }

// Padded reports whether the device keeps more memory for an allocated tensor than its
// elements take, as CUDA does behind quantized rows that are no multiple of 512 values.
func (t Tensor) Padded() bool {
	return int64(C.ggml_backend_buffer_get_alloc_size(t.c.buffer, t.c)) != t.size()
}

// readable reports whether the tensor has values of F32, which lie in order without gaps.
func (t Tensor) readable() bool {
	return t.Valid() && t.Type() == gguf.TypeF32 && t.contiguous() && t.c.data != nil
}

// contiguous reports whether the elements lie in order without gaps.
func (t Tensor) contiguous() bool { return bool(C.ggml_is_contiguous(t.c)) }

// denseRows reports whether the elements of each row lie side by side.
func (t Tensor) denseRows() bool {
	return t.Dim(0) == int64(t.Type().BlockSize()) || t.stride(0) == int64(t.Type().BlockBytes())
}

// String describes the tensor for error messages: "f32[64,16]".
func (t Tensor) String() string {
	if t.c == nil {
		return "nothing"
	}
	dims := t.shape()
	n := 4
	for n > 1 && dims[n-1] == 1 {
		n--
	}
	var parts []string
	for _, d := range dims[:n] {
		parts = append(parts, fmt.Sprint(d))
	}
	return t.Type().String() + "[" + strings.Join(parts, ",") + "]"
}

// write uploads data to the start of an allocated tensor.
func (t Tensor) write(data unsafe.Pointer, size int64) {
	if size > 0 {
		C.ggml_backend_tensor_set(t.c, data, 0, C.size_t(size))
	}
}

// ClearRows sets n rows of an allocated tensor without gaps to zeros, from the first one
// named on.
func (t Tensor) ClearRows(from, n int64) {
	row := t.stride(1)
	C.ggml_backend_tensor_memset(t.c, 0, C.size_t(from*row), C.size_t(n*row))
}
