package ggml

/*
#include "ggml-backend.h"
*/
import "C"

import (
	"fmt"
	"strings"

	"paligemma/internal/quote"
)

// DeviceKind is what sort of processor a device is.
type DeviceKind string

// The kinds of device that ggml knows.
const (
	KindCPU   DeviceKind = "cpu"
	KindGPU   DeviceKind = "gpu"
	KindIGPU  DeviceKind = "igpu"
	KindAccel DeviceKind = "accel"
)

// Device is something this build can compute on.
type Device struct {
	Name        string     `json:"name"` // what --device takes, in lower case: "cpu", "cuda0"
	Description string     `json:"description"`
	Kind        DeviceKind `json:"kind"`
	Backend     string     `json:"backend"`
	MemoryFree  uint64     `json:"memory_free"`  // bytes
	MemoryTotal uint64     `json:"memory_total"` // bytes

	handle C.ggml_backend_dev_t
}

// Devices lists what this program found on this machine, the CPU included. It loads the
// plug-ins there are.
func Devices() []Device {
	loadPlugins()
	return known()
}

// CPU returns the processor, which is always among [Devices]. No plug-in is loaded.
func CPU() Device {
	for _, d := range known() {
		if d.Kind == KindCPU {
			return d
		}
	}
	return Device{}
}

// known lists the devices that need no plug-in and those of plug-ins that were loaded.
func known() []Device {
	initLibrary()
	var devices []Device
	for i := range C.ggml_backend_dev_count() {
		handle := C.ggml_backend_dev_get(i)
		var free, total C.size_t
		C.ggml_backend_dev_memory(handle, &free, &total)
		d := Device{
			Name:        strings.ToLower(C.GoString(C.ggml_backend_dev_name(handle))),
			Description: C.GoString(C.ggml_backend_dev_description(handle)),
			Backend:     C.GoString(C.ggml_backend_reg_name(C.ggml_backend_dev_backend_reg(handle))),
			MemoryFree:  uint64(free),
			MemoryTotal: uint64(total),
			handle:      handle,
		}
		switch C.ggml_backend_dev_type(handle) {
		case C.GGML_BACKEND_DEVICE_TYPE_CPU:
			d.Kind = KindCPU
		case C.GGML_BACKEND_DEVICE_TYPE_GPU:
			d.Kind = KindGPU
		case C.GGML_BACKEND_DEVICE_TYPE_IGPU:
			d.Kind = KindIGPU
		default:
			d.Kind = KindAccel
		}
		devices = append(devices, d)
	}
	return devices
}

// findDevice resolves a name: "auto" and "" take the first GPU, then the first
// integrated GPU, then the CPU. For the CPU no plug-in is loaded.
func findDevice(name string) (Device, error) {
	if strings.EqualFold(name, string(KindCPU)) {
		return CPU(), nil
	}
	devices := Devices()
	if name == "" || name == "auto" {
		for _, kind := range []DeviceKind{KindGPU, KindIGPU, KindCPU} {
			for _, d := range devices {
				if d.Kind == kind {
					return d, nil
				}
			}
		}
		return Device{}, fmt.Errorf("ggml found no device")
	}
	var names []string
	for _, d := range devices {
		if strings.EqualFold(d.Name, name) {
			return d, nil
		}
		names = append(names, d.Name)
	}
	return Device{}, fmt.Errorf("no device %s: this build has auto, %s", quote.Short(name), strings.Join(names, ", "))
}
