package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// parts are the names that -only takes, in order.
var parts = []string{"tests", "speed", "peers", "logits", "memory", "marks", "sanitizer"}

// check is a run of the program.
type check struct {
	options
	programs   string // folder of bin, with the programs that prepare builds
	repository string // folder of scripts and testdata
	start      time.Time
	deadline   time.Time
	log        io.WriteCloser
	report     report
	absent     string      // why the device is not there; "" where it is
	libraries  []string    // folders of CUDA's libraries, for paligemma
	torch      string      // what is missing to run transformers; "" where nothing is
	peer       string      // device of transformers
	files      *modelFiles // nil: not begun
	marking    *marking    // nil: not begun
	ofCPU      struct {    // what it computed last in f32
		question question
		logits   []float32
	}
}

// step is a part of the check, or one of several.
type step struct {
	part   string
	what   string
	need   time.Duration // what it takes on a GPU of a data center, more or less; it is ended after three times that
	always bool          // also without the device
	lacks  func() string // what is missing for it; nil: nothing else than the device
	run    func(context.Context) error
}

// patience is how many times as long as it should take a step may take.
const patience = 3

// leftOutError is the error of a step that could not be done, for no fault of paligemma.
type leftOutError string

func (e leftOutError) Error() string { return string(e) }

func newCheck(o options, programs string) (*check, error) {
	if err := os.MkdirAll(o.out, 0o777); err != nil {
		return nil, err
	}
	repository, err := os.Getwd()
	if err != nil {
		return nil, err
	}
	log, err := os.Create(filepath.Join(o.out, "log.txt"))
	if err != nil {
		return nil, err
	}
	c := &check{options: o, programs: programs, repository: repository, start: time.Now(), log: log, peer: "cpu"}
	c.deadline = c.start.Add(time.Duration(o.minutes * float64(time.Minute)))
	if strings.HasPrefix(o.device, "cuda") {
		c.peer = "cuda"
	}
	c.report = report{Date: c.start.Format(time.RFC3339), Device: o.device, Minutes: o.minutes}
	return c, nil
}

func (c *check) close() {
	c.files.end()
	c.marking.end()
	c.log.Close()
}

// computes returns the device that the binary is given: it has no graphs of other devices
// on the CPU, which are for tests.
func (c *check) computes() string {
	if c.device == "plain" {
		return "cpu"
	}
	return c.device
}

// onGPU reports whether a device other than the CPU is checked, and aims at speed count.
func (c *check) onGPU() bool { return c.computes() != "cpu" }

// steps lists what is to be done, in the order of its value.
func (c *check) steps() []step {
	first := c.models[0]
	steps := []step{{part: "machine", what: "driver and devices", need: 20 * time.Second, always: true, run: c.machine}}
	steps = append(steps, c.testSteps()...)
	steps = append(steps, c.builtInStep(), c.filesStep(),
		step{part: "marks", what: "marks of the CPU", need: 10 * time.Second, run: c.waitMarks})
	steps = append(steps, c.speedSteps(first, true)...)
	steps = append(steps, c.logitSteps()...)
	for _, model := range c.models[1:] {
		steps = append(steps, c.speedSteps(model, false)...)
	}
	steps = append(steps, step{part: "machine", what: "torch and transformers", need: 40 * time.Second, always: true, run: c.findTorch})
	steps = append(steps, c.peerSteps(first)...)
	steps = append(steps,
		step{part: "memory", what: "out of memory is one line", need: 20 * time.Second, lacks: c.lacksBalloon, run: c.outOfMemory},
		step{part: "marks", what: "marks of the built-in model", need: 20 * time.Second, run: c.marks},
		c.packageStep(lateTests),
		step{part: "sanitizer", what: "compute-sanitizer", need: 45 * time.Second, lacks: c.lacksSanitizer, run: c.sanitize})
	for _, model := range c.models[1:] {
		steps = append(steps, c.peerSteps(model)...)
	}
	return slices.DeleteFunc(steps, func(s step) bool {
		return !s.always && !c.wants(s.part)
	})
}

// wants reports whether a part is to be done.
func (c *check) wants(part string) bool { return len(c.only) == 0 || slices.Contains(c.only, part) }

// all does the steps, and saves the report after each of them.
func (c *check) all(ctx context.Context) error {
	for _, s := range c.steps() {
		c.do(ctx, s)
		if err := c.save(); err != nil {
			return err
		}
	}
	switch {
	case c.report.missed():
		return errMissed
	case errors.Is(ctx.Err(), context.Canceled):
		return ctx.Err()
	}
	return nil
}

// do does a step, if all that it needs is there, and notes what kept it from being done.
func (c *check) do(ctx context.Context, s step) {
	left := time.Until(c.deadline).Round(time.Second)
	why := ""
	switch {
	case !s.always && c.absent != "":
		why = c.absent
	case s.lacks != nil:
		why = s.lacks()
	}
	if why == "" && left < s.need {
		why = fmt.Sprintf("it takes about %v, and %v of the time limit are left", s.need, max(left, 0))
	}
	if why != "" {
		c.leaveOut(s, why)
		return
	}
	fmt.Fprintf(os.Stderr, "gpu_check: %s: %s (%v left)\n", s.part, s.what, left)
	c.report.Running = s.part + ": " + s.what // for who ends this program without a word
	err := c.save()
	start := time.Now()
	limited, cancel := context.WithTimeout(ctx, patience*s.need)
	defer cancel()
	if err == nil {
		err = s.run(limited)
	}
	c.report.Running = ""
	c.report.Steps = append(c.report.Steps, timing{s.part + ": " + s.what, time.Since(start).Seconds()})
	var lacks leftOutError
	switch {
	case err == nil:
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		c.leaveOut(s, "it was cut off by the time limit")
	case ctx.Err() != nil:
		c.leaveOut(s, "it was interrupted")
	case errors.As(err, &lacks):
		c.leaveOut(s, err.Error())
	case limited.Err() != nil:
		f := finding{Part: s.part, What: s.what, Verdict: missed, Why: fmt.Sprintf("it was ended after %v; it should take about %v", patience*s.need, s.need)}
		if s.part == "peers" || s.part == "machine" { // other programs
			f.Verdict = leftOut
		}
		c.add(f)
	default:
		c.add(finding{Part: s.part, What: s.what, Verdict: missed, Why: err.Error()})
	}
}

func (c *check) leaveOut(s step, why string) {
	c.add(finding{Part: s.part, What: s.what, Verdict: leftOut, Why: why})
}

func (c *check) add(f finding) { c.report.Findings = append(c.report.Findings, f) }

// judge adds a finding with an aim.
func (c *check) judge(part, what, got, aim string, ok bool) {
	c.add(finding{Part: part, What: what, Got: got, Aim: aim}.judged(ok, ""))
}

// save writes the report, as far as it goes.
func (c *check) save() error {
	c.report.Seconds = time.Since(c.start).Seconds()
	data, err := json.MarshalIndent(c.report, "", "  ")
	if err != nil {
		return err
	}
	return errors.Join(
		replace(filepath.Join(c.out, "gpu_check.json"), append(data, '\n')),
		replace(filepath.Join(c.out, "gpu_check.md"), []byte(c.report.markdown())))
}

// replace writes a file that is whole whenever this program is ended.
func replace(path string, data []byte) error {
	part := filepath.Join(filepath.Dir(path), "."+filepath.Base(path))
	if err := os.WriteFile(part, data, 0o666); err != nil {
		return err
	}
	return os.Rename(part, path)
}
