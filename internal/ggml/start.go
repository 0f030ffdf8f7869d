package ggml

// #include "plugin.h"
import "C"

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"sync"
)

// starts are the devices that were opened, in that order.
var starts struct {
	mu    sync.Mutex
	tried []start
}

// start is what came of opening a device.
type start struct {
	device C.ggml_backend_dev_t
	err    error
}

// open starts a device. What keeps it from that, such as something that its driver lacks,
// is in the error. It is not tried again then: of a device that failed halfway, ggml-vulkan
// keeps what it has.
func (d Device) open() (backendHandle, error) {
	starts.mu.Lock()
	defer starts.mu.Unlock()
	i := slices.IndexFunc(starts.tried, func(s start) bool { return s.device == d.handle })
	if i >= 0 && starts.tried[i].err != nil {
		return nil, starts.tried[i].err
	}
	var text [1024]C.char
	backend := C.pg_device_open(d.handle, &text[0], C.size_t(len(text)))
	var err error
	if backend == nil {
		why := withoutFunction(strings.TrimSpace(C.GoString(&text[0])))
		err = fmt.Errorf("device %s does not start: %s", d.Name, cmp.Or(why, "its driver does not say why"))
	}
	if i < 0 {
		starts.tried = append(starts.tried, start{d.handle, err})
	}
	return backend, err
}

// started reports whether a device was opened, and worked.
func (d Device) started() bool {
	starts.mu.Lock()
	defer starts.mu.Unlock()
	return slices.ContainsFunc(starts.tried, func(s start) bool { return s.device == d.handle && s.err == nil })
}

// Starts returns why a device does not start, or nil where it does. It is opened to know,
// once.
func (d Device) Starts() error {
	if d.Kind == KindCPU || d.started() {
		return nil
	}
	backend, err := d.open()
	if err == nil {
		C.ggml_backend_free(backend)
	}
	return err
}

// Unstarted lists why devices that were opened do not start.
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
