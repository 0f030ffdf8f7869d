package main

import (
	"bytes"
	"context"
	"fmt"
	"math"
	"os"
	"path/filepath"

	"paligemma/internal/demo/eval"
)

// markLimit is how far a mark may be from that on the CPU, in points of a hundred.
const markLimit = 0.3

// marks compares the marks of the built-in model, as scripts/eval gives them, with those
// on the CPU.
func (c *check) marks(ctx context.Context) error {
	dir := filepath.Join(c.scratch, "scenes")
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	cases, err := eval.Draw(dir, 1, c.scenes)
	if err != nil {
		return err
	}
	var requests bytes.Buffer
	if err := eval.WriteRequests(&requests, cases); err != nil {
		return err
	}
	got, err := c.mark(ctx, c.computes(), cases, requests.Bytes())
	if err != nil {
		return err
	}
	want, err := c.mark(ctx, "cpu", cases, requests.Bytes())
	if err != nil {
		return err
	}
	worst, which := 0.0, "all"
	values := markValues(want)
	for i, m := range markValues(got) {
		if d := 100 * math.Abs(m.value-values[i].value); d > worst {
			worst, which = d, fmt.Sprintf("%s %.1f for %.1f", m.name, 100*m.value, 100*values[i].value)
		}
	}
	c.judge("marks", fmt.Sprintf("largest difference to the CPU's marks, %d scenes", c.scenes),
		fmt.Sprintf("%.2f points (%s)", worst, which), fmt.Sprintf("≤ %g points", markLimit), worst <= markLimit)
	return nil
}

// mark answers all requests on a device, several together.
func (c *check) mark(ctx context.Context, device string, cases []eval.Case, requests []byte) (*eval.Scores, error) {
	answers := filepath.Join(c.scratch, "answers.jsonl")
	defer os.Remove(answers)
	p := c.paligemma("generate", "--requests", "-", "--output", answers, "--overwrite", "--device", device, "--quiet")
	p.stdin = bytes.NewReader(requests)
	if _, err := c.works(ctx, p); err != nil {
		return nil, err
	}
	f, err := os.Open(answers)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return eval.Mark(cases, f)
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
