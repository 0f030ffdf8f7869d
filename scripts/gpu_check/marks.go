package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"time"

	"paligemma/internal/demo/eval"
)

// markLimit is how far a mark may be from that on the CPU, in points of a hundred.
const markLimit = 0.3

// scenesTogether are answered by one run of the program. What a device has no time for is
// left out, run by run.
const scenesTogether = 100

// marking is what the marks of the built-in model are made of, as scripts/eval gives them.
// The CPU's answers are made while the tests run.
type marking struct {
	stop  context.CancelFunc
	done  chan struct{}
	cases []eval.Case
	cpu   answers
	err   error // none of these to be read before done
}

// answers are what a device says about the first scenes.
type answers struct {
	scenes int
	lines  bytes.Buffer
}

// beginMarks starts to make the CPU's answers, when the files are made.
func (c *check) beginMarks(ctx context.Context) {
	ctx, stop := context.WithCancel(context.WithoutCancel(ctx))
	m := &marking{stop: stop, done: make(chan struct{})}
	c.marking = m
	go func() {
		defer close(m.done)
		if c.files != nil {
			<-c.files.done
		}
		dir := filepath.Join(c.scratch, "scenes")
		if m.err = os.MkdirAll(dir, 0o777); m.err == nil {
			m.cases, m.err = eval.Draw(dir, 1, c.scenes)
		}
		if m.err == nil { // small products are not faster on more threads
			m.err = c.answer(ctx, &m.cpu, "cpu", m.cases, min(runtime.NumCPU(), 64))
		}
	}()
}

// waitMarks waits for the CPU's answers, and stops them when its time is over, so that
// nothing else runs when speed is measured.
func (c *check) waitMarks(ctx context.Context) error {
	select {
	case <-c.marking.done:
	case <-ctx.Done():
	}
	c.marking.end()
	return nil
}

// end stops what is still being made.
func (m *marking) end() {
	if m != nil {
		m.stop()
		<-m.done
	}
}

// marks compares the device's marks with those on the CPU, of the scenes that both had time
// for.
func (c *check) marks(ctx context.Context) error {
	m := c.marking
	m.end()
	defer os.RemoveAll(filepath.Join(c.scratch, "scenes"))
	switch {
	case m.err != nil && !errors.Is(m.err, context.Canceled):
		return m.err
	case m.cpu.scenes == 0:
		return leftOutError("the CPU had no time for any")
	}
	var device answers
	err := c.answer(ctx, &device, c.computes(), m.cases[:m.cpu.scenes], 1)
	if err != nil && (ctx.Err() == nil || device.scenes == 0) {
		return err
	}
	cases := m.cases[:device.scenes]
	got, err := eval.Mark(cases, &device.lines)
	if err != nil {
		return err
	}
	want, err := eval.Mark(cases, &m.cpu.lines)
	if err != nil {
		return err
	}
	c.judgeMarks(got, want, device.scenes)
	return nil
}

// judgeMarks compares marks of the first scenes.
func (c *check) judgeMarks(got, want *eval.Scores, scenes int) {
	worst, which := 0.0, "all"
	values := markValues(want)
	for i, v := range markValues(got) {
		if d := 100 * math.Abs(v.value-values[i].value); d > worst {
			worst, which = d, fmt.Sprintf("%s %.1f for %.1f", v.name, 100*v.value, 100*values[i].value)
		}
	}
	of := fmt.Sprintf("%d scenes", scenes)
	switch {
	case scenes == c.scenes:
	case scenes == c.marking.cpu.scenes:
		of += fmt.Sprintf(" (the CPU had no time for %d)", c.scenes)
	default:
		of += fmt.Sprintf(" (no time was left for %d)", c.scenes)
	}
	c.judge("marks", "largest difference to the CPU's marks, "+of,
		fmt.Sprintf("%.2f points (%s)", worst, which), fmt.Sprintf("≤ %g points", markLimit), worst <= markLimit)
}

// answer has a device answer what is asked about scenes, until the time is over.
func (c *check) answer(ctx context.Context, a *answers, device string, cases []eval.Case, workers int) error {
	for some := range slices.Chunk(cases, scenesTogether) {
		start := time.Now()
		lines, err := c.ask(ctx, device, some, workers)
		if err != nil {
			return err
		}
		a.scenes += len(some)
		a.lines.Write(lines)
		if end, ok := ctx.Deadline(); ok && time.Until(end) < time.Since(start)*3/2 {
			break
		}
	}
	return nil
}

// ask runs the program once, for all of some scenes.
func (c *check) ask(ctx context.Context, device string, cases []eval.Case, workers int) ([]byte, error) {
	var requests bytes.Buffer
	if err := eval.WriteRequests(&requests, cases); err != nil {
		return nil, err
	}
	path := filepath.Join(c.scratch, "answers-"+device+".jsonl")
	defer os.Remove(path)
	p := c.paligemma("generate", "--requests", "-", "--output", path, "--overwrite", "--device", device, "--workers", strconv.Itoa(workers), "--quiet")
	p.stdin = &requests
	if _, err := c.works(ctx, p); err != nil {
		return nil, err
	}
	return os.ReadFile(path)
}

type markValue struct {
	name  string
	value float64 // 0 to 1
}

func markValues(s *eval.Scores) []markValue {
	return []markValue{
		{"caption F1", s.CaptionF1()}, {"VQA", s.VQAMean()}, {"detect F1", s.Detect.F1()}, {"box IoU", s.Box.Value()},
		{"mask IoU", s.Mask.Value()}, {"OCR", s.OCR.Value()}, {"absent", s.Absent.Value()},
	}
}
