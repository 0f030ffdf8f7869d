package engine

import (
	"context"
	"math"
	"reflect"
	"strings"
	"testing"

	"paligemma/internal/model"
	"paligemma/internal/testdevice"
)

// OnTestDevice has options name what the tests compute on (package testdevice), unless they
// name a device. Of several devices each has a layer of a tiny model.
func OnTestDevice(tb testing.TB, o Options) Options {
	tb.Helper()
	if o.Threads = 1; o.Device != "" {
		return o
	}
	d := testdevice.Chosen(tb)
	if o.Device, o.Plain = d.Name, d.Plain; strings.Contains(d.Name, ",") {
		o.Split.Last = 1
	}
	return o
}

// onCPU are options for the CPU with the graphs of the test device: for what only the CPU can
// do, which is to count the operations of a graph and to stop within one.
func onCPU(tb testing.TB) Options {
	tb.Helper()
	return Options{Device: "cpu", Plain: !testdevice.Chosen(tb).Kernels()}
}

// Same reports whether an answer is the one that was computed in other company: to the bit,
// or on other devices, where sums may be taken in other parts, with numbers that are near.
func Same(tb testing.TB, got, want any) bool {
	tb.Helper()
	d := testdevice.Chosen(tb)
	if d.Kernels() {
		return reflect.DeepEqual(got, want)
	}
	return near(reflect.ValueOf(got), reflect.ValueOf(want), d.LogProbTolerance(1e-4))
}

// near is reflect.DeepEqual but for floating-point numbers, and for empty lists and nil.
func near(a, b reflect.Value, tolerance float64) bool {
	if !a.IsValid() || !b.IsValid() || a.Type() != b.Type() {
		return a.IsValid() == b.IsValid()
	}
	switch a.Kind() {
	case reflect.Float32, reflect.Float64:
		return math.Abs(a.Float()-b.Float()) <= tolerance*max(1, math.Abs(b.Float()))
	case reflect.Slice, reflect.Array:
		for i := range min(a.Len(), b.Len()) {
			if !near(a.Index(i), b.Index(i), tolerance) {
				return false
			}
		}
		return a.Len() == b.Len()
	case reflect.Struct:
		for i := range a.NumField() {
			if !near(a.Field(i), b.Field(i), tolerance) {
				return false
			}
		}
		return true
	case reflect.Pointer, reflect.Interface:
		return near(a.Elem(), b.Elem(), tolerance)
	}
	return a.Equal(b)
}

// valuesOf are those of features, wherever they are.
func valuesOf(t *testing.T, e *Engine, f model.Features) (values []float32) {
	t.Helper()
	owned(t, e, func(context.Context) (err error) {
		values, err = f.Read()
		return err
	})
	return values
}
