//go:build !rpc

// With the tag, only programs with ggml can be linked.

package testdevice

import "testing"

// TestTolerance has lists, too: one GPU among several devices has a GPU's tolerances, wherever
// in the list it is.
func TestTolerance(t *testing.T) {
	for _, c := range []struct {
		device         Device
		given, allowed float64
		f32, f16       float64 // allowed of files of these types
		gap, logProb   float64
	}{
		{Device{Name: "cpu"}, 1e-5, 1e-5, 1e-5, 1e-5, 0, 1e-5},
		{Device{Name: "cpu", Plain: true}, 1e-5, 1e-5, 1e-5, 1e-5, 0, 1e-5},
		{Device{Name: "rpc0"}, 1e-5, 1e-5, 1e-5, 1e-5, 0, 1e-5},
		{Device{Name: "fake2"}, 1e-5, 1e-5, 1e-5, 1e-5, 0, 1e-5},
		{Device{Name: "cuda0"}, 1e-6, 3e-3, 1e-5, 0.03, 1e-2, 5e-2},
		{Device{Name: "cuda0"}, 0.1, 0.1, 0.1, 0.1, 1e-2, 0.1},
		{Device{Name: "vulkan0"}, 1e-5, 5e-3, 5e-3, 5e-3, 1e-2, 5e-2},
		{Device{Name: "vulkan1"}, 0.1, 0.1, 0.1, 0.1, 1e-2, 0.1},
		{Device{Name: "rpc0,cpu"}, 1e-5, 1e-5, 1e-5, 1e-5, 0, 1e-5},
		{Device{Name: "cuda0,cpu"}, 1e-5, 3e-3, 1e-5, 0.03, 1e-2, 5e-2},
		{Device{Name: "cpu,cuda0"}, 1e-5, 3e-3, 1e-5, 0.03, 1e-2, 5e-2},
		{Device{Name: "cpu,vulkan1"}, 1e-5, 5e-3, 5e-3, 5e-3, 1e-2, 5e-2},
		{Device{Name: "cuda0,vulkan1"}, 1e-5, 5e-3, 5e-3, 5e-3, 1e-2, 5e-2},
	} {
		d := c.device
		for what, values := range map[string][2]float64{
			"results":         {d.Tolerance(c.given), c.allowed},
			"f32":             {d.TypeTolerance("f32", c.given), c.f32},
			"f16":             {d.TypeTolerance("f16", c.given), c.f16},
			"q8_0":            {d.TypeTolerance("q8_0", c.given), c.allowed},
			"log-probability": {d.LogProbTolerance(c.given), c.logProb},
			"gap":             {d.Gap(), c.gap},
		} {
			if got, want := values[0], values[1]; got != want {
				t.Errorf("%+v, %s: %g of %g, want %g", d, what, got, c.given, want)
			}
		}
		if d.SameRows() != (c.gap == 0) {
			t.Errorf("%+v: equal rows are the same: %t", d, d.SameRows())
		}
	}
}

// TestNamed makes sure that tests run on what they were told to.
func TestNamed(t *testing.T) {
	for name, want := range map[string]struct {
		device  Device
		kernels bool
	}{
		"cpu":         {Device{Name: "cpu"}, true},
		"plain":       {Device{Name: "cpu", Plain: true}, false},
		"vulkan0":     {Device{Name: "vulkan0"}, false},
		"cuda0,cuda1": {Device{Name: "cuda0,cuda1"}, false},
	} {
		t.Setenv("PALIGEMMA_TEST_DEVICE", name)
		if d := Chosen(t); d != want.device || d.Kernels() != want.kernels {
			t.Errorf("%s: %+v, with the CPU's kernels: %t", name, d, d.Kernels())
		}
	}
}
