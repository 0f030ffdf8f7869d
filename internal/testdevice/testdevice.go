// Package testdevice chooses what the tests of ggml, model and engine compute on:
// $PALIGEMMA_TEST_DEVICE, "cpu" if it is not set.
//
// "plain" is the CPU with the graphs of other devices. "rpc0" is ggml's RPC backend
// with a server in the test's own process, on the loopback address: a device whose
// memory the program cannot reach (build tag rpc, make test-rpc); "rpc1" is another one.
// "fake0" has pinned memory and copies late, "fake1" uses memory of the program in place,
// "fake2" has little memory.
// Other names, such as "vulkan0", are those of ggml.Devices. Commas between names have a
// model split.
package testdevice

import (
	"cmp"
	"os"
	"strconv"
	"strings"
	"testing"
)

const (
	cpu   = "cpu"
	plain = "plain"
	rpc   = "rpc"  // and a number
	fake  = "fake" // and 0, 1 or 2
)

// Device is what tests compute on.
type Device struct {
	Name  string // for ggml.Options
	Plain bool   // the CPU, with graphs for other devices
}

// Chosen returns the device of this run of the tests.
func Chosen(tb testing.TB) Device {
	tb.Helper()
	return Named(tb, cmp.Or(os.Getenv("PALIGEMMA_TEST_DEVICE"), cpu))
}

// Named returns the device of a name, or several with commas between them, and starts the
// servers of those that need one.
func Named(tb testing.TB, name string) Device {
	tb.Helper()
	if name == plain {
		return Device{Name: cpu, Plain: true}
	}
	for part := range strings.SplitSeq(name, ",") {
		if err := start(part); err != nil {
			tb.Fatalf("test device %s: %v", part, err)
		}
	}
	return Device{Name: name}
}

// start makes a device that is made for tests one of ggml's.
func start(name string) error {
	if strings.HasPrefix(name, fake) {
		return startFakes()
	}
	number, ok := strings.CutPrefix(name, rpc)
	if !ok {
		return nil
	}
	n, err := strconv.Atoi(number)
	if err != nil {
		return err
	}
	return startRPC(n + 1)
}

// Concurrent reports whether several backends may compute on the device at once: those of an
// RPC server share one connection, which ggml does not guard.
func (d Device) Concurrent() bool { return !strings.Contains(d.Name, rpc) }

// Kernels reports whether the device computes with the CPU's own kernels.
func (d Device) Kernels() bool { return d.Name == cpu && !d.Plain }
