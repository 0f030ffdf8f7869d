#include "wait.h"

#ifdef PG_WAITS

#include <limits.h>
#include <linux/futex.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

// To wake a thread that sleeps takes some 50 microseconds on a virtual machine: it is as long that threads spin. Time
// and not pauses are counted, whose length differs tenfold between processors.
#define SPIN 50000 // nanoseconds
#define PAUSES 32  // between two looks at the clock

static int64_t now(void) {
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t) t.tv_sec * 1000000000 + t.tv_nsec;
}

static void relax(void) {
#if defined(__x86_64__)
	__builtin_ia32_pause();
#elif defined(__aarch64__)
	__asm__ volatile("yield" ::: "memory");
#endif
}

// Reports whether *word changes soon.
static bool changes(const atomic_int * word, int seen) {
	const int64_t start = now();
	do {
		for (int i = 0; i < PAUSES; i++) {
			if (atomic_load_explicit(word, memory_order_acquire) != seen) {
				return true;
			}
			relax();
		}
	} while (now() - start < SPIN);
	return false;
}

bool pg_await(atomic_int * word, int seen, atomic_int * sleepers) {
	if (changes(word, seen)) {
		return false;
	}
	// Either pg_wake sees this, or the system sees that the number has changed.
	atomic_fetch_add(sleepers, 1);
	while (atomic_load(word) == seen) {
		syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, seen, NULL, NULL, 0);
	}
	atomic_fetch_sub(sleepers, 1);
	return true;
}

void pg_wake(atomic_int * word, atomic_int * sleepers) {
	if (atomic_load(sleepers) > 0) {
		syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
	}
}

#endif
