package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	eager    = "transformers bfloat16, eager"
	compiled = "transformers bfloat16, compiled"
)

// Ratios of speeds: paligemma's in bf16 to those of transformers, in decoding those of
// q4_k_m, too.
const (
	overEager    = 3.0
	overCompiled = 1.0
)

// peerSteps time transformers on the shapes of a model.
func (c *check) peerSteps(model string) []step {
	lacks := func() string { return c.torch }
	return []step{
		{part: "peers", what: model + " " + eager, need: 45 * time.Second, lacks: lacks, run: func(ctx context.Context) error {
			return c.transformers(ctx, model, eager, overEager, "--cache", "dynamic")
		}},
		{part: "peers", what: model + " " + compiled, need: 90 * time.Second, lacks: lacks, run: func(ctx context.Context) error {
			return c.transformers(ctx, model, compiled, overCompiled, "--cache", "static", "--compile")
		}},
	}
}

// transformers times it and compares.
func (c *check) transformers(ctx context.Context, model, program string, ratio float64, args ...string) error {
	args = append([]string{filepath.Join(c.repository, "scripts", "bench_peers", "torch_peer.py"), "--image", c.picture(), "--dtype", "bfloat16",
		"--threads", strconv.Itoa(runtime.NumCPU()), "--device", c.peer}, args...)
	family, pixels, ok := cutLast(model, "-")
	if !ok || strings.HasSuffix(model, "tiny") {
		family, pixels = model, "56"
	}
	args = append(args, "--family", family, "--pixels", pixels)
	s, err := c.turns(ctx, child{path: c.python, args: args, env: []string{"HF_HUB_OFFLINE=1", "TOKENIZERS_PARALLELISM=false",
		"TORCHINDUCTOR_CACHE_DIR=" + filepath.Join(c.scratch, "inductor")}})
	if err != nil {
		return err
	}
	s.Model, s.Program = model, program
	c.report.Speeds = append(c.report.Speeds, s)
	c.compare(s, "bf16", "vision", ratio, func(s speed) float64 { return 1 / s.Vision })
	c.compare(s, "bf16", "prefill", ratio, func(s speed) float64 { return 1 / s.Prefill })
	c.compare(s, "bf16", "decode", ratio, func(s speed) float64 { return s.Decode })
	c.compare(s, "q4_k_m", "decode", ratio, func(s speed) float64 { return s.Decode })
	return nil
}

// turns runs the peer for two turns, of which the second counts, and ends it.
func (c *check) turns(ctx context.Context, p child) (speed, error) {
	var s speed
	d, err := c.begin(ctx, p)
	if err != nil {
		return s, err
	}
	answer, err := d.read() // about itself
	for turn := 0; turn < 2 && err == nil; turn++ {
		if _, err = io.WriteString(d.in, "go\n"); err == nil {
			answer, err = d.read()
		}
	}
	ended := d.end()
	switch {
	case ctx.Err() != nil:
		return s, ctx.Err()
	case err != nil || ended != nil:
		return s, leftOutError("transformers: " + cell(exception(d.stderr.String(), fmt.Sprint(ended))))
	}
	return s, json.Unmarshal([]byte(answer), &s)
}

// exception returns the line that names Python's last exception, or else the last line of a
// text, or something else.
func exception(text, other string) string {
	lines := nonEmpty(text)
	for _, line := range slices.Backward(lines) {
		if name, _, ok := strings.Cut(line, ": "); ok && strings.HasSuffix(name, "Error") && !strings.Contains(name, " ") {
			return line
		}
	}
	return lastOf(text, other)
}

// compare judges the speed of a type by that of a peer.
func (c *check) compare(peer speed, typ, what string, ratio float64, rate func(speed) float64) {
	ours := c.report.speedOf(peer.Model, "paligemma "+typ)
	if ours == nil {
		return
	}
	got := rate(*ours) / rate(peer)
	f := finding{Part: "peers", What: fmt.Sprintf("%s %s: %s, times as fast as %s", peer.Model, typ, what, peer.Program),
		Got: number(got), Aim: "≥ " + number(ratio)}
	elsewhere := ""
	if !c.onGPU() || c.peer != "cuda" {
		elsewhere = "a GPU"
	}
	c.add(f.judged(got >= ratio, elsewhere))
}

// picture is the photograph that models are shown.
func (c *check) picture() string {
	return filepath.Join(c.repository, "testdata", "photos", "rocket.jpg")
}

// scene is a picture as the built-in model knows them.
func (c *check) scene() string {
	return filepath.Join(c.repository, "testdata", "scenes", "demo.png")
}

func cutLast(s, sep string) (before, after string, found bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return s, "", false
}
