// Included ahead of ggml-cpu.c alone (third_party/ggml/CMakeLists.txt), which it makes wait in barriers as wait.c
// does: a while by spinning, then asleep. ggml itself spins until the last thread arrives, and where another process
// has that thread's core, the spinning takes the time that it could run in.
//
// ggml_barrier counts the threads that arrive. The last one adds to tp->n_barrier_passed, the others do
//
//	while (atomic_load_explicit(&tp->n_barrier_passed, memory_order_relaxed) == n_passed) {
//		ggml_thread_cpu_relax();
//	}
//
// Two macros change that: one for the relaxing, one for the addition. TestBarriersSleep fails when an update of ggml
// makes either miss; threads then spin as before.
#pragma once

// pg_barrier_sleeps returns how often threads fell asleep in barriers.
int pg_barrier_sleeps(void);

#ifdef __linux__

#include <stdatomic.h>
#include <stddef.h>

// pg_barrier_wait returns when *passed is no longer seen, or a little later than it was called.
void pg_barrier_wait(atomic_int * passed, int seen);

// pg_barrier_open adds to *passed, wakes the threads that wait for it and returns what it was.
int pg_barrier_open(atomic_int * passed, int more);

#ifdef PG_FORCED // into ggml-cpu.c

// ggml_thread_cpu_relax is defined, with (void), and called, with (). Where it is called outside ggml_barrier, by
// threads that poll for the next graph, there are no tp and n_passed but these, and it is left alone.
struct ggml_threadpool;
static struct ggml_threadpool * const tp = NULL;
static const int n_passed = 0;

#define ggml_thread_cpu_relax(none) PG_RELAX_##none
#define PG_RELAX_void ggml_thread_cpu_relax(void)
#define PG_RELAX_ (tp ? pg_barrier_wait(&tp->n_barrier_passed, n_passed) : ggml_thread_cpu_relax())

// All objects that are added to are of this type.
static inline int pg_fetch_add(atomic_int * object, int more, memory_order order) {
	return atomic_fetch_add_explicit(object, more, order);
}

#undef atomic_fetch_add_explicit
#define atomic_fetch_add_explicit(object, more, order)       \
	(__builtin_strcmp(#object, "&tp->n_barrier_passed") == 0 \
		 ? pg_barrier_open((atomic_int *) (object), more)    \
		 : pg_fetch_add((atomic_int *) (object), more, order))

#endif
#endif
