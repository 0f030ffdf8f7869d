package ggml

/*
#include "ggml.h"
#include "ggml-alloc.h"
#include "ggml-backend.h"
#include "upload.h"
*/
import "C"

import (
	"errors"
	"fmt"
	"math"
	"unsafe"

	"paligemma/internal/gguf"
)

// bufferAlignment is what ggml's CPU backend wants of a tensor's address.
const bufferAlignment = 32

// Spec describes a tensor to be placed.
type Spec struct {
	Name  string
	Type  gguf.Type
	Shape []int64 // innermost first
	Data  []byte  // its bytes, for weights
	Place int     // index in Backend.Devices of the device in whose memory it lies
}

// NewSpec describes an F32 tensor with the values given, innermost dimension first.
func NewSpec(name string, values []float32, shape ...int) Spec {
	s := Spec{Name: name, Type: gguf.TypeF32, Data: unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(values))), 4*len(values))}
	for _, d := range shape {
		s.Shape = append(s.Shape, int64(d))
	}
	return s
}

// check refuses what ggml would abort on.
func (s Spec) check() (size int64, err error) {
	if len(s.Shape) < 1 || len(s.Shape) > 4 {
		return 0, fmt.Errorf("tensor %s has %d dimensions", s.Name, len(s.Shape))
	}
	if size, err = s.Type.RowBytes(s.Shape[0]); err != nil {
		return 0, fmt.Errorf("tensor %s: %w", s.Name, err)
	}
	for i, d := range s.Shape {
		if d < 1 || (i > 0 && size > math.MaxInt64/d) {
			return 0, fmt.Errorf("tensor %s has the shape %v", s.Name, s.Shape)
		}
		if i > 0 {
			size *= d
		}
	}
	return size, nil
}

// Store holds tensors that outlive a graph: a model's weights or a cache.
type Store struct {
	ctxs    []*C.struct_ggml_context
	buffers []C.ggml_backend_buffer_t
	tensors []Tensor
	bytes   int64 // allocated by the store itself, not mapped
}

// Close frees the store's memory. Memory that was mapped by the caller stays.
func (s *Store) Close() {
	for _, b := range s.buffers {
		C.ggml_backend_buffer_free(b)
	}
	s.buffers = nil
	for _, ctx := range s.ctxs {
		C.ggml_free(ctx)
	}
	s.ctxs = nil
	s.tensors = nil
}

// Tensors are the store's tensors in the order of their specs.
func (s *Store) Tensors() []Tensor { return s.tensors }

// Bytes is the memory that the store allocated: 0 for mapped weights.
func (s *Store) Bytes() int64 { return s.bytes }

// Clear sets all memory of the store to zeros.
func (s *Store) Clear() {
	for _, b := range s.buffers {
		C.ggml_backend_buffer_clear(b, 0)
	}
}

// Join makes one matrix of each group's rows where the group's matrices have one
// type and width and lie in one memory, one right behind the other without
// padding, which the result would need, too; its place in the result is the
// zero Tensor where not. Nothing is copied.
func (s *Store) Join(groups [][]Tensor) ([]Tensor, error) {
	var specs []Spec
	var at []int
	for i, group := range groups {
		if spec, ok := adjacent(group); ok {
			specs, at = append(specs, spec), append(at, i)
		}
	}
	ctx, tensors, err := declare(specs)
	if err != nil {
		return nil, err
	}
	s.ctxs = append(s.ctxs, ctx)
	joined := make([]Tensor, len(groups))
	for i, t := range tensors {
		first := groups[at[i]][0].c
		if C.ggml_backend_tensor_alloc(first.buffer, t.c, first.data) != C.GGML_STATUS_SUCCESS {
			return nil, errors.New("ggml does not take one tensor in place of several")
		}
		joined[at[i]] = t
	}
	return joined, nil
}

// adjacent describes what Join makes of a group.
func adjacent(group []Tensor) (spec Spec, ok bool) {
	if len(group) == 0 {
		return spec, false
	}
	first := group[0]
	rows, end := int64(0), uintptr(first.c.data)
	for _, t := range group {
		if t.c.buffer == nil || t.c.buffer != first.c.buffer || uintptr(t.c.data) != end ||
			t.Type() != first.Type() || t.Dim(0) != first.Dim(0) || t.Dim(2)*t.Dim(3) != 1 || !t.contiguous() || t.Padded() {
			return spec, false
		}
		rows += t.Dim(1)
		end += uintptr(t.size())
	}
	return Spec{Name: "joined", Type: first.Type(), Shape: []int64{first.Dim(0), rows}}, true
}

