// How the process ends where C code gets no memory or no thread, or an assertion of
// ggml fails that the checks in Go did not foresee: one line, no core dump.
#include "end.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

void pg_end(const char * message) {
	if (write(STDERR_FILENO, message, strlen(message)) < 0) {
		// nobody can be told
	}
	_exit(1);
}

void pg_no_memory(void) {
	pg_end("paligemma: not enough memory: use a smaller model or picture, or raise the limit (ulimit -v, the container's)\n");
}

void pg_abort(const char * message) {
	// Assertions of ggml about what the system refused, seen with version 0.26.
	static const char * const refused[] = { "mem_buffer != NULL", "rc == 0", "failed to allocate", "allocation failed" };
	for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
		if (strstr(message, refused[i])) {
			pg_no_memory();
		}
	}
	char line[512];
	snprintf(line, sizeof line, "paligemma: internal error in ggml, please report it: %.400s\n", message);
	pg_end(line);
}
