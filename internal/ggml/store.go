package ggml

/*
#include "ggml.h"
#include "ggml-alloc.h"
#include "ggml-backend.h"
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
	ctx     *C.struct_ggml_context
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
	if s.ctx != nil {
		C.ggml_free(s.ctx)
		s.ctx = nil
	}
	s.tensors = nil
}

// Tensors are the store's tensors in the order of their specs.
func (s *Store) Tensors() []Tensor { return s.tensors }

// Bytes is the memory that the store allocated: 0 for mapped weights.
func (s *Store) Bytes() int64 { return s.bytes }

// declare makes the tensors without memory.
func (s *Store) declare(specs []Spec) error {
	if len(specs) > MaxStored {
		return fmt.Errorf("%d tensors, at most %d can be used", len(specs), MaxStored)
	}
	s.ctx = C.ggml_init(C.struct_ggml_init_params{
		mem_size: C.size_t(len(specs)+1) * C.ggml_tensor_overhead(),
		no_alloc: true,
	})
	if s.ctx == nil {
		return errors.New("out of memory")
	}
	for _, spec := range specs {
		ne := [4]C.int64_t{1, 1, 1, 1}
		for i, d := range spec.Shape {
			ne[i] = C.int64_t(d)
		}
		t := C.ggml_new_tensor(s.ctx, C.enum_ggml_type(spec.Type), 4, &ne[0])
		s.tensors = append(s.tensors, Tensor{t})
	}
	return nil
}

// NewWeights places a model's tensors. If mapping is memory outside Go's heap
// that holds every spec's data (a mapped file), a device that can read it uses
// it in place, and it must outlive the store; otherwise the data are copied.
func (e *Engine) NewWeights(specs []Spec, mapping []byte) (*Store, error) {
	for _, spec := range specs {
		size, err := spec.check()
		if err != nil {
			return nil, err
		}
		if int64(len(spec.Data)) != size {
			return nil, fmt.Errorf("tensor %s has %d bytes, want %d", spec.Name, len(spec.Data), size)
		}
	}
	s := &Store{}
	if err := s.declare(specs); err != nil {
		s.Close()
		return nil, err
	}
	var err error
	if e.cpuOnly() && inPlace(specs, mapping) {
		err = s.adopt(specs, mapping)
	} else {
		err = s.upload(e, specs)
	}
	if err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// inPlace tells whether every spec's data lie in mapping, aligned as ggml wants.
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

// adopt points the tensors into the mapping.
func (s *Store) adopt(specs []Spec, mapping []byte) error {
	buffer := C.ggml_backend_cpu_buffer_from_ptr(unsafe.Pointer(&mapping[0]), C.size_t(len(mapping)))
	if buffer == nil {
		return errors.New("out of memory")
	}
	s.buffers = append(s.buffers, buffer)
	C.ggml_backend_buffer_set_usage(buffer, C.GGML_BACKEND_BUFFER_USAGE_WEIGHTS)
	for i, spec := range specs {
		if C.ggml_backend_tensor_alloc(buffer, s.tensors[i].c, unsafe.Pointer(&spec.Data[0])) != C.GGML_STATUS_SUCCESS {
			return fmt.Errorf("tensor %s: ggml does not take it", spec.Name)
		}
	}
	return nil
}

// upload copies the data to memory of the device.
func (s *Store) upload(e *Engine, specs []Spec) error {
	if err := s.allocate(e); err != nil {
		return err
	}
	C.ggml_backend_buffer_set_usage(s.buffers[0], C.GGML_BACKEND_BUFFER_USAGE_WEIGHTS)
	for i, spec := range specs {
		s.tensors[i].write(unsafe.Pointer(&spec.Data[0]), int64(len(spec.Data)))
	}
	return nil
}

func (s *Store) allocate(e *Engine) error {
	buffer := C.ggml_backend_alloc_ctx_tensors(s.ctx, e.primary())
	if buffer == nil {
		return fmt.Errorf("not enough memory on %s", e.device.Name)
	}
	s.buffers = append(s.buffers, buffer)
	s.bytes = int64(C.ggml_backend_buffer_get_size(buffer))
	return nil
}

// NewStore allocates tensors on the device and clears them; Data is not read.
func (e *Engine) NewStore(specs []Spec) (*Store, error) {
	for _, spec := range specs {
		if _, err := spec.check(); err != nil {
			return nil, err
		}
	}
	s := &Store{}
	err := s.declare(specs)
	if err == nil {
		err = s.allocate(e)
	}
	if err != nil {
		s.Close()
		return nil, err
	}
	C.ggml_backend_buffer_clear(s.buffers[0], 0)
	return s, nil
}
