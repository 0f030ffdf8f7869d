package ggml

/*
#include <stdint.h>
#include <string.h>
#include "ggml.h"
#include "ggml-backend.h"

static uint64_t pg_mix(uint64_t h, uint64_t v) {
	h ^= v + 0x9e3779b97f4a7c15ull + (h << 6) + (h >> 2);
	return h * 0xbf58476d1ce4e5b9ull;
}

// A graph's tensors lie in its context in the order in which they were made:
// their distances from its start name them, wherever it lies. Weights and
// caches stay at their addresses.
struct pg_range { uintptr_t base, size; };

static uint64_t pg_name(struct pg_range ctx, const struct ggml_tensor * t) {
	uintptr_t distance = (uintptr_t) t - ctx.base;
	return distance < ctx.size ? distance : (uintptr_t) t;
}

static uint64_t pg_topology(struct ggml_cgraph * graph, struct ggml_context * context) {
	struct pg_range ctx = { (uintptr_t) ggml_get_mem_buffer(context), ggml_get_mem_size(context) };
	uint64_t h = 1;
	for (int i = 0; i < ggml_graph_n_nodes(graph); i++) {
		struct ggml_tensor * t = ggml_graph_node(graph, i);
		h = pg_mix(h, (uint64_t) t->op);
		h = pg_mix(h, (uint64_t) t->flags);
		h = pg_mix(h, pg_name(ctx, t));
		h = pg_mix(h, t->view_src ? pg_name(ctx, t->view_src) : 0);
		for (int j = 0; j < GGML_MAX_SRC && t->src[j]; j++) {
			h = pg_mix(h, pg_name(ctx, t->src[j]));
			h = pg_mix(h, (uint64_t) t->src[j]->flags);
		}
	}
	return h;
}

// Makes the allocator forget the plan of the last graph, by a graph of another
// size whose tensors never share memory.
static bool pg_forget_plan(ggml_backend_sched_t sched) {
	struct ggml_init_params params = { 8 * ggml_tensor_overhead() + ggml_graph_overhead_custom(8, false), NULL, true };
	struct ggml_context * ctx = ggml_init(params);
	if (!ctx) {
		return false;
	}
	struct ggml_cgraph * graph = ggml_new_graph_custom(ctx, 8, false);
	struct ggml_tensor * t = ggml_new_tensor_1d(ctx, GGML_TYPE_F32, 1);
	ggml_set_input(t);
	for (int i = 0; i < 3; i++) {
		t = ggml_scale(ctx, t, 1);
		ggml_set_output(t);
	}
	ggml_build_forward_expand(graph, t);
	ggml_backend_sched_reset(sched);
	bool ok = ggml_backend_sched_alloc_graph(sched, graph);
	ggml_backend_sched_reset(sched);
	ggml_free(ctx);
	return ok;
}
*/
import "C"

// prepare keeps ggml's allocator from a mistake. It reuses the plan of the
// last graph for any graph with as many nodes of no larger sizes, even if they
// are connected differently; a tensor may then lie over one that is still
// needed. Unless the new graph is built exactly like the last one (as each
// decoding step is), the plan is dropped first.
func (b *Backend) prepare(g *Graph) bool {
	topology := uint64(C.pg_topology(g.graph, g.ctx))
	if topology != b.topology {
		if !bool(C.pg_forget_plan(b.sched)) {
			return false
		}
		b.topology = topology
	}
	return true
}
