package ggml

/*
#include <stdlib.h>
#include "ggml.h"
#include "ggml-backend.h"
*/
import "C"

import (
	"context"
	"errors"
	"fmt"
	"unsafe"

	"paligemma/internal/gguf"
)

// Graph is one computation: operations are recorded by its methods and run by
// Compute. The first error sticks; operations after it do nothing.
type Graph struct {
	backend *Backend
	options GraphOptions
	ctx     *C.struct_ggml_context
	memory  unsafe.Pointer // of ctx
	graph   *C.struct_ggml_cgraph
	inputs  []input
	scratch []scratch
	marks   []mark           // see Near
	owned   []unsafe.Pointer // memory of operations
	cost    float64          // of the products: floating-point operations, and 4 for each byte of a matrix
	native  float64          // what of cost falls to ggml's own operations
	err     error

	updates   []RowUpdates          // see Update
	converted conversion            // see convertOnce
	projected map[Tensor]projection // of rows
	kept      *kept                 // see Keep
}

// scratch is memory of a graph on one of the devices.
type scratch struct {
	tensor Tensor
	place  int
}

type input struct {
	tensor Tensor
	data   unsafe.Pointer
	size   int64
	staged unsafe.Pointer // of a kept graph: where the device fetches the values from; or nil
}

// GraphOptions say how a graph computes what its operations ask for.
type GraphOptions struct {
	// Exact computes everything in F32, by the formulas of transformers.
	Exact bool
	// Plain uses ggml's own operations only, as other devices than the CPU do.
	Plain bool
	// Apart gives each row of an exact product with weights the bits that it has
	// alone, whatever rows it shares the product with: for steps of several texts.
	Apart bool
}

// CellType returns the type of keys and values that are kept for later graphs.
func (o GraphOptions) CellType() gguf.Type {
	if o.Exact {
		return gguf.TypeF32
	}
	return gguf.TypeF16
}

// Plain reports whether graphs with such options use ggml's own operations only.
func (b *Backend) Plain(o GraphOptions) bool { return o.Plain || b.plain || !b.cpuOnly() }

// NewGraph starts a computation. The caller closes it; tensors made by it are
// then gone.
func (b *Backend) NewGraph(o GraphOptions) *Graph {
	o.Plain = b.Plain(o)
	b.counts.Built++
	g := &Graph{backend: b, options: o}
	size := C.size_t(MaxNodes)*C.ggml_tensor_overhead() + C.ggml_graph_overhead_custom(maxTensors, false)
	if g.memory = b.graphMemory(size); g.memory == nil {
		g.err = ErrMemory
		return g
	}
	g.ctx = C.ggml_init(C.struct_ggml_init_params{mem_size: size, mem_buffer: g.memory, no_alloc: true})
	g.graph = C.ggml_new_graph_custom(g.ctx, maxTensors, false)
	return g
}

// graphMemory returns memory for the tensors of a graph: that of a graph that was
// closed, if there is one. Megabytes that come and go, of which a graph touches some,
// would else be left behind, touched, in one arena of the C library after the other,
// where it has several (limits keeps glibc to one): Go calls C from many threads.
func (b *Backend) graphMemory(size C.size_t) unsafe.Pointer {
	p := b.spare
	if b.spare = nil; p == nil && allocatable(int64(size)+slack) {
		p = C.malloc(size)
	}
	return p
}

// keepMemory keeps the memory of a closed graph for the next one.
func (b *Backend) keepMemory(p unsafe.Pointer) {
	if b.spare == nil {
		b.spare = p
	} else {
		C.free(p)
	}
}

// Close frees the graph and its tensors.
func (g *Graph) Close() {
	if g.ctx != nil {
		C.ggml_free(g.ctx)
		g.backend.keepMemory(g.memory)
		g.ctx, g.graph, g.memory = nil, nil, nil
	}
	for _, p := range g.owned {
		C.free(p)
	}
	g.owned = nil
	g.kept.close()
	g.kept = nil
	delete(g.backend.kept, g)
}

// Err returns the first error of the operations so far.
func (g *Graph) Err() error { return g.err }

// fail keeps the first error.
func (g *Graph) fail(format string, args ...any) Tensor {
	if g.err == nil {
		g.err = fmt.Errorf("graph: "+format, args...)
	}
	return Tensor{}
}

