package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

const (
	faultTest   = "^TestKeptRows$"
	fault       = "PALIGEMMA_TEST_FAULT=1"  // has the test read out of bounds
	outOfBounds = "Invalid __global__ read" // what compute-sanitizer says of it
)

// sanitizer finds compute-sanitizer; "" where it is not.
func sanitizer() string {
	folders := append(filepath.SplitList(os.Getenv("PATH")), filepath.Join(os.Getenv("CUDA_HOME"), "bin"), "/usr/local/cuda/bin")
	for _, folder := range folders {
		if path, err := exec.LookPath(filepath.Join(folder, "compute-sanitizer")); err == nil && filepath.IsAbs(path) {
			return path
		}
	}
	return ""
}

func (c *check) lacksSanitizer() string {
	switch {
	case !strings.HasPrefix(c.device, "cuda"):
		return "it is for CUDA"
	case sanitizer() == "":
		return "compute-sanitizer is not there"
	}
	return ""
}

// sanitize looks for reads and writes out of bounds while the built-in model answers, with
// CUDA's graphs and without. That nothing is found counts where a read out of bounds is, which
// a test of internal/ggml makes in the same way.
func (c *check) sanitize(ctx context.Context) error {
	help, err := c.exec(ctx, child{path: sanitizer(), args: []string{"--help"}})
	if err != nil {
		return err
	}
	counts := strings.Contains(help.stdout, "--dump-kernel-launches")
	for _, mode := range []struct{ name, env string }{{"", ""}, {", without CUDA's graphs", "GGML_CUDA_DISABLE_GRAPHS=1"}} {
		p := c.testBinary("ggml", faultTest, nil)
		p.env = append(p.env, fault)
		e, err := c.memcheck(ctx, p, mode.env, false)
		switch said := e.stdout + e.stderr; {
		case err != nil:
			return err
		case strings.Contains(said, "Device not supported"):
			return leftOutError("compute-sanitizer does not know the device")
		case !strings.Contains(said, outOfBounds):
			return leftOutError("compute-sanitizer does not find a read out of bounds" + mode.name + ": " + e.lastLine())
		}
		for _, args := range [][]string{{"caption", c.scene(), "--lang", "es"}, {"detect", "ring ; star", c.scene()}} {
			p := c.paligemma(append(args, "--device", c.device, "--max-tokens", "32", "--quiet")...)
			e, err := c.memcheck(ctx, p, mode.env, counts)
			if err != nil {
				return err
			}
			found := e.errorSummary()
			got := lastOf(found, e.lastLine())
			if n := strings.Count(e.stdout, "Launch #"); n > 0 {
				got += fmt.Sprintf(", launches of kernels: %d", n)
			}
			c.judge("sanitizer", "memcheck, "+args[0]+" by the built-in model"+mode.name, got, "0 errors", e.code == 0 && found == "0 errors")
		}
	}
	return nil
}

// memcheck runs a program in compute-sanitizer, and has it name each kernel if it can.
func (c *check) memcheck(ctx context.Context, p child, env string, launches bool) (ended, error) {
	args := []string{"--tool", "memcheck", "--report-api-errors", "no", "--error-exitcode", "99"}
	if launches {
		args = append(args, "--dump-kernel-launches", "--num-callers-host", "1")
	}
	p.args = append(append(args, p.path), p.args...)
	p.path = sanitizer()
	if env != "" {
		p.env = append(p.env, env)
	}
	return c.exec(ctx, p)
}

// errorSummary returns what compute-sanitizer says at its end.
func (e ended) errorSummary() (summary string) {
	for _, line := range nonEmpty(e.stdout + "\n" + e.stderr) {
		if _, found, ok := strings.Cut(line, "ERROR SUMMARY: "); ok {
			summary = found
		}
	}
	return summary
}
