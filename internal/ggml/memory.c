// How the process ends where C code gets no memory or no thread, a device is gone, or an
// assertion of ggml fails that the checks in Go did not foresee: one line, no core dump.
#include "end.h"

#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

// A connection to a device that is gone gives C code an error, and no signal that ends the
// process. Go looks at this before it installs its own handler, which stays as it is for
// what Go writes.
__attribute__((constructor)) static void ignore_broken_pipes(void) { signal(SIGPIPE, SIG_IGN); }

void pg_end(const char * message) {
	static atomic_flag ended = ATOMIC_FLAG_INIT;
	while (atomic_flag_test_and_set(&ended)) {
		pause(); // another thread has ended the process
	}
	struct pollfd out = { STDERR_FILENO, POLLOUT, 0 }; // perhaps a pipe that nobody reads
	if (poll(&out, 1, 500) > 0 && write(STDERR_FILENO, message, strlen(message)) < 0) {
		// nobody can be told
	}
	_exit(1);
}

void pg_no_memory(void) {
	pg_end("paligemma: not enough memory: use a smaller model or picture, or raise the limit (ulimit -v, the container's)\n");
}

// Where the process outlives its devices: what pg_lost writes to. Else -1.
static atomic_int lost = -1;

void pg_outlive_devices(int fd) { atomic_store(&lost, fd); }

// pg_lost ends the process with a message, or tells Go that a device is gone and has the
// calling thread wait for ever: ggml has no way back from here.
static void pg_lost(const char * message) {
	int fd = atomic_load(&lost);
	if (fd < 0 || write(fd, "", 1) < 0) {
		pg_end(message);
	}
	for (;;) {
		pause();
	}
}

// contains_one reports whether a message contains one of n parts.
static bool contains_one(const char * message, const char * const * parts, size_t n) {
	for (size_t i = 0; i < n; i++) {
		if (strstr(message, parts[i])) {
			return true;
		}
	}
	return false;
}

#define ONE_OF(message, parts) contains_one(message, parts, sizeof parts / sizeof *parts)

void pg_device_failed(const char * what) {
	char line[512];
	snprintf(line, sizeof line,
		"paligemma: the GPU does not compute any more: its memory is used up or its driver failed (%.200s); try a smaller model, or --device cpu\n", what);
	pg_lost(line);
}

void pg_abort(const char * message) {
	// What ggml 0.26 says where the system refused something, and where a device is gone.
	static const char * const refused[] = { "mem_buffer != NULL", "rc == 0", "failed to allocate", "allocation failed" };
	static const char * const gone[] = { "Remote RPC server crashed", "Failed to connect to", "RPC handshake failed" };
	static const char * const failed[] = { "CUDA error" };
	if (ONE_OF(message, refused)) {
		pg_no_memory();
	}
	if (ONE_OF(message, gone)) {
		pg_lost("paligemma: a device on another machine does not answer any more: start its server again, or choose another --device\n");
	}
	if (ONE_OF(message, failed)) {
		pg_device_failed("-v shows what it says");
	}
	char line[512];
	snprintf(line, sizeof line, "paligemma: internal error in ggml, please report it: %.400s\n", message);
	pg_end(line);
}
