package main

import (
	"context"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"paligemma/internal/safetensors"
)

// keptLogits is of how many positions logits are compared: more than 16, which ggml
// multiplies in TF32 whatever the environment says (docs/devices.md).
const keptLogits = 32

// distances bound ‖device − CPU‖ / ‖CPU‖ (docs/devices.md).
var distances = []struct {
	typ    string
	exact  bool // without TF32
	limit  float64
	need   time.Duration
	weight float64 // bytes
}{
	{"bf16", false, 0.01, 75 * time.Second, 2}, // the checkpoint is made for it
	{"q4_k_m", false, 0.02, 30 * time.Second, 0.7},
	{"q8_0", false, 0.01, 30 * time.Second, 1.1},
	{"f32", false, 3e-3, 45 * time.Second, 4},
	{"f32", true, 1e-4, 30 * time.Second, 4},
}

func (c *check) logitSteps() []step {
	var steps []step
	for i, d := range distances {
		if !slices.Contains(c.compared, d.typ) {
			continue
		}
		what := d.typ
		if d.exact {
			what += " without TF32"
		}
		last := i+1 == len(distances) || distances[i+1].typ != d.typ
		steps = append(steps, step{part: "logits", what: "logits of " + what, need: d.need, run: func(ctx context.Context) error {
			file, err := c.convert(ctx, d.typ, d.weight)
			if err == nil {
				err = c.logits(ctx, file, d.typ, what, d.exact, d.limit)
			}
			if last {
				os.Remove(c.file(d.typ))
			}
			return err
		}})
	}
	return steps
}

// logits compares a file's logits on the device with those on the CPU.
func (c *check) logits(ctx context.Context, file, typ, what string, exact bool, limit float64) error {
	want := filepath.Join(c.scratch, "cpu-"+typ+".safetensors")
	if _, err := os.Stat(want); err != nil {
		if err := c.forward(ctx, file, "cpu", want); err != nil {
			return err
		}
	}
	got := filepath.Join(c.scratch, "device.safetensors")
	defer os.Remove(got)
	var env []string
	if exact {
		env = append(env, "NVIDIA_TF32_OVERRIDE=0")
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

func (c *check) file(typ string) string { return filepath.Join(c.scratch, typ+".gguf") }

// convert makes a file of a type, and the checkpoint before it.
func (c *check) convert(ctx context.Context, typ string, weight float64) (string, error) {
	file := c.file(typ)
	if _, err := os.Stat(file); err == nil {
		return file, nil
	}
	checkpoint := c.checkpoint
	if checkpoint == "" {
		checkpoint = filepath.Join(c.scratch, "checkpoint")
	}
	if checkpoint != c.checkpoint && c.made == "" {
		maker := child{path: filepath.Join(c.programs, "bin", "randomcheckpoint"), args: []string{"-model", c.models[0], "-out", checkpoint}}
		if _, err := c.works(ctx, maker); err != nil {
			return "", leftOutError("no checkpoint: " + err.Error())
		}
		c.made = checkpoint
	}
	if err := c.hasRoom(checkpoint, weight); err != nil {
		return "", err
	}
	_, err := c.works(ctx, c.paligemma("convert", checkpoint, file, "--type", typ, "--quiet", "--overwrite"))
	return file, err
}

// hasRoom makes sure that a file of a checkpoint's weights, of so many bytes each, does not
// fill the disk.
func (c *check) hasRoom(checkpoint string, weight float64) error {
	size, err := folderSize(checkpoint)
	if err != nil {
		return err
	}
	var fs syscall.Statfs_t
	if err := syscall.Statfs(c.scratch, &fs); err != nil {
		return err
	}
	const stored = 2.0 // bytes of a weight in bfloat16
	if need, free := int64(float64(size)*weight/stored), int64(fs.Bavail)*fs.Bsize; need > free {
		return leftOutError(fmt.Sprintf("%s has room for %s, and the file takes %s: -scratch names another folder", c.scratch, gigabytes(free), gigabytes(need)))
	}
	return nil
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
