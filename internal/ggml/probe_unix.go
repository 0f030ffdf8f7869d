//go:build unix

package ggml

/*
#include <pthread.h>
#include <stdbool.h>
#include <sys/mman.h>
#include "ggml.h"

// Threads that wait until nobody holds the lock.
static void * pg_wait(void * data) {
	pthread_mutex_t * lock = data;
	pthread_mutex_lock(lock);
	pthread_mutex_unlock(lock);
	return NULL;
}

// The number of threads that the system starts, of at most n at a time.
static int pg_count_threads(int n) {
	pthread_t threads[GGML_MAX_N_THREADS];
	pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
	int started = 0;
	pthread_mutex_lock(&lock);
	while (started < n && started < GGML_MAX_N_THREADS && pthread_create(&threads[started], NULL, pg_wait, &lock) == 0) {
		started++;
	}
	pthread_mutex_unlock(&lock);
	for (int i = 0; i < started; i++) {
		pthread_join(threads[i], NULL);
	}
	return started;
}

// Whether the system gives so much memory. None of it is touched.
static bool pg_can_allocate(size_t size) {
	void * memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANON, -1, 0);
	return memory != MAP_FAILED && munmap(memory, size) == 0;
}
*/
import "C"

// startable returns how many threads of n the system starts now.
func startable(n int) int { return int(C.pg_count_threads(C.int(n))) }

// allocatable reports whether the system gives size bytes now. ggml aborts, or does
// not look, where it gets none.
func allocatable(size int64) bool { return bool(C.pg_can_allocate(C.size_t(size))) }