// declare makes tensors without memory, in a context of their own.
func declare(specs []Spec) (*C.struct_ggml_context, []Tensor, error) {
	if !allocatable(slack) {
		return nil, nil, ErrMemory
	}
	ctx := C.ggml_init(C.struct_ggml_init_params{
		mem_size: C.size_t(len(specs)+1) * C.ggml_tensor_overhead(),
		no_alloc: true,
	})
	var tensors []Tensor
	for _, spec := range specs {
		ne := [4]C.int64_t{1, 1, 1, 1}
		for i, d := range spec.Shape {
			ne[i] = C.int64_t(d)
		}
		tensors = append(tensors, Tensor{C.ggml_new_tensor(ctx, C.enum_ggml_type(spec.Type), 4, &ne[0])})
	}
	return ctx, tensors, nil
}

// NewWeights places a model's tensors. If mapping is memory outside Go's heap
// that holds every spec's data (a mapped file), a device that can read it uses
// it in place, and it must outlive the store; otherwise the data are copied.
func (b *Backend) NewWeights(specs []Spec, mapping []byte) (*Store, error) {
	for _, spec := range specs {
		size, err := spec.check()
		if err != nil {
			return nil, err
		}
		if int64(len(spec.Data)) != size {
			return nil, fmt.Errorf("tensor %s has %d bytes, want %d", spec.Name, len(spec.Data), size)
		}
	}
	return b.place(specs, b.multiplies, func(s *Store, part []Spec, backend backendHandle) ([]Tensor, error) {
		return s.addWeights(part, mapping, backend)
	})
}

// NewStore allocates tensors on their devices, with undefined values; Data is not read.
func (b *Backend) NewStore(specs []Spec) (*Store, error) {
	for _, spec := range specs {
		if _, err := spec.check(); err != nil {
			return nil, err
		}
	}
	return b.place(specs, func(Spec) bool { return true }, func(s *Store, part []Spec, backend backendHandle) ([]Tensor, error) {
		tensors, _, err := s.allocate(part, backend)
		return tensors, err
	})
}

// place adds tensors to the memories of their devices; those that their device cannot
// compute with to the CPU's. Graphs that are kept make room.
func (b *Backend) place(specs []Spec, fits func(Spec) bool, add func(*Store, []Spec, backendHandle) ([]Tensor, error)) (*Store, error) {
	if len(specs) > MaxStored {
		return nil, fmt.Errorf("%d tensors, at most %d can be used", len(specs), MaxStored)
	}
	at := make([][]int, len(b.backends)) // of each backend, indices of specs
	for i, spec := range specs {
		if spec.Place < 0 || spec.Place >= len(b.devices) {
			return nil, fmt.Errorf("tensor %s lies on device %d of %d", spec.Name, spec.Place, len(b.devices))
		}
		n := len(b.backends) - 1
		if fits(spec) {
			n = b.places[spec.Place]
		}
		at[n] = append(at[n], i)
	}
	var s *Store
	err := b.MakeRoom(func() (err error) {
		s, err = b.fill(at, specs, add)
		return err
	})
	return s, err
}

// fill makes a store of specs, of which at has the indices of those of each backend.
func (b *Backend) fill(at [][]int, specs []Spec, add func(*Store, []Spec, backendHandle) ([]Tensor, error)) (*Store, error) {
	s := &Store{tensors: make([]Tensor, len(specs))}
	for n, indices := range at {
		if len(indices) == 0 {
			continue
		}
		part := make([]Spec, len(indices))
		for i, index := range indices {
			part[i] = specs[index]
		}
		tensors, err := add(s, part, b.backends[n])
		if err != nil {
			s.Close()
			return nil, err
		}
		for i, index := range indices {
			s.tensors[index] = tensors[i]
		}
	}
	return s, nil
}

// multiplies asks the device of a weight whether it multiplies with it: ggml aborts on a
// weight in the memory of a device that cannot multiply with its type.
func (b *Backend) multiplies(spec Spec) bool {
	device := b.devices[spec.Place]
	if device.Kind == KindCPU || len(spec.Shape) != 2 || !MatrixType(spec.Type) {
		return true
	}
	ctx := C.ggml_init(C.struct_ggml_init_params{mem_size: 8 * C.ggml_tensor_overhead(), no_alloc: true})
	if ctx == nil {
		return false
	}
	defer C.ggml_free(ctx)
	w := C.ggml_new_tensor_2d(ctx, C.enum_ggml_type(spec.Type), C.int64_t(spec.Shape[0]), C.int64_t(spec.Shape[1]))
	x := C.ggml_new_tensor_2d(ctx, C.GGML_TYPE_F32, C.int64_t(spec.Shape[0]), 16)
	return bool(C.ggml_backend_dev_supports_op(device.handle, C.ggml_mul_mat(ctx, w, x)))
}

