//go:build rpc

package testdevice

/*
#cgo CFLAGS: -I${SRCDIR}/../../build/include
#cgo LDFLAGS: -L${SRCDIR}/../../build/lib -lpaligemma-rpc
#include <stdlib.h>
#include "ggml-backend.h"
#include "ggml-rpc.h"

// Returns where there is no CPU device; else never.
static void pg_rpc_serve(const char * endpoint) {
	ggml_backend_dev_t cpu = ggml_backend_dev_by_type(GGML_BACKEND_DEVICE_TYPE_CPU);
	if (cpu) {
		ggml_backend_rpc_start_server(endpoint, NULL, 1, 1, &cpu);
	}
}

static bool pg_rpc_add(const char * endpoint) {
	ggml_backend_reg_t server = ggml_backend_rpc_add_server(endpoint);
	if (server) {
		ggml_backend_register(server);
	}
	return server;
}
*/
import "C"

import (
	"fmt"
	"net"
	"sync"
	"time"
	"unsafe"
)

// serverWait is how long a server may take to listen.
const serverWait = 20 * time.Second

var servers struct {
	sync.Mutex
	started int
}

// startRPC has some servers run, and makes each one of ggml's devices: rpc0, rpc1 and so on.
func startRPC(n int) error {
	servers.Lock()
	defer servers.Unlock()
	for ; servers.started < n; servers.started++ {
		address, err := FreeAddress()
		if err != nil {
			return err
		}
		go Serve(address)
		if err := Connect(address); err != nil {
			return err
		}
	}
	return nil
}

// FreeAddress returns an address on the loopback that nobody listens on.
func FreeAddress() (string, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer listener.Close() // for ggml, which takes an address
	return listener.Addr().String(), nil
}

// Serve runs a server that computes on the CPU. It does not return.
func Serve(address string) {
	endpoint := C.CString(address)
	C.pg_rpc_serve(endpoint)
}

// Connect waits for a server to listen, and makes it one of ggml's devices.
func Connect(address string) error {
	for start := time.Now(); ; time.Sleep(10 * time.Millisecond) {
		c, err := net.Dial("tcp", address)
		if err == nil {
			c.Close()
			break
		}
		if time.Since(start) > serverWait {
			return fmt.Errorf("the RPC server does not start: %w", err)
		}
	}
	endpoint := C.CString(address)
	defer C.free(unsafe.Pointer(endpoint))
	if !C.pg_rpc_add(endpoint) {
		return fmt.Errorf("the RPC server at %s does not answer", address)
	}
	return nil
}
