package main

import (
	"math"
	"strings"
	"testing"
)

func TestNumber(t *testing.T) {
	for v, want := range map[float64]string{0: "–", 0.0123: "0.0123", 1: "1.00", 12.345: "12.3", 123.4: "123", 8000: "8000", math.Inf(1): "–"} {
		if got := number(v); got != want {
			t.Errorf("%v is %q, want %q", v, got, want)
		}
	}
}

func TestMarkdown(t *testing.T) {
	r := report{Version: "v", Device: "cuda0", GPU: "H100", Driver: "580", Minutes: 9, Seconds: 90,
		Speeds:   []speed{{Model: "3b-224", Program: "paligemma bf16", Vision: 4.321, Decode: 400}},
		Findings: []finding{{Part: "a", What: "b", Got: "1|2", Verdict: missed, Why: "two\nlines"}, {Part: "c", What: "d", Verdict: leftOut, Why: "e"}, {Part: "f", What: "g", Why: "for another"}}}
	text := r.markdown()
	for _, want := range []string{"(H100, driver 580)", "1.5 of 9 minutes", "| 3b-224 | paligemma bf16 | 4.32 | – | 400 | – | – |",
		`| a | b | 1\|2 |  | MISSED: two lines |`, "| c | d |  |  | left out: e |", "| f | g |  |  | for another |"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in %s", want, text)
		}
	}
	if !r.missed() {
		t.Error("nothing was missed")
	}
}

func TestRelativeL2(t *testing.T) {
	nan := float32(math.NaN())
	for name, c := range map[string]struct {
		got, want []float32
		distance  float64
	}{
		"same":       {[]float32{3, 4}, []float32{3, 4}, 0},
		"a fifth":    {[]float32{3, 5}, []float32{3, 4}, 0.2},
		"NaN":        {[]float32{3, nan}, []float32{3, 4}, math.Inf(1)},
		"another":    {[]float32{3}, []float32{3, 4}, math.Inf(1)},
		"of nothing": {[]float32{1}, []float32{0}, math.Inf(1)},
	} {
		if d := relativeL2(c.got, c.want); d != c.distance {
			t.Errorf("%s: %v, want %v", name, d, c.distance)
		}
	}
}

func TestCountTests(t *testing.T) {
	output := "=== RUN   TestA\n--- PASS: TestA (0.01s)\n    --- FAIL: TestB/x (0.00s)\n--- FAIL: TestB (0.00s)\n--- SKIP: TestC (0.00s)\nnoise --- FAIL: TestD (0.00s)\nPASS\n"
	c := countTests(output + strings.Repeat("--- FAIL: TestE (0.00s)\n", 9))
	if got := c.String(); got != "1 passed, 10 failed, 1 skipped" {
		t.Error(got)
	}
	if got := countTests("=== RUN   TestA\n--- PASS: TestA (0.01s)\n=== RUN   TestB\n=== RUN   TestB/x\n"); got.running != "TestB" || len(got.ended) != 1 {
		t.Errorf("%+v", got)
	}
	if got := c.names(); !strings.HasPrefix(got, "TestB, TestE, ") || !strings.HasSuffix(got, "TestE and 2 more") {
		t.Error(got)
	}
}
