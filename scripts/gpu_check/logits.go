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

// distances bound ‖device − exact‖ / ‖exact‖ (docs/devices.md): exact is what the same
// weights give in f32.
var distances = []struct {
	typ   string
	tf32  bool // cuBLAS may use it, as users can ask
	limit float64
	need  time.Duration
}{
	{"bf16", false, 0.01, 40 * time.Second},
	{"f16", false, 0.01, 40 * time.Second},
	{"q4_k_m", false, 0.02, 25 * time.Second},
	{"q8_0", false, 0.01, 25 * time.Second},
	{"f32", false, 1e-4, 20 * time.Second},
	{"f32", true, 3e-3, 15 * time.Second},
}

// worseThanCPU is how many times as far from exact as the CPU a device may be, where that
// is more than the limit: both round what they multiply, each in its way.
const worseThanCPU = 1.25

// question is what a file's logits are computed of.
type question struct {
	model, typ    string
	file          string
	image, prompt string
}

// builtInStep compares the built-in model in all types: trained weights say more than
// random ones.
func (c *check) builtInStep() step {
	return step{part: "logits", what: "logits of the built-in model", need: 20 * time.Second, run: func(ctx context.Context) error {
		for _, d := range distances {
			if d.tf32 {
				continue
			}
			q := question{"built-in", d.typ, filepath.Join(c.scratch, "built-in-"+d.typ+".gguf"), c.scene(), "caption en"}
			_, err := c.works(ctx, c.paligemma("quantize", q.file, "--type", d.typ, "--quiet", "--overwrite"))
			if err == nil {
				err = c.logits(ctx, q, d.limit)
			}
			os.Remove(q.file)
			if err != nil {
				return err
			}
		}
		return nil
	}}
}

func (c *check) logitSteps() []step {
	var steps []step
	for i, d := range distances {
		if !slices.Contains(c.compared, d.typ) {
			continue
		}
		q := question{c.compares(), d.typ, c.file(d.typ), c.picture(), "describe the rocket and all that stands around it, the sky and the ground"}
		last := i+1 == len(distances) || distances[i+1].typ != d.typ
		s := step{part: "logits", what: "logits of " + q.what(), need: d.need}
		if d.tf32 {
			s.what += withTF32
		}
		s.run = func(ctx context.Context) error {
			if err := c.files.of(d.typ); err != nil {
				return err
			}
			if last {
				defer os.Remove(q.file)
			}
			if d.tf32 {
				return c.nearCPU(ctx, q, d.limit, true)
			}
			if err := c.logits(ctx, q, d.limit); err != nil || d.typ != "bf16" {
				return err
			}
			return c.opening(ctx, q.file)
		}
		steps = append(steps, s)
	}
	return steps
}

// what names the model and its type.
func (q question) what() string { return q.model + " " + q.typ }

const withTF32 = " with TF32"

// compares names the model of the files.
func (c *check) compares() string {
	if c.checkpoint != "" {
		return filepath.Base(c.checkpoint)
	}
	return c.models[0]
}

// logits compares a file's logits on the device with exact ones, and notes how far both are
// from the CPU's. What f32 gives is exact: there the CPU's are compared.
func (c *check) logits(ctx context.Context, q question, limit float64) error {
	if q.typ == "f32" {
		return c.nearCPU(ctx, q, limit, false)
	}
	cpu, err := c.forward(ctx, q, "cpu")
	if err != nil {
		return err
	}
	device, err := c.forward(ctx, q, c.computes())
	if err != nil {
		return err
	}
	exact, err := c.exact(ctx, q)
	if err != nil {
		return err
	}
	toExact, cpuToExact, toCPU := relativeL2(device, exact), relativeL2(cpu, exact), relativeL2(device, cpu)
	aim := fmt.Sprintf("≤ %g", limit)
	if bound := worseThanCPU * cpuToExact; bound > limit {
		limit, aim = bound, fmt.Sprintf("≤ %.2g, %g times the CPU's", bound, worseThanCPU)
	}
	c.judge("logits", q.what()+", relative L2 to exact arithmetic", fmt.Sprintf("%.2g; the CPU's %.2g; to the CPU %.2g", toExact, cpuToExact, toCPU), aim, toExact <= limit)
	return nil
}

// exact returns the logits of a file's weights in f32, which the device computes.
func (c *check) exact(ctx context.Context, q question) ([]float32, error) {
	from, typ := q.file, q.typ
	if typ == "bf16" && from == c.file(typ) && c.checkpoint == "" && c.files.of("f32") == nil { // random weights are in bf16
		q.file = c.file("f32")
		return c.forward(ctx, q, c.computes())
	}
	info, err := os.Stat(from)
	if err != nil {
		return nil, err
	}
	if err := c.roomFor(float64(info.Size()) * weightBytes["f32"] / weightBytes[typ]); err != nil {
		return nil, leftOutError(err.Error())
	}
	q.file = filepath.Join(c.scratch, "exact.gguf")
	defer os.Remove(q.file)
	if _, err := c.works(ctx, c.paligemma("quantize", from, q.file, "--type", "f32", "--allow-requantize", "--quiet", "--overwrite")); err != nil {
		return nil, err
	}
	return c.forward(ctx, q, c.computes())
}

// nearCPU compares a file's logits on the device with those on the CPU.
func (c *check) nearCPU(ctx context.Context, q question, limit float64, tf32 bool) error {
	what, env := q.what(), []string(nil)
	if tf32 {
		what, env = what+withTF32, []string{"PALIGEMMA_TF32=1"}
	}
	if c.ofCPU.question != q { // computed once for both
		logits, err := c.forward(ctx, q, "cpu")
		if err != nil {
			return err
		}
		c.ofCPU.question, c.ofCPU.logits = q, logits
	}
	device, err := c.forward(ctx, q, c.computes(), env...)
	if err != nil {
		return err
	}
	distance := relativeL2(device, c.ofCPU.logits)
	c.judge("logits", what+", relative L2 to the CPU", fmt.Sprintf("%.2g", distance), fmt.Sprintf("≤ %g", limit), distance <= limit)
	return nil
}

// forward returns what a device computes.
func (c *check) forward(ctx context.Context, q question, device string, env ...string) ([]float32, error) {
	output := filepath.Join(c.scratch, "logits.safetensors")
	defer os.Remove(output)
	p := c.paligemma("forward", q.image, "--model", q.file, "--device", device, "--prompt", q.prompt,
		"--logits-to-keep", fmt.Sprint(keptLogits), "--output", output, "--overwrite", "--quiet")
	p.env = append(p.env, env...)
	if _, err := c.works(ctx, p); err != nil {
		return nil, err
	}
	return readLogits(output)
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

// relativeL2 returns ‖got − want‖ / ‖want‖, infinite where it is not a number.
func relativeL2(got, want []float32) float64 {
	if len(got) != len(want) {
		return math.Inf(1)
	}
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