// addWeights makes tensors with their data, in place where the device can use them there.
func (s *Store) addWeights(specs []Spec, mapping []byte, backend backendHandle) ([]Tensor, error) {
	device := Device{handle: C.ggml_backend_get_device(backend)}
	if inPlace(specs, mapping) && bool(device.capabilities().buffer_from_host_ptr) {
		return s.adopt(specs, device)
	}
	tensors, buffer, err := s.allocate(specs, backend)
	if err != nil {
		return nil, err
	}
	C.ggml_backend_buffer_set_usage(buffer, C.GGML_BACKEND_BUFFER_USAGE_WEIGHTS)
	upload(backend, tensors, specs)
	return tensors, nil
}

// upload copies data to a device, by pinned memory where it has that.
func upload(backend backendHandle, tensors []Tensor, specs []Spec) {
	u := C.pg_upload_new(backend)
	defer C.pg_upload_free(u)
	for i, spec := range specs {
		data := unsafe.Pointer(&spec.Data[0])
		if u != nil {
			C.pg_upload_send(u, tensors[i].c, data, C.size_t(len(spec.Data)))
		} else {
			tensors[i].write(data, int64(len(spec.Data)))
		}
	}
}

// inPlace reports whether every spec's data lie in mapping, aligned as ggml wants.
func inPlace(specs []Spec, mapping []byte) bool {
	if len(mapping) == 0 || uintptr(unsafe.Pointer(&mapping[0]))%bufferAlignment != 0 {
		return false
	}
	start := uintptr(unsafe.Pointer(&mapping[0]))
	for _, spec := range specs {
		p := uintptr(unsafe.Pointer(&spec.Data[0]))
		if p%bufferAlignment != 0 || p < start || p-start+uintptr(len(spec.Data)) > uintptr(len(mapping)) {
			return false
		}
	}
	return true
}

// adopt makes tensors of data in the host's memory, from the first to the last byte.
func (s *Store) adopt(specs []Spec, device Device) ([]Tensor, error) {
	ctx, tensors, err := declare(specs)
	if err != nil {
		return nil, err
	}
	s.ctxs = append(s.ctxs, ctx)
	first, last, largest := unsafe.Pointer(&specs[0].Data[0]), uintptr(0), 0
	for _, spec := range specs {
		p := unsafe.Pointer(&spec.Data[0])
		if uintptr(p) < uintptr(first) {
			first = p
		}
		last, largest = max(last, uintptr(p)+uintptr(len(spec.Data))), max(largest, len(spec.Data))
	}
	buffer := C.ggml_backend_dev_buffer_from_host_ptr(device.handle, first, C.size_t(last-uintptr(first)), C.size_t(largest))
	if buffer == nil {
		return nil, ErrMemory
	}
	s.buffers = append(s.buffers, buffer)
	C.ggml_backend_buffer_set_usage(buffer, C.GGML_BACKEND_BUFFER_USAGE_WEIGHTS)
	for i, spec := range specs {
		if C.ggml_backend_tensor_alloc(buffer, tensors[i].c, unsafe.Pointer(&spec.Data[0])) != C.GGML_STATUS_SUCCESS {
			return nil, fmt.Errorf("tensor %s: ggml does not take it", spec.Name)
		}
	}
	return tensors, nil
}

// allocate makes tensors with memory of a backend.
func (s *Store) allocate(specs []Spec, backend backendHandle) ([]Tensor, C.ggml_backend_buffer_t, error) {
	ctx, tensors, err := declare(specs)
	if err != nil {
		return nil, nil, err
	}
	s.ctxs = append(s.ctxs, ctx)
	buffer := C.ggml_backend_alloc_ctx_tensors(ctx, backend)
	if buffer == nil {
		return nil, nil, refusal(Device{handle: C.ggml_backend_get_device(backend)}.name())
	}
	s.buffers = append(s.buffers, buffer)
	s.bytes += int64(C.ggml_backend_buffer_get_size(buffer))
	return tensors, buffer, nil
}
