package ggml

/*
#include <stdint.h>
#include "ggml.h"
#include "ggml-backend.h"

// Reports whether a tensor that has its memory already can be used by a backend.
static bool pg_reaches(ggml_backend_t backend, const struct ggml_tensor * t) {
	ggml_backend_buffer_t buffer = t->view_src ? t->view_src->buffer : t->buffer;
	return !buffer || ggml_backend_supports_buft(backend, ggml_backend_buffer_get_type(buffer));
}

// Reports whether a backend can compute a node with what has its memory already.
static bool pg_computes(ggml_backend_t backend, const struct ggml_tensor * node) {
	if (!pg_reaches(backend, node)) {
		return false;
	}
	for (int i = 0; i < GGML_MAX_SRC; i++) {
		if (node->src[i] && !pg_reaches(backend, node->src[i])) {
			return false;
		}
	}
	return ggml_backend_supports_op(backend, node);
}

static bool pg_is_view(const struct ggml_tensor * t) {
	return t->op == GGML_OP_NONE || t->op == GGML_OP_VIEW || t->op == GGML_OP_RESHAPE || t->op == GGML_OP_PERMUTE || t->op == GGML_OP_TRANSPOSE;
}

// Has a backend compute the nodes whose tensors lie in [from, to) of the graph's memory,
// as far as it can. The scheduler places all others.
static void pg_assign(ggml_backend_sched_t sched, struct ggml_cgraph * graph, struct ggml_context * ctx, size_t from, size_t to, ggml_backend_t backend) {
	uintptr_t base = (uintptr_t) ggml_get_mem_buffer(ctx);
	for (int i = 0; i < ggml_graph_n_nodes(graph); i++) {
		struct ggml_tensor * node = ggml_graph_node(graph, i);
		uintptr_t at = (uintptr_t) node - base;
		if (at >= from && at < to && !pg_is_view(node) && pg_computes(backend, node)) {
			ggml_backend_sched_set_tensor_backend(sched, node, backend);
		}
	}
}
*/
import "C"

// mark is where operations of a graph begin that a device computes.
type mark struct {
	place int // in the list of devices
	from  C.size_t
}

// Place returns the index in Devices of the device in whose memory a tensor of a Store
// lies; 0 for the host's memory where the CPU is not in the list.
func (b *Backend) Place(t Tensor) int {
	if t.c == nil || t.c.buffer == nil {
		return 0
	}
	handle := C.ggml_backend_buft_get_device(C.ggml_backend_buffer_get_type(t.c.buffer))
	for i, d := range b.devices {
		if d.handle == handle || handle == nil && d.Kind == KindCPU {
			return i
		}
	}
	return 0
}

// Near has the operations that are recorded from here on computed by the device in whose
// memory a tensor of a Store lies. Without it the scheduler goes by the weights alone, and
// operations without any fall to the device before. With one device there is nothing to
// choose.
func (g *Graph) Near(t Tensor) {
	if len(g.backend.devices) < 2 || !g.ok(t) {
		return
	}
	if place := g.backend.Place(t); len(g.marks) == 0 || place != g.place() {
		g.marks = append(g.marks, mark{place, C.ggml_used_mem(g.ctx)})
	}
}

// place is that of the last Near.
func (g *Graph) place() int {
	if len(g.marks) == 0 {
		return 0
	}
	return g.marks[len(g.marks)-1].place
}

// assignNear tells a scheduler what Near was told.
func (b *Backend) assignNear(g *Graph, sched C.ggml_backend_sched_t) {
	to := C.ggml_get_mem_size(g.ctx)
	for i := len(g.marks) - 1; i >= 0; i-- {
		m := g.marks[i]
		C.pg_assign(sched, g.graph, g.ctx, m.from, to, b.at(m.place))
		to = m.from
	}
}
