package ggml

// #include "plugin.h"
import "C"

import (
	"cmp"
	"fmt"
	"strings"
	"sync"
)

// starts are the devices that were tried, in that order.
var starts struct {
	mu    sync.Mutex
	tried []start
}

// start is how a device was tried.
type start struct {
	device C.ggml_backend_dev_t
	err    error
}

// open starts a device. What keeps it from that, such as something that its driver lacks,
// is in the error.
func (d Device) open() (backendHandle, error) {
	var text [1024]C.char
	backend := C.pg_device_open(d.handle, &text[0], C.size_t(len(text)))
	if backend == nil {
		why := withoutFunction(strings.TrimSpace(C.GoString(&text[0])))
		return nil, fmt.Errorf("device %s does not start: %s", d.Name, cmp.Or(why, "its driver does not say why"))
	}
	return backend, nil
}

// Starts returns why a device does not start, or nil where it does. It is opened to know,
// once.
func (d Device) Starts() error {
	if d.Kind == KindCPU {
		return nil
	}
	starts.mu.Lock()
	defer starts.mu.Unlock()
	for _, s := range starts.tried {
		if s.device == d.handle {
			return s.err
		}
	}
	backend, err := d.open()
	if err == nil {
		C.ggml_backend_free(backend)
	}
	starts.tried = append(starts.tried, start{d.handle, err})
	return err
}

// Unstarted lists why devices that were tried do not start.
func Unstarted() (errs []error) {
	starts.mu.Lock()
	defer starts.mu.Unlock()
	for _, s := range starts.tried {
		if s.err != nil {
			errs = append(errs, s.err)
		}
	}
	return errs
}
