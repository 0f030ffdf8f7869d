package main

import (
	"context"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"time"

	"paligemma/internal/safetensors"
)

// keptLogits is of how many positions logits are compared: more than 16, whose products
// cuBLAS computes without padding (docs/devices.md).
const keptLogits = 32

// distances bound ‖device − CPU‖ / ‖CPU‖ (docs/devices.md).
var distances = []struct {
	typ   string
	tf32  bool // cuBLAS may use it, as where the user sets the variable to nothing
	limit float64
	need  time.Duration
}{
	{"bf16", false, 0.01, 25 * time.Second},
	{"f16", false, 0.01, 25 * time.Second},
	{"q4_k_m", false, 0.02, 10 * time.Second},
	{"q8_0", false, 0.01, 10 * time.Second},
	{"f32", false, 1e-4, 20 * time.Second},
	{"f32", true, 3e-3, 15 * time.Second},
}

func (c *check) logitSteps() []step {
	var steps []step
	for i, d := range distances {
		if !slices.Contains(c.compared, d.typ) {
			continue
		}
		what := d.typ
		if d.tf32 {
			what += " with TF32"
		}
		last := i+1 == len(distances) || distances[i+1].typ != d.typ
		steps = append(steps, step{part: "logits", what: "logits of " + what, need: d.need, run: func(ctx context.Context) error {
			if err := c.files.of(d.typ); err != nil {
				return err
			}
			if last {
				defer os.Remove(c.file(d.typ))
			}
			return c.logits(ctx, d.typ, what, d.tf32, d.limit)
		}})
	}
	return steps
}

// logits compares a file's logits on the device with those on the CPU.
func (c *check) logits(ctx context.Context, typ, what string, tf32 bool, limit float64) error {
	file := c.file(typ)
	want := filepath.Join(c.scratch, "cpu-"+typ+".safetensors")
	if _, err := os.Stat(want); err != nil {
		if err := c.forward(ctx, file, "cpu", want); err != nil {
			return err
		}
	}
	got := filepath.Join(c.scratch, "device.safetensors")
	defer os.Remove(got)
	var env []string
	if tf32 {
		env = append(env, "PALIGEMMA_TF32=1")
	}
	if err := c.forward(ctx, file, c.computes(), got, env...); err != nil {
		return err
	}
	distance, err := compareLogits(got, want)
	if err != nil {
		return err
	}
	c.judge("logits", what+", relative L2 to the CPU", fmt.Sprintf("%.2g", distance), fmt.Sprintf("≤ %g", limit), distance <= limit)
	if typ != "bf16" {
		return nil
	}
	info, err := os.Stat(file)
	if err != nil {
		return err
	}
	return c.opening(ctx, file, info.Size())
}

// forward writes what a device computes.
func (c *check) forward(ctx context.Context, file, device, output string, env ...string) error {
	p := c.paligemma("forward", c.picture(), "--model", file, "--device", device, "--prompt", "describe the rocket and all that stands around it, the sky and the ground",
		"--logits-to-keep", fmt.Sprint(keptLogits), "--output", output, "--overwrite", "--quiet")
	p.env = append(p.env, env...)
	_, err := c.works(ctx, p)
	return err
}

// compareLogits returns the distance of the logits in one file to those in another,
// infinite where it is not a number.
func compareLogits(got, want string) (float64, error) {
	a, err := readLogits(got)
	if err != nil {
		return 0, err
	}
	b, err := readLogits(want)
	if err != nil {
		return 0, err
	}
	if len(a) != len(b) {
		return 0, fmt.Errorf("%d logits and %d", len(a), len(b))
	}
	return relativeL2(a, b), nil
}

func readLogits(path string) ([]float32, error) {
	f, err := safetensors.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	t, ok := f.Lookup("logits")
	if !ok {
		return nil, fmt.Errorf("%s has no logits", path)
	}
	data, err := f.ReadAll(t)
	if err != nil {
		return nil, err
	}
	return safetensors.Float32s(t.DType, data)
}

func relativeL2(got, want []float32) float64 {
	diff, norm := 0.0, 0.0
	for i := range want {
		d := float64(got[i]) - float64(want[i])
		diff += d * d
		norm += float64(want[i]) * float64(want[i])
	}
	if l := math.Sqrt(diff / norm); !math.IsNaN(l) {
		return l
	}
	return math.Inf(1)
}