// ok reports whether an operation on these tensors can be recorded.
func (g *Graph) ok(tensors ...Tensor) bool {
	if g.err != nil {
		return false
	}
	for _, t := range tensors {
		if !t.Valid() {
			g.fail("an operand is missing")
			return false
		}
	}
	// An operation makes four tensors at most.
	if C.ggml_used_mem(g.ctx)+4*C.ggml_tensor_overhead() > C.ggml_get_mem_size(g.ctx) {
		g.fail("more than %d operations", MaxNodes)
		return false
	}
	return true
}

// Float32s makes an input of the shape given, innermost first. The data are not
// copied until Compute.
func (g *Graph) Float32s(data []float32, shape ...int64) Tensor {
	return g.input(gguf.TypeF32, unsafe.Pointer(unsafe.SliceData(data)), len(data), 4, shape)
}

// Int32s makes an input of indices.
func (g *Graph) Int32s(data []int32, shape ...int64) Tensor {
	return g.input(gguf.TypeI32, unsafe.Pointer(unsafe.SliceData(data)), len(data), 4, shape)
}

// Int64s makes an input of places that WriteRows writes to.
func (g *Graph) Int64s(data []int64, shape ...int64) Tensor {
	return g.input(gguf.TypeI64, unsafe.Pointer(unsafe.SliceData(data)), len(data), 8, shape)
}

// Float16s makes an input of values in half precision, of which data are the bits.
func (g *Graph) Float16s(data []uint16, shape ...int64) Tensor {
	return g.input(gguf.TypeF16, unsafe.Pointer(unsafe.SliceData(data)), len(data), 2, shape)
}

func (g *Graph) input(typ gguf.Type, data unsafe.Pointer, n, elementSize int, shape []int64) Tensor {
	if !g.ok() {
		return Tensor{}
	}
	size, err := Spec{Name: "input", Type: typ, Shape: shape}.check()
	if err != nil {
		return g.fail("%w", err)
	}
	if size != int64(n*elementSize) {
		return g.fail("an input of shape %v has %d values", shape, n)
	}
	ne := [4]C.int64_t{1, 1, 1, 1}
	for i, d := range shape {
		ne[i] = C.int64_t(d)
	}
	t := Tensor{C.ggml_new_tensor(g.ctx, C.enum_ggml_type(typ), 4, &ne[0])}
	C.ggml_set_input(t.c)
	g.inputs = append(g.inputs, input{tensor: t, data: data, size: size})
	return t
}

// Scratch makes a tensor whose memory only operations of this graph write, by
// Copy, on the device of the last Near. What it holds before is undefined.
func (g *Graph) Scratch(typ gguf.Type, shape ...int64) Tensor {
	if !g.ok() {
		return Tensor{}
	}
	if _, err := (Spec{Name: "scratch", Type: typ, Shape: shape}).check(); err != nil {
		return g.fail("%w", err)
	}
	ne, _ := dims4(shape)
	t := Tensor{C.ggml_new_tensor(g.ctx, C.enum_ggml_type(typ), 4, &ne[0])}
	g.scratch = append(g.scratch, scratch{t, g.place()})
	return t
}

// Output makes t a result: its memory is kept until the backend's next
// computation, for Read.
func (g *Graph) Output(t Tensor) {
	if g.ok(t) {
		C.ggml_set_output(t.c)
		g.Run(t)
	}
}

// Run adds t, and what it needs, to the graph: for operations with an effect
// of their own, such as Copy, in the order in which they shall happen.
func (g *Graph) Run(t Tensor) {
	if g.ok(t) {
		C.ggml_build_forward_expand(g.graph, t.c)
	}
}

// Compute runs the graph and returns the first error of its construction, the
// context's error if it ended, or ggml's. A graph is computed once, unless it is kept.
func (g *Graph) Compute(ctx context.Context) error {
	if g.err != nil {
		return g.err
	}
	nodes := int(C.ggml_graph_n_nodes(g.graph))
	if nodes == 0 {
		return errors.New("graph: nothing to compute")
	}
	return g.backend.run(ctx, g)
}

// upload gives the inputs their values.
func (g *Graph) upload() {
	if g.kept != nil {
		g.kept.upload(g)
		return
	}
	for _, in := range g.inputs {
		// An input that no output depends on has no memory.
		if in.tensor.c.buffer != nil {
			in.tensor.write(in.data, in.size)
		}
	}
}

// Read copies the values of a contiguous F32 output after Compute.
func (g *Graph) Read(t Tensor) ([]float32, error) {
	if g.err != nil {
		return nil, g.err
	}
	if !t.readable() {
		return nil, fmt.Errorf("graph: cannot read %v", t)
	}
	out := make([]float32, t.Elements())
	g.backend.download(t, 0, t.size(), unsafe.Pointer(unsafe.SliceData(out)))
	return out, nil
}
