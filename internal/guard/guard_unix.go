//go:build unix && cgo

package guard

/*
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

// A mapping in use has a line; its place in the list stays and is used again.
struct pg_mapping {
	struct pg_mapping * next;
	uintptr_t start, end;
	size_t length; // of the line
	_Atomic(char *) line;
};

static _Atomic(struct pg_mapping *) pg_mappings;
static struct sigaction pg_previous; // Go's own handler

// Writes the line and ends the process: once, whatever other threads meet
// meanwhile. A pipe that nobody reads is not waited for.
static void pg_leave(const char * line, size_t length) {
	static atomic_flag left = ATOMIC_FLAG_INIT;
	while (atomic_flag_test_and_set(&left)) {
		pause();
	}
	struct pollfd out = { STDERR_FILENO, POLLOUT, 0 };
	if (poll(&out, 1, 500) > 0 && write(STDERR_FILENO, line, length) < 0) {
		// nobody can be told
	}
	_exit(PG_EXIT_CODE);
}

static void pg_on_fault(int number, siginfo_t * info, void * context) {
	uintptr_t at = (uintptr_t) info->si_addr;
	if (info->si_code > 0) { // a fault, not a signal that somebody sent
		for (struct pg_mapping * m = atomic_load(&pg_mappings); m; m = m->next) {
			const char * line = atomic_load(&m->line);
			if (line && at >= m->start && at < m->end) {
				pg_leave(line, m->length);
			}
		}
	}
	if (pg_previous.sa_flags & SA_SIGINFO) {
		pg_previous.sa_sigaction(number, info, context);
	} else if (pg_previous.sa_handler == SIG_DFL || pg_previous.sa_handler == SIG_IGN) {
		signal(number, SIG_DFL); // the fault happens again on return
	} else {
		pg_previous.sa_handler(number);
	}
}

static bool pg_install(void) {
	struct sigaction action = { 0 };
	action.sa_sigaction = pg_on_fault;
	action.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_RESTART;
	sigfillset(&action.sa_mask);
	return sigaction(SIGBUS, NULL, &pg_previous) == 0 && sigaction(SIGBUS, &action, NULL) == 0;
}

// Takes the line over. Not to be called by two threads at once.
static struct pg_mapping * pg_guard(uintptr_t start, size_t size, char * line, size_t length) {
	struct pg_mapping * m = atomic_load(&pg_mappings);
	while (m && atomic_load(&m->line)) {
		m = m->next;
	}
	bool known = m != NULL;
	if (!known && !(m = calloc(1, sizeof *m))) {
		free(line);
		return NULL;
	}
	m->start = start;
	m->end = start + size;
	m->length = length;
	atomic_store(&m->line, line);
	if (!known) {
		m->next = atomic_load(&pg_mappings);
		atomic_store(&pg_mappings, m);
	}
	return m;
}

static void pg_release(struct pg_mapping * m) { free(atomic_exchange(&m->line, NULL)); }

#cgo CFLAGS: -DPG_EXIT_CODE=4
*/
import "C"

import (
	"errors"
	"os"
	"sync"
	"unsafe"

	"golang.org/x/term"
)

var (
	mu      sync.Mutex
	install = sync.OnceValue(func() bool { return bool(C.pg_install()) })
)

// Mapping guards the mapping of a file until release is called, which must be
// before the mapping ends. path names the file in the line.
func Mapping(data []byte, path string) (release func(), err error) {
	mu.Lock()
	defer mu.Unlock()
	if !install() {
		return nil, errors.New("no handler for faults can be installed")
	}
	text := line(path, term.IsTerminal(int(os.Stderr.Fd())))
	start := C.uintptr_t(uintptr(unsafe.Pointer(unsafe.SliceData(data))))
	m := C.pg_guard(start, C.size_t(len(data)), C.CString(text), C.size_t(len(text)))
	if m == nil {
		return nil, errors.New("out of memory")
	}
	return func() {
		mu.Lock()
		defer mu.Unlock()
		C.pg_release(m)
	}, nil
}
