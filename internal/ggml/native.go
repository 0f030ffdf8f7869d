package ggml

/*
#cgo CPPFLAGS: -I${SRCDIR}/../../build/include
#include "ggml.h"
#include "ggml-cpu.h"
#include "ggml-backend.h"
#include "log.h"

// In memory.c and memory.cpp.
void pg_abort(const char * message);
void pg_set_handlers(void);

static void pg_hooks(void) {
	ggml_log_set(pg_log, NULL);
	ggml_set_abort_callback(pg_abort);
	pg_set_handlers();
	pg_log_cerr();
}
*/
import "C"

import "sync"

var initOnce sync.Once

// initLibrary prepares ggml's tables; nothing of ggml may be called before it.
func initLibrary() {
	initOnce.Do(func() {
		C.pg_hooks()
		C.ggml_time_init()
		C.ggml_cpu_init()
	})
}

// Verbose lets ggml's own warnings and errors through to stderr.
func Verbose(on bool) {
	level := C.int(0)
	if on {
		level = C.GGML_LOG_LEVEL_WARN
	}
	C.pg_log_set_level(level)
}

// Version is the version of the ggml library, such as "0.26.0".
func Version() string { return C.GoString(C.ggml_version()) }
