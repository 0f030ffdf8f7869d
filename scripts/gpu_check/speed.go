package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

const (
	decodeTokens = 100
	mostGraphs   = 2 // that are built to decode them
)

// benchReport is what is read of paligemma bench --format json.
type benchReport struct {
	Open      float64 `json:"open_ms"`
	Vision    float64 `json:"vision_ms"`
	Prefill   float64 `json:"prefill_ms"`
	Decode    float64 `json:"decode_tok_s"`
	Sequences []struct {
		N    int     `json:"n"`
		Rate float64 `json:"tok_s"`
	} `json:"sequences"`
	Graphs struct{ Encode, Prefill, Decode graphs } `json:"graphs"`
}

type graphs struct{ Computed, Built, Splits int }

// speedSteps times a model in all types.
func (c *check) speedSteps(model string, batch bool) []step {
	var steps []step
	for _, typ := range c.types {
		steps = append(steps, step{part: "speed", what: model + " " + typ, need: 20 * time.Second,
			run: func(ctx context.Context) error { return c.time(ctx, model, typ, batch) }})
	}
	return steps
}

// bench runs paligemma bench.
func (c *check) bench(ctx context.Context, args ...string) (benchReport, error) {
	var r benchReport
	args = append([]string{"bench", "--device", c.computes(), "--repetitions", strconv.Itoa(c.repetitions), "--no-probe", "--format", "json", "--quiet"}, args...)
	e, err := c.works(ctx, c.paligemma(args...))
	if err != nil {
		return r, err
	}
	return r, json.Unmarshal([]byte(e.stdout), &r)
}

func (c *check) time(ctx context.Context, model, typ string, batch bool) error {
	args := []string{"--synthetic", model, "--type", typ, "--decode-tokens", strconv.Itoa(decodeTokens)}
	if batch {
		args = append(args, "--sequences", "64")
	}
	r, err := c.bench(ctx, args...)
	if err != nil {
		return err
	}
	line := speed{Model: model, Program: "paligemma " + typ, Vision: r.Vision, Prefill: r.Prefill, Decode: r.Decode, Open: r.Open}
	if len(r.Sequences) > 0 {
		line.Batch = r.Sequences[0].Rate
	}
	c.report.Speeds = append(c.report.Speeds, line)
	what := model + " " + typ
	splits := max(r.Graphs.Encode.Splits, r.Graphs.Prefill.Splits, r.Graphs.Decode.Splits)
	c.judge("speed", what+": splits of a graph", strconv.Itoa(splits), "1", splits == 1)
	if c.onGPU() {
		built := r.Graphs.Decode.Built
		c.judge("speed", fmt.Sprintf("%s: graphs built for %d tokens", what, decodeTokens), strconv.Itoa(built), fmt.Sprintf("at most %d", mostGraphs), built <= mostGraphs)
	}
	for _, a := range aims {
		if a.model == model && a.typ == typ {
			c.judgeAim(a, line)
		}
	}
	return nil
}

// aim is what a model should reach on an H100.
type aim struct {
	model, typ, what string
	value            func(speed) float64
	limit            float64
	unit             string
	least            bool // the limit is the least that is wanted, else the most
}

var aims = []aim{
	{"3b-224", "bf16", "vision", func(s speed) float64 { return s.Vision }, 5, "ms", false},
	{"3b-224", "bf16", "prefill", func(s speed) float64 { return s.Prefill }, 6, "ms", false},
	{"3b-224", "bf16", "decode", func(s speed) float64 { return s.Decode }, 350, "tokens/s", true},
	{"3b-224", "bf16", "64 sequences", func(s speed) float64 { return s.Batch }, 8000, "tokens/s", true},
	{"3b-224", "q4_k_m", "decode", func(s speed) float64 { return s.Decode }, 400, "tokens/s", true},
}

// judgeAim compares a speed with its aim, where the card is one that the aim is for.
func (c *check) judgeAim(a aim, s speed) {
	sign, got := "≤", a.value(s)
	ok := got <= a.limit
	if a.least {
		sign, ok = "≥", got >= a.limit
	}
	f := finding{Part: "speed", What: fmt.Sprintf("%s %s: %s", a.model, a.typ, a.what), Got: number(got) + " " + a.unit,
		Aim: fmt.Sprintf("%s %s %s", sign, number(a.limit), a.unit)}
	c.add(f.judged(ok, c.lacksHopper()))
}

// lacksHopper names the card that aims at speed are for, unless this is one, or a faster one, and no part of it.
func (c *check) lacksHopper() string {
	for _, name := range []string{"H100", "H200", "B100", "B200"} {
		if strings.Contains(c.report.GPU, name) && !strings.Contains(c.report.GPU, "MIG") {
			return ""
		}
	}
	return "a whole H100"
}

// openingLimit is for the weights of 3b-224 in bf16, 5.9 GB.
const openingLimit = 1500 // ms

// opening times how long a file takes that the system has in memory.
func (c *check) opening(ctx context.Context, file string) error {
	info, err := os.Stat(file)
	if err != nil {
		return err
	}
	size := info.Size()
	r, err := c.bench(ctx, "--model", file, "--decode-tokens", "1")
	if err != nil {
		return err
	}
	f := finding{Part: "speed", What: "opening " + filepath.Base(file) + ", " + gigabytes(size), Got: number(r.Open) + " ms"}
	if size > 5e9 && size < 7e9 {
		f.Aim = fmt.Sprintf("≤ %d ms", openingLimit)
		f = f.judged(r.Open <= openingLimit, c.lacksHopper())
	}
	c.add(f)
	return nil
}

func gigabytes(n int64) string { return fmt.Sprintf("%.2f GB", float64(n)/1e9) }
