//go:build !rpc

// With the tag, only programs with ggml can be linked.

package testdevice

import (
	"strings"
	"testing"
)

// TestTolerance has lists, too: one GPU among several devices has a GPU's tolerances, wherever
// in the list it is.
func TestTolerance(t *testing.T) {
	for _, c := range []struct {
		device         Device
		given, allowed float64
		gap            float64
	}{
		{Device{Name: "cpu"}, 1e-5, 1e-5, 0},
		{Device{Name: "cpu", Plain: true}, 1e-5, 1e-5, 0},
		{Device{Name: "rpc0"}, 1e-5, 1e-5, 0},
		{Device{Name: "fake2"}, 1e-5, 1e-5, 0},
		{Device{Name: "cuda0"}, 1e-5, 3e-3, 1e-2},
		{Device{Name: "vulkan0"}, 1e-5, 5e-3, 1e-2},
		{Device{Name: "vulkan1"}, 0.1, 0.1, 1e-2},
		{Device{Name: "rpc0,cpu"}, 1e-5, 1e-5, 0},
		{Device{Name: "cuda0,cpu"}, 1e-5, 3e-3, 1e-2},
		{Device{Name: "cpu,cuda0"}, 1e-5, 3e-3, 1e-2},
		{Device{Name: "cpu,vulkan1"}, 1e-5, 5e-3, 1e-2},
	} {
		wantF32, wantF16 := c.allowed, max(c.allowed, c.given)
		if strings.Contains(c.device.Name, "cuda") {
			wantF32, wantF16 = 1e-5, 0.03
		}
		if f32, f16 := c.device.TypeTolerance("f32", c.given), c.device.TypeTolerance("f16", c.given); f32 != wantF32 || f16 != wantF16 {
			t.Errorf("%+v: %g of f32 and f16 become %g and %g, want %g and %g", c.device, c.given, f32, f16, wantF32, wantF16)
		}
		if got, gap := c.device.Tolerance(c.given), c.device.Gap(); got != c.allowed || gap != c.gap {
			t.Errorf("%+v: %g becomes %g, want %g; gap %g, want %g", c.device, c.given, got, c.allowed, gap, c.gap)
		}
	}
}
