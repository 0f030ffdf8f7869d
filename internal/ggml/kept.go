package ggml

/*
#include <string.h>
#include "ggml.h"
#include "ggml-backend.h"

// The tensors that a graph's nodes refer to and that no node computes, or a few more:
// some are counted once for each use.
static int pg_references(struct ggml_cgraph * graph) {
	int n = 0;
	for (int i = 0; i < ggml_graph_n_nodes(graph); i++) {
		const struct ggml_tensor * node = ggml_graph_node(graph, i);
		for (int j = 0; j < GGML_MAX_SRC; j++) {
			n += node->src[j] && node->src[j]->op == GGML_OP_NONE;
		}
	}
	return n;
}
*/
import "C"

import (
	"errors"
	"unsafe"

	"paligemma/internal/gguf"
)

// kept is what a graph has of its own that is computed more than once: a scheduler, and
// with it memory for its tensors, which stay where they are. Devices notice that it is the
// same graph, and need not be told anew what to do (CUDA's graphs).
type kept struct {
	sched   C.ggml_backend_sched_t
	staging hostMemory
}

// Keep has the graph computed any number of times, each with what is then in the slices
// of its inputs. It takes memory of its own until it is closed, which [Backend.MakeRoom] may
// do at any time that something else needs memory.
func (g *Graph) Keep() {
	if g.kept == nil {
		g.kept = &kept{}
		g.backend.kept[g] = struct{}{}
	}
}

// Release closes the graph, unless it is kept.
func (g *Graph) Release() {
	if g.kept == nil {
		g.Close()
	}
}

// Closed reports whether the graph was closed.
func (g *Graph) Closed() bool { return g.ctx == nil }

// MakeRoom does what needs memory of a device, such as to record and compute a graph. Where
// that is refused, all graphs that are kept are closed, and f is called again.
func (b *Backend) MakeRoom(f func() error) error {
	err := f()
	if !errors.Is(err, ErrMemory) || len(b.kept) == 0 {
		return err
	}
	for g := range b.kept {
		g.Close()
	}
	return f()
}

// plan makes the scheduler at the first computation.
func (k *kept) plan(g *Graph) (sched C.ggml_backend_sched_t, ok bool) {
	if k.sched != nil {
		return k.sched, true
	}
	b := g.backend
	tensors := C.size_t(C.ggml_graph_n_nodes(g.graph)+C.pg_references(g.graph)) + 1
	if !allocatable(int64(tensors)*reserved/maxTensors + slack) {
		return nil, false
	}
	if k.sched = C.ggml_backend_sched_new(&b.backends[0], nil, C.int(len(b.backends)), tensors, false, true); k.sched == nil {
		return nil, false
	}
	b.assign(g, k.sched)
	if !bool(C.ggml_backend_sched_alloc_graph(k.sched, g.graph)) {
		k.close()
		return nil, false
	}
	return k.sched, true
}

// StagedFloat16s returns the values of an input in half precision that the next computation
// of a kept graph takes, for the caller to change in place of the slice that they were given
// in: where a device fetches them from pinned memory, they lie there, and large ones that
// change little need not be copied. They are gone with the graph; a computation must not be
// under way.
func (g *Graph) StagedFloat16s(t Tensor) []uint16 {
	for i := range g.inputs {
		if in := &g.inputs[i]; in.tensor == t && t.Type() == gguf.TypeF16 {
			if in.staged != nil {
				in.data = in.staged
			}
			return unsafe.Slice((*uint16)(in.data), in.size/2)
		}
	}
	return nil
}

// upload copies the inputs to memory from which the device fetches them while the graph
// is started. Among several devices they are written as those of other graphs are.
func (k *kept) upload(g *Graph) {
	device := g.backend.at(0)
	var at unsafe.Pointer
	if len(g.backend.devices) == 1 {
		size := int64(0)
		for _, in := range g.inputs {
			size += aligned(in.size)
		}
		at = k.staging.reserve(device, size)
	}
	for i := range g.inputs {
		in := &g.inputs[i]
		switch {
		case in.tensor.c.buffer == nil: // no output depends on it
		case at == nil:
			in.tensor.write(in.data, in.size)
		default:
			if in.data != at {
				C.memcpy(at, in.data, C.size_t(in.size))
			}
			in.staged = at
			C.ggml_backend_tensor_set_async(device, in.tensor.c, at, 0, C.size_t(in.size))
			at = unsafe.Add(at, aligned(in.size))
		}
	}
}

func aligned(size int64) int64 {
	return (size + bufferAlignment - 1) / bufferAlignment * bufferAlignment
}

func (k *kept) close() {
	if k == nil {
		return
	}
	C.ggml_backend_sched_free(k.sched)
	k.sched = nil
	k.staging.close()
}
