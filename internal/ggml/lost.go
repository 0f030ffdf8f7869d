package ggml

// #include "end.h"
import "C"

import (
	"errors"
	"os"
	"sync"
)

// ErrLost says that a device is gone.
var ErrLost = errors.New("a device does not answer any more: start the program again, or choose another --device")

// lost is the pipe by which C code says that a device is gone. It stays open: several
// threads may say so.
var lost struct{ read, write *os.File }

// outlive has the process outlive its devices.
var outlive = sync.OnceValue(func() <-chan struct{} {
	var err error
	if lost.read, lost.write, err = os.Pipe(); err != nil {
		return nil
	}
	gone := make(chan struct{})
	go func() {
		_, _ = lost.read.Read(make([]byte, 1))
		close(gone)
	}()
	C.pg_outlive_devices(C.int(lost.write.Fd()))
	return gone
})

// Lost returns a channel that is closed when a device is gone. The computation that met it
// never returns then, and what it uses cannot be freed: the program should say so and end.
// A program that does not call Lost ends there and then, with one line, and so does one that
// the system gave no pipe, where the channel is nil.
func Lost() <-chan struct{} { return outlive() }
