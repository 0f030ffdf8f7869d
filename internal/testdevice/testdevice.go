// Package testdevice chooses what the tests of ggml and model compute on:
// $PALIGEMMA_TEST_DEVICE, "cpu" if it is not set.
//
// "plain" is the CPU with the graphs of other devices. "rpc0" is ggml's RPC backend
// with a server in the test's own process, on the loopback address: a device whose
// memory the program cannot reach (build tag rpc, make test-rpc). Other names, such as
// "vulkan0", are those of ggml.Devices.
package testdevice

import (
	"cmp"
	"os"
	"testing"
)

const (
	cpu   = "cpu"
	plain = "plain"
	rpc   = "rpc0"
)

// Device is what tests compute on.
type Device struct {
	Name  string // for ggml.Options
	Plain bool   // the CPU, with graphs for other devices
}

// Chosen returns the device of this run of the tests, and starts the server of rpc0.
func Chosen(tb testing.TB) Device {
	tb.Helper()
	switch name := cmp.Or(os.Getenv("PALIGEMMA_TEST_DEVICE"), cpu); name {
	case plain:
		return Device{Name: cpu, Plain: true}
	case rpc:
		if err := startRPC(); err != nil {
			tb.Fatalf("$PALIGEMMA_TEST_DEVICE is %s: %v", rpc, err)
		}
		return Device{Name: rpc}
	default:
		return Device{Name: name}
	}
}

// Kernels reports whether the device computes with the CPU's own kernels.
func (d Device) Kernels() bool { return d.Name == cpu && !d.Plain }
