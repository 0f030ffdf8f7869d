// How threads wait in ggml's barriers (barrier.h).
#include "barrier.h"
#include "wait.h"

#include <stdbool.h>

static atomic_int sleeps;

int pg_barrier_sleeps(void) {
	return atomic_load(&sleeps);
}

#ifdef PG_WAITS

static atomic_int sleepers; // in all barriers of the process
static atomic_bool wakes;   // pg_barrier_open is called

void pg_barrier_wait(atomic_int * passed, int seen) {
	if (atomic_load_explicit(&wakes, memory_order_relaxed) && pg_await(passed, seen, &sleepers)) {
		atomic_fetch_add_explicit(&sleeps, 1, memory_order_relaxed);
	}
}

int pg_barrier_open(atomic_int * passed, int more) {
	const int before = atomic_fetch_add(passed, more);
	pg_wake(passed, &sleepers);
	if (!atomic_load_explicit(&wakes, memory_order_relaxed)) {
		atomic_store(&wakes, true);
	}
	return before;
}

#endif
