package ggml

/*
#include <string.h>
#include "ggml-backend.h"
#include "upload.h"
*/
import "C"

import (
	"fmt"
	"unsafe"
)

// hostMemory is memory of the host that a device reads and writes by itself ("pinned"),
// where the device has such; it grows as it is asked for more.
type hostMemory struct {
	buffer C.ggml_backend_buffer_t
	size   int64
}

// reserve returns memory of a size, or nil where the device has none, or no more.
func (h *hostMemory) reserve(backend C.ggml_backend_t, size int64) unsafe.Pointer {
	if size > h.size {
		h.close()
		d := Device{handle: C.ggml_backend_get_device(backend)}
		if d.handle == nil {
			return nil
		}
		kind := d.hostType()
		if kind == nil {
			return nil
		}
		if h.buffer = C.ggml_backend_buft_alloc_buffer(kind, C.size_t(size)); h.buffer == nil {
			return nil
		}
		h.size = size
	}
	if h.buffer == nil {
		return nil
	}
	return C.ggml_backend_buffer_get_base(h.buffer)
}

// hostType is the kind of such memory, or nil.
func (d Device) hostType() C.ggml_backend_buffer_type_t { return C.pg_host_type(d.handle) }

func (h *hostMemory) close() {
	C.ggml_backend_buffer_free(h.buffer)
	*h = hostMemory{}
}

// ReadRows copies n rows of a contiguous F32 tensor [w, h] of a Store, from the first one
// named on.
func (b *Backend) ReadRows(t Tensor, from, n int64) ([]float32, error) {
	if !t.readable() || from < 0 || n < 0 || from > t.Dim(1)-n {
		return nil, fmt.Errorf("cannot read rows [%d, %d+%d) of %v", from, from, n, t)
	}
	out := make([]float32, n*t.Dim(0))
	b.download(t, from*t.stride(1), n*t.stride(1), unsafe.Pointer(unsafe.SliceData(out)))
	return out, nil
}

// pinnedLeast is from how many bytes on a result is read through pinned memory.
const pinnedLeast = 64 << 10

// download copies bytes of a tensor.
func (b *Backend) download(t Tensor, from, size int64, to unsafe.Pointer) {
	var at unsafe.Pointer
	if size >= pinnedLeast && !b.cpuOnly() {
		at = b.pinned.reserve(b.at(b.Place(t)), size)
	}
	if at == nil {
		C.ggml_backend_tensor_get(t.c, to, C.size_t(from), C.size_t(size))
		return
	}
	C.ggml_backend_tensor_get(t.c, at, C.size_t(from), C.size_t(size))
	C.memcpy(to, at, C.size_t(size))
}

// downloadAll copies the values of several small tensors, and waits for a device once.
func (b *Backend) downloadAll(tensors []Tensor, to []unsafe.Pointer) {
	size := int64(0)
	for _, t := range tensors {
		size += aligned(t.size())
	}
	var at unsafe.Pointer
	if !b.cpuOnly() && len(b.devices) == 1 {
		at = b.pinned.reserve(b.at(0), size)
	}
	if at == nil {
		for i, t := range tensors {
			b.download(t, 0, t.size(), to[i])
		}
		return
	}
	from := at
	for _, t := range tensors {
		C.ggml_backend_tensor_get_async(b.at(0), t.c, from, 0, C.size_t(t.size()))
		from = unsafe.Add(from, aligned(t.size()))
	}
	C.ggml_backend_synchronize(b.at(0))
	for i, t := range tensors {
		C.memcpy(to[i], at, C.size_t(t.size()))
		at = unsafe.Add(at, aligned(t.size()))
	}
}
