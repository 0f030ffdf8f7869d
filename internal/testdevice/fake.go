//go:build rpc

package testdevice

/*
#cgo CFLAGS: -I${SRCDIR}/../../build/ggml-src/src
#include "fake.h"
*/
import "C"

import "sync"

// startFakes makes fake0, fake1 and fake2 ggml's devices, once.
var startFakes = sync.OnceValue(func() error {
	C.pg_fake_register()
	return nil
})

// Sent returns how many pieces of data were sent to fake0 asynchronously so far.
func Sent() int { return int(C.pg_fake_sent()) }

// Adopted returns how many buffers fake1 made of memory of the program so far.
func Adopted() int { return int(C.pg_fake_adopted()) }

// Room lets all of them together have so many more bytes of memory from now on, what they
// free included; less than 0: any number.
func Room(bytes int64) { C.pg_fake_room(C.int64_t(bytes)) }

// Computed returns how many graphs all of them computed so far, in parts that are counted one by one.
func Computed() int { return int(C.pg_fake_computed()) }
