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

// Valid tells whether the tensor exists.
func (t Tensor) Valid() bool { return t.c != nil }

// Type is the type of the elements.
func (t Tensor) Type() gguf.Type { return gguf.Type(t.c._type) }

// Dim is the size of dimension i, 0 (innermost) to 3.
func (t Tensor) Dim(i int) int64 { return int64(t.c.ne[i]) }

// Elements is the number of elements.
func (t Tensor) Elements() int64 { return t.Dim(0) * t.Dim(1) * t.Dim(2) * t.Dim(3) }

// shape is all four dimensions.
func (t Tensor) shape() [4]int64 {
	return [4]int64{t.Dim(0), t.Dim(1), t.Dim(2), t.Dim(3)}
}

// stride is the distance in bytes between neighbours in dimension i.
func (t Tensor) stride(i int) int64 { return int64(t.c.nb[i]) }

// contiguous tells whether the elements lie in order without gaps.
func (t Tensor) contiguous() bool { return bool(C.ggml_is_contiguous(t.c)) }

// denseRows tells whether the elements of each row lie side by side.
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
