package cli

import (
	"bytes"
	"math"
	"os"
	"slices"
	"strings"
	"testing"

	"paligemma/internal/result"
)

// TestCoordinate: no exponent, and four decimals at most.
func TestCoordinate(t *testing.T) {
	for _, c := range []struct {
		v    float64
		want string
	}{{0, "0"}, {0.00004, "0"}, {0.00005, "0.0001"}, {1.0 / 3, "0.3333"}, {-2.5, "-2.5"}, {1e9 + 0.5, "1000000000.5"}} {
		t.Run(c.want, func(t *testing.T) {
			if got := coordinate(c.v); got != c.want {
				t.Errorf("%s, want %s", got, c.want)
			}
		})
	}
}

func TestShares(t *testing.T) {
	for _, c := range []struct {
		name string
		sums []float64
		want []float64
	}{
		{"one", []float64{-3}, []float64{1}},
		{"equal", []float64{-1, -1}, []float64{0.5, 0.5}},
		{"three to one", []float64{0, -math.Log(3)}, []float64{0.75, 0.25}},
		{"too unlikely for a float64", []float64{-5000, -5000 - math.Log(3)}, []float64{0.75, 0.25}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var scores []result.Score
			for _, sum := range c.sums {
				scores = append(scores, result.Score{Sum: sum})
			}
			for i, got := range shares(scores) {
				if math.Abs(got-c.want[i]) > 1e-9 {
					t.Errorf("%d: %v, want %v", i, got, c.want[i])
				}
			}
		})
	}
}

// TestScoreTable: people get a header and percentages, pipes plain numbers.
func TestScoreTable(t *testing.T) {
	args := []string{"score", "--prompt", "x", "--suffix", "a\tb", "--suffix", "", "-m", fixture(t, "MODEL")}
	_, table, errs := runArgs(t, t.Context(), true, args...)
	lines := strings.Split(table, "\n")
	if len(lines) != 4 || !slices.Equal(strings.Fields(lines[0]), scoreHeader()) || !strings.Contains(lines[1], "%  ") || !strings.HasSuffix(lines[2], `  a\tb`) {
		t.Errorf("%s%s", table, errs)
	}
	if _, piped, _ := runArgs(t, t.Context(), false, args...); strings.Contains(piped, "%") || strings.Contains(piped, "SHARE") {
		t.Error(piped)
	}
}

// TestOpenPreview: there are previews where a terminal shows pictures, and a note
// where it does not.
func TestOpenPreview(t *testing.T) {
	file, err := os.Open(os.DevNull) // no terminal
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	for _, c := range []struct {
		name   string
		tty    bool
		format string
		wanted bool
		note   string
	}{
		{"not asked for", true, formatText, false, ""},
		{"a pipe", false, formatText, true, ""},
		{"JSON", true, formatJSON, true, "not in --format json"},
		{"no such terminal", true, formatText, true, "this terminal shows no pictures"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var errs bytes.Buffer
			a := &app{Streams: Streams{Err: &errs, OutTTY: c.tty}, screen: file, common: commonOptions{Format: c.format}}
			if a.openPreview(&objectOptions{Preview: c.wanted}) != nil {
				t.Error("there is a preview")
			}
			if got := errs.String(); (c.note == "") != (got == "") || !strings.Contains(got, c.note) || strings.Count(got, "\n") > 1 {
				t.Errorf("note %q, want %q", got, c.note)
			}
		})
	}
}
