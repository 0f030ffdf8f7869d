package main

import (
	"bufio"
	"context"
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
)

// testPackages are those whose tests compute on $PALIGEMMA_TEST_DEVICE.
var testPackages = []string{"ggml", "model", lateTests}

// lateTests is the package that is tested after what comes first in value: it asks of a device
// what the others do, in the company of other requests.
const lateTests = "engine"

// goldenTests compare with what transformers computed in float32.
const goldenTests = "^Test(Forward|Generate|Score)MatchesTransformers$"

// hostTests are of the host: they run all others again with each instruction set, want a C
// compiler or the loopback address, look at its memory, or compute on the CPU alone, for long.
var hostTests = []string{"TestInstructionSets", "TestBuiltForAnotherProcessor", "TestPlugin.*", "FuzzPlugin",
	"TestBrokenDrivers", "TestEndsUnread", "TestHostMemory", "TestServerKilled", "TestLargeGraphs", "TestFlat"}

// testLimit ends a test binary that hangs; another runs the rest.
const testLimit = 100 * time.Second

func (c *check) testSteps() []step {
	steps := []step{{part: "tests", what: "goldens in f32", need: 20 * time.Second,
		run: func(ctx context.Context) error { return c.test(ctx, "goldens in f32", "model", goldenTests) }}}
	for _, name := range testPackages {
		if name != lateTests {
			steps = append(steps, c.packageStep(name))
		}
	}
	return steps
}

// packageStep is all tests of a package.
func (c *check) packageStep(name string) step {
	what := "tests of internal/" + name
	return step{part: "tests", what: what, need: time.Minute,
		run: func(ctx context.Context) error { return c.test(ctx, what, name, ".") }}
}

// test runs the tests of a package that match. A device that fails ends the process: the tests
// that it kept from running are run in another.
func (c *check) test(ctx context.Context, what, name, match string) error {
	const most = 6 // processes
	var total testCounts
	var err error
	why, skip := "", slices.Clone(hostTests)
	for range most {
		var e ended
		e, err = c.exec(ctx, c.testBinary(name, match, skip))
		counts := countTests(e.stdout)
		total.add(counts)
		if why == "" && e.code != 0 && (err != nil || len(counts.failed) == 0) {
			why = fmt.Sprintf("exit status %d: %s", e.code, e.panicOrLastLine())
		}
		if counts.running == "" || err != nil {
			break
		}
		total.failed = append(total.failed, counts.running)
		skip = append(skip, regexp.QuoteMeta(counts.running))
		for _, ended := range counts.ended {
			skip = append(skip, regexp.QuoteMeta(ended))
		}
	}
	if err != nil { // no time is left, and the caller says so
		why = "at its end: " + total.running
	}
	if len(total.ended) > 0 || err == nil {
		c.add(total.finding(what, why, err != nil))
	}
	return err
}

// finding judges the tests; cut off, what is missing is no fault of theirs.
func (t testCounts) finding(what, why string, cutOff bool) finding {
	f := finding{Part: "tests", What: what, Got: t.String(), Aim: "all pass", Verdict: met}
	switch {
	case len(t.failed) > 0:
		f.Verdict, f.Why = missed, strings.TrimSuffix(t.names()+"; "+why, "; ")
	case cutOff:
		f.Verdict, f.Why = leftOut, why
	case why != "":
		f.Verdict, f.Why = missed, why
	case t.passed == 0:
		f.Verdict, f.Why = missed, "no test ran"
	}
	return f
}

func (c *check) testBinary(name, match string, skip []string) child {
	p := c.paligemma("-test.v", "-test.run", match, "-test.skip", "^("+strings.Join(skip, "|")+")$", "-test.timeout", testLimit.String())
	p.path, p.dir = filepath.Join(c.programs, "bin", name+".test"), filepath.Join(c.repository, "internal", name)
	p.env = append(p.env, "PALIGEMMA_TEST_DEVICE="+c.device)
	return p
}

// testCounts counts tests, without their subtests.
type testCounts struct {
	passed, skipped int
	failed          []string
	ended           []string // all of those
	running         string   // the one that did not end
}

func (t *testCounts) add(more testCounts) {
	t.passed += more.passed
	t.skipped += more.skipped
	t.failed = append(t.failed, more.failed...)
	t.ended = append(t.ended, more.ended...)
	t.running = more.running
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
		line := lines.Text()
		if name, ok := strings.CutPrefix(line, "=== RUN   "); ok && !strings.Contains(name, "/") {
			t.running = name
		}
		result, name, ok := strings.Cut(strings.TrimPrefix(line, "--- "), ": ")
		if !ok || !strings.HasPrefix(line, "--- ") {
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
		default:
			continue
		}
		t.ended = append(t.ended, name)
		if t.running == name {
			t.running = ""
		}
	}
	return t
}
