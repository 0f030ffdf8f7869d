package main

import (
	"bufio"
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"time"
)

// testPackages are those whose tests compute on $PALIGEMMA_TEST_DEVICE.
var testPackages = []string{"ggml", "model"}

func (c *check) testSteps() []step {
	var steps []step
	for _, name := range testPackages {
		steps = append(steps, step{part: "tests", what: "tests of internal/" + name, need: 30 * time.Second,
			run: func(ctx context.Context) error { return c.test(ctx, name) }})
	}
	return steps
}

// test runs the tests of a package. Those of the CPU's instruction sets are left out: they
// run all others again.
func (c *check) test(ctx context.Context, name string) error {
	folder := filepath.Join(c.programs, "internal", name)
	p := c.paligemma("-test.v", "-test.skip", "^TestInstructionSets$", "-test.timeout", time.Until(c.deadline).String())
	p.path, p.dir = filepath.Join(folder, name+".test"), folder
	p.env = append(p.env, "PALIGEMMA_TEST_DEVICE="+c.device, "NVIDIA_TF32_OVERRIDE=0")
	e, err := c.exec(ctx, p)
	counts := countTests(e.stdout)
	what := "tests of internal/" + name
	if err != nil {
		if len(counts.failed) > 0 {
			c.judge("tests", what, counts.String(), "all pass", false)
		}
		return err
	}
	f := finding{Part: "tests", What: what, Got: counts.String(), Aim: "all pass", Verdict: met}
	switch {
	case len(counts.failed) > 0:
		f.Verdict, f.Why = missed, counts.names()
	case e.code != 0:
		f.Verdict, f.Why = missed, fmt.Sprintf("exit status %d: %s", e.code, e.lastLine())
	case counts.passed == 0:
		f.Verdict, f.Why = missed, "no test ran"
	}
	c.add(f)
	return nil
}

// testCounts counts tests, subtests not.
type testCounts struct {
	passed, skipped int
	failed          []string
}

func (t testCounts) String() string {
	return fmt.Sprintf("%d passed, %d failed, %d skipped", t.passed, len(t.failed), t.skipped)
}

// names lists the tests that failed, the first of them.
func (t testCounts) names() string {
	const most = 8
	if n := len(t.failed); n > most {
		return fmt.Sprintf("%s and %d more", strings.Join(t.failed[:most], ", "), n-most)
	}
	return strings.Join(t.failed, ", ")
}

// countTests reads what a test binary prints with -test.v.
func countTests(output string) testCounts {
	var t testCounts
	lines := bufio.NewScanner(strings.NewReader(output))
	lines.Buffer(nil, len(output)+1)
	for lines.Scan() {
		result, name, ok := strings.Cut(strings.TrimPrefix(lines.Text(), "--- "), ": ")
		if !ok || !strings.HasPrefix(lines.Text(), "--- ") {
			continue
		}
		name, _, _ = strings.Cut(name, " ")
		switch result {
		case "PASS":
			t.passed++
		case "SKIP":
			t.skipped++
		case "FAIL":
			t.failed = append(t.failed, name)
		}
	}
	return t
}
