//go:build cgo

package limits

/*
#include <malloc.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

// What Go's runtime and libraries reserve before main: with less it dies there, with
// pages of traces.
enum { PG_LEAST_ADDRESS = 3 << 29, PG_LEAST_DATA = 144 << 20, PG_LEAST_FILES = 12 };

static int pg_below(int which, rlim_t least) {
	struct rlimit limit;
	return getrlimit(which, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY && limit.rlim_cur < least;
}

static void pg_refuse(const char * line) {
	if (write(STDERR_FILENO, line, strlen(line)) < 0) {
		// nobody can be told
	}
	_exit(1);
}

// Runs before Go does.
__attribute__((constructor)) static void pg_check_limits(void) {
	if (pg_below(RLIMIT_AS, PG_LEAST_ADDRESS)) {
		pg_refuse("paligemma: the limit of address space is below 1.6 GB, which is too little to start: raise it (ulimit -v)\n");
	}
	if (pg_below(RLIMIT_DATA, PG_LEAST_DATA)) {
		pg_refuse("paligemma: the limit of data is below 151 MB, which is too little to start: raise it (ulimit -d)\n");
	}
	if (pg_below(RLIMIT_NOFILE, PG_LEAST_FILES)) {
		pg_refuse("paligemma: the limit of open files is below 12, which is too little to start: raise it (ulimit -n)\n");
	}
	// One arena, else every thread that calls C reserves 67 MB of address space and leaves freed memory behind in its
	// own: some megabytes more with each thread, for little that is in use.
	mallopt(M_ARENA_MAX, 1);
}
*/
import "C"
