package ggml

/*
#cgo CFLAGS: -I${SRCDIR}/../../build/include
#include <stdlib.h>
#include <stdatomic.h>
#include <stdio.h>
#include "ggml.h"
#include "ggml-cpu.h"
#include "ggml-backend.h"

static atomic_int pg_log_level;

// Only warnings and errors are shown, and only where asked for.
static void pg_log(enum ggml_log_level level, const char * text, void * data) {
	(void) data;
	int min = atomic_load(&pg_log_level);
	if (min > 0 && (int) level >= min && level != GGML_LOG_LEVEL_CONT) {
		fputs(text, stderr);
	}
}

// In memory.c and memory.cpp.
void pg_abort(const char * message);
void pg_set_new_handler(void);

static void pg_hooks(void) {
	ggml_log_set(pg_log, NULL);
	ggml_set_abort_callback(pg_abort);
	pg_set_new_handler();
}
static void pg_log_set_level(int level) { atomic_store(&pg_log_level, level); }
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
