package main

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"paligemma/internal/demo/eval"
)

// TestMarksInTime has more scenes than one run answers, and not always time for a second one.
func TestMarksInTime(t *testing.T) {
	const scenes = scenesTogether + 10
	for name, c := range map[string]struct {
		second string // what the device does in the second run
		cpu    int    // scenes that the CPU had time for
		want   string
	}{
		"for all":           {"", scenes, "110 scenes"},
		"of the CPU":        {"", scenesTogether, "100 scenes (the CPU had no time for 110)"},
		"of the device":     {"sleep 60", scenes, "100 scenes (no time was left for 110)"},
		"not for any":       {"", 0, "left out: the CPU had no time for any"},
		"a run that failed": {"echo kaput >&2; exit 3", scenes, "exit status 3: kaput"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("FAKE_SECOND", c.second)
			o, programs := fakeCheck(t)
			o.scenes = scenes
			k, err := newCheck(o, programs)
			if err != nil {
				t.Fatal(err)
			}
			defer k.close()
			cases, err := eval.Draw(t.TempDir(), 1, 1)
			if err != nil {
				t.Fatal(err)
			}
			m := &marking{stop: func() {}, done: make(chan struct{}), cases: slices.Repeat(cases, scenes)}
			close(m.done)
			if err := k.answer(t.Context(), &m.cpu, "cpu", m.cases[:c.cpu], 1); err != nil {
				t.Fatal(err)
			}
			k.marking = m
			ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
			defer cancel()
			k.do(ctx, step{part: "marks", what: "marks", need: time.Second, run: k.marks})
			if text := k.report.markdown(); !strings.Contains(text, c.want+" |") {
				t.Errorf("%q is not in %s", c.want, text)
			}
		})
	}
}

// TestSlowCPU stops a CPU that is not done when speed is to be measured.
func TestSlowCPU(t *testing.T) {
	t.Setenv("FAKE_CPU", "sleep 60")
	o, programs := fakeCheck(t)
	o.scenes = 1
	c, err := newCheck(o, programs)
	if err != nil {
		t.Fatal(err)
	}
	defer c.close()
	c.beginMarks(t.Context())
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := c.waitMarks(ctx); err != nil {
		t.Error(err)
	}
	select {
	case <-c.marking.done:
	default:
		t.Error("the CPU goes on")
	}
	var lacks leftOutError
	if err := c.marks(t.Context()); !errors.As(err, &lacks) {
		t.Errorf("error %v", err)
	}
}

// TestJudgeMarks names the mark that differs the most, and judges it.
func TestJudgeMarks(t *testing.T) {
	scores := func(mask, ocr float64) *eval.Scores {
		return &eval.Scores{Mask: eval.Mean{Sum: mask, N: 1000}, OCR: eval.Mean{Sum: ocr, N: 1000}}
	}
	for _, test := range []struct {
		mask, ocr float64 // of a thousand; on the CPU 800 and 900
		got       string
		verdict   verdict
	}{
		{800, 900, "0.00 points (all)", met},
		{801, 897.5, "0.25 points (OCR 89.8 for 90.0)", met},
		{803.5, 901, "0.35 points (mask IoU 80.3 for 80.0)", missed},
	} {
		c := &check{options: options{scenes: 10}}
		c.judgeMarks(scores(test.mask, test.ocr), scores(800, 900), 10)
		if f := c.report.Findings[0]; f.Got != test.got || f.Verdict != test.verdict || !strings.HasSuffix(f.What, "10 scenes") {
			t.Errorf("%+v, want %q, %s", f, test.got, test.verdict)
		}
	}
}
