package ggml

/*
#include "ggml-backend.h"
*/
import "C"

import (
	"errors"
	"fmt"
	"slices"
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

	handle C.ggml_backend_dev_t
}

// maxDevices is how many devices one Backend takes, next to the CPU: ggml's scheduler has
// 16 places.
const maxDevices = 15

// Devices lists what this program found on this machine, the CPU included. It loads the
// plug-ins there are, and opens no device.
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
		d := Device{
			Name:        Device{handle: handle}.name(),
			Description: C.GoString(C.ggml_backend_dev_description(handle)),
			Backend:     C.GoString(C.ggml_backend_reg_name(C.ggml_backend_dev_backend_reg(handle))),
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

// name is what ggml calls a device, in lower case.
func (d Device) name() string { return strings.ToLower(C.GoString(C.ggml_backend_dev_name(d.handle))) }

// DeviceMemoryError says that a device refused memory, or one of several. It is an ErrMemory.
type DeviceMemoryError struct{ Device string } // its name, or theirs with commas between them

// Error is the rest of a sentence.
func (e *DeviceMemoryError) Error() string {
	return fmt.Sprintf("not enough memory on %s: put fewer layers on it (--split, --gpu-layers), or take a smaller --type or shorter and fewer texts at a time", e.Device)
}

// Is reports whether target is ErrMemory.
func (e *DeviceMemoryError) Is(target error) bool { return target == ErrMemory }

// refusal is the error of devices that refused memory.
func refusal(names string) error {
	if names == CPU().Name {
		return ErrMemory
	}
	return &DeviceMemoryError{names}
}

// Memory asks a device for its memory, free and in all, in bytes; both are 0 where it does
// not say. A GPU opens a context to answer, which takes time and some of its memory.
func (d Device) Memory() (free, total int64) {
	var f, t C.size_t
	C.ggml_backend_dev_memory(d.handle, &f, &t)
	return int64(f), int64(t)
}

// Roomy reports whether each device has at least bytes of memory left, as far as it says.
func (b *Backend) Roomy(bytes int64) bool {
	for _, d := range b.devices {
		if free, total := d.Memory(); total > 0 && free < bytes {
			return false
		}
	}
	return true
}

// capabilities are what a device can do.
func (d Device) capabilities() C.struct_ggml_backend_dev_caps {
	var props C.struct_ggml_backend_dev_props
	C.ggml_backend_dev_get_props(d.handle, &props)
	return props.caps
}

// onCUDA reports whether one of the devices computes with ggml-cuda, some of whose kernels are
// to be had or avoided by the shapes of what they get.
func (b *Backend) onCUDA() bool {
	return slices.ContainsFunc(b.devices, func(d Device) bool { return strings.EqualFold(d.Backend, "cuda") })
}

// Names lists the names of devices as FindDevices takes them: "cuda0,cpu".
func Names(devices []Device) string {
	names := make([]string, len(devices))
	for i, d := range devices {
		names[i] = d.Name
	}
	return strings.Join(names, ",")
}

// FindDevices resolves names with commas between them. "auto" and "" stand for the first
// GPU that starts, else the first integrated one, else the CPU. For the CPU no plug-in is loaded.
func FindDevices(names string) ([]Device, error) {
	if cpu := CPU(); strings.EqualFold(names, cpu.Name) {
		return []Device{cpu}, nil
	}
	all := Devices()
	if names == "" || names == "auto" {
		for _, kind := range []DeviceKind{KindGPU, KindIGPU, KindCPU} {
			for _, d := range all {
				if d.Kind == kind && d.Starts() == nil {
					return []Device{d}, nil
				}
			}
		}
		return nil, errors.New("ggml found no device")
	}
	var found []Device
	for name := range strings.SplitSeq(names, ",") {
		same := func(d Device) bool { return strings.EqualFold(d.Name, name) }
		i := slices.IndexFunc(all, same)
		if i < 0 {
			return nil, fmt.Errorf("no device %s: this build has auto, %s", quote.Short(name), strings.ReplaceAll(Names(all), ",", ", "))
		}
		if slices.ContainsFunc(found, same) {
			return nil, fmt.Errorf("device %s is named twice", quote.Short(name))
		}
		found = append(found, all[i])
	}
	if len(found) > maxDevices {
		return nil, fmt.Errorf("%d devices, at most %d can be used", len(found), maxDevices)
	}
	return found, nil
}
