package ggml

/*
#include <stdatomic.h>
#include <stdlib.h>
#include "ggml.h"
#include "ggml-cpu.h"

// What Go and the threads that compute share.
struct pg_watch {
	atomic_int abort; // set by Go
	atomic_int done;  // operations, counted by the CPU backend
};

// One of the threads calls this after each operation.
static bool pg_poll(void * data) {
	struct pg_watch * w = data;
	atomic_fetch_add_explicit(&w->done, 1, memory_order_relaxed);
	return atomic_load(&w->abort) != 0;
}
static struct pg_watch * pg_watch_open(ggml_backend_t cpu) {
	struct pg_watch * w = calloc(1, sizeof *w);
	if (w) {
		ggml_backend_cpu_set_abort_callback(cpu, pg_poll, w);
	}
	return w;
}
static void pg_watch_reset(struct pg_watch * w) {
	atomic_store(&w->abort, 0);
	atomic_store(&w->done, 0);
}
static void pg_watch_abort(struct pg_watch * w) { atomic_store(&w->abort, 1); }
static int pg_watch_done(struct pg_watch * w) { return atomic_load(&w->done); }

// The operations of a graph that are more than another view of a tensor.
static int pg_operations(struct ggml_cgraph * graph) {
	int n = 0;
	for (int i = 0; i < ggml_graph_n_nodes(graph); i++) {
		switch (ggml_graph_node(graph, i)->op) {
			case GGML_OP_NONE:
			case GGML_OP_RESHAPE:
			case GGML_OP_TRANSPOSE:
			case GGML_OP_VIEW:
			case GGML_OP_PERMUTE:
				break;
			default:
				n++;
		}
	}
	return n;
}
*/
import "C"

import (
	"sync/atomic"
	"time"
	"unsafe"
)

// Progress is how far a computation has come.
type Progress struct {
	Done, Total int // operations; Done stays a little below Total where some are fused
	Elapsed     time.Duration
}

// Progress tells how far the computation under way has come. It is zero if there
// is none, or on a device that does not count. Any goroutine may call it until
// Close.
func (b *Backend) Progress() Progress {
	c := b.watch.running.Load()
	if c == nil || !b.cpuOnly() {
		return Progress{}
	}
	return Progress{min(b.watch.done(), c.operations), c.operations, time.Since(c.start)}
}

// watch follows and stops a computation from outside.
type watch struct {
	c       *C.struct_pg_watch // in C's memory, since C's threads use it
	running atomic.Pointer[computation]
}

// computation is one that is under way.
type computation struct {
	start      time.Time
	operations int
}

func (w *watch) open(cpu C.ggml_backend_t) bool {
	w.c = C.pg_watch_open(cpu)
	return w.c != nil
}

func (w *watch) close() {
	C.free(unsafe.Pointer(w.c))
	w.c = nil
}

// reset makes ready for a computation, which abort stops between two operations.
func (w *watch) reset() { C.pg_watch_reset(w.c) }
func (w *watch) abort() { C.pg_watch_abort(w.c) }

func (w *watch) done() int { return int(C.pg_watch_done(w.c)) }

func (w *watch) begin(g *Graph) {
	w.running.Store(&computation{time.Now(), int(C.pg_operations(g.graph))})
}
func (w *watch) end() { w.running.Store(nil) }
