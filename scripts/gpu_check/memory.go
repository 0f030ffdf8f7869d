package main

import (
	"context"
	"fmt"
	"strings"
)

// balloon is a program that fills the card's memory but for 1 GB, says so, and waits.
const balloon = `
import sys, torch
kept = []
size = 1 << 30
while True:
    free = torch.cuda.mem_get_info()[0]
    if free < 2 * size: break
    kept.append(torch.empty(min(free - size, 16 * size), dtype=torch.uint8, device="cuda"))
print("full", flush=True)
sys.stdin.readline()
`

// errorLimit is how long a message may be, in bytes.
const errorLimit = 500

// lacksBalloon says what is missing to fill the card's memory.
func (c *check) lacksBalloon() string {
	if c.oversized == "" && c.torch != "" && c.peer == "cuda" {
		return "nothing fills the card's memory: " + c.torch
	}
	return ""
}

// outOfMemory asks for more memory than there is, and wants one line for it.
func (c *check) outOfMemory(ctx context.Context) error {
	model, typ, _ := strings.Cut(c.oversized, ":")
	switch {
	case model != "":
	case c.peer == "cuda":
		model, typ = c.models[0], "bf16"
		release, err := c.inflate(ctx)
		if err != nil {
			return err
		}
		defer release()
	default:
		model, typ = "pg2-28b-896", "f32"
	}
	args := []string{"bench", "--synthetic", model, "--device", c.computes(), "--repetitions", "1", "--no-probe", "--quiet"}
	if typ != "" {
		args = append(args, "--type", typ)
	}
	e, err := c.exec(ctx, c.paligemma(args...))
	if err != nil {
		return err
	}
	got, ok := oneLine(e)
	c.judge("memory", model+" "+typ+" where it does not fit", got, "one line, exit status 1", ok)
	return nil
}

// oneLine reports whether a program ended with a message of one line.
func oneLine(e ended) (got string, ok bool) {
	lines := nonEmpty(e.stderr)
	got = fmt.Sprintf("exit status %d, %d lines: %s", e.code, len(lines), e.lastLine())
	return got, e.code == 1 && len(lines) == 1 && len(lines[0]) <= errorLimit
}

// inflate fills the card's memory until release is called.
func (c *check) inflate(ctx context.Context) (release func(), err error) {
	d, err := c.begin(ctx, child{path: c.python, args: []string{"-c", balloon}})
	if err != nil {
		return nil, err
	}
	if line, err := d.read(); strings.TrimSpace(line) != "full" {
		d.end()
		return nil, leftOutError("the card's memory could not be filled: " + exception(d.stderr.String(), fmt.Sprint(err)))
	}
	return func() { d.end() }, nil
}
