package doctest

import (
	"math"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// The speed that README.md shows is that of docs/performance.md, rounded.
func TestSpeed(t *testing.T) {
	shown := tableRows(readFile(t, filepath.Join(root, "README.md")))
	measured := tableRows(readFile(t, filepath.Join(root, "docs", "performance.md")))
	header := measured["program"]
	if header == nil {
		t.Fatal("docs/performance.md has no table of programs")
	}
	for row, column := range map[string]string{
		"caption of 20 tokens":  "caption of 20 tokens, ms",
		"image encoder":         "vision + projector, ms",
		"prefill of 264 tokens": "prefill of 264 tokens, ms",
		"decoding":              "decode, tokens/s",
		"peak memory":           "peak memory, GB",
	} {
		for i, program := range []string{"paligemma q4_k_m", "transformers bfloat16"} {
			t.Run(row+", "+program, func(t *testing.T) {
				place := slices.Index(header, column)
				if place < 0 || len(measured[program]) <= place || len(shown[row]) <= i {
					t.Fatal("a table lacks it")
				}
				if text, median := shown[row][i], measured[program][place]; !rounded(text, median) {
					t.Errorf("README.md has %q, docs/performance.md %q", text, median)
				}
			})
		}
	}
}

func TestRounded(t *testing.T) {
	tests := []struct {
		shown, measured string
		same            bool
	}{
		{"3.1 s", "3094 (3000–3163)", true},
		{"3.2 s", "3094 (3000–3163)", false},
		{"0.46 s", "455 (442–530)", true},
		{"0.45 s", "456 (442–530)", false},
		{"21 tokens/s", "21.4 (19.0–23.5)", true},
		{"22 tokens/s", "21.4 (19.0–23.5)", false},
		{"2.0 GB", "2.03", true},
		{"fast", "2.03", false},
		{"2.0 GB", "–", false},
	}
	for _, tt := range tests {
		t.Run(tt.shown+"|"+tt.measured, func(t *testing.T) {
			if got := rounded(tt.shown, tt.measured); got != tt.same {
				t.Errorf("got %v", got)
			}
		})
	}
}

// tableRows returns the other cells of the rows of a page's tables by the first
// cell; of equal ones the first row that has it.
func tableRows(text string) map[string][]string {
	rows := map[string][]string{}
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if !strings.HasPrefix(line, "| ") {
			continue
		}
		cells := strings.Split(strings.Trim(line, "|"), "|")
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		if rows[cells[0]] == nil {
			rows[cells[0]] = cells[1:]
		}
	}
	return rows
}

// rounded reports whether shown, such as "3.1 s", is what the median at the
// beginning of measured is to as many decimals. Seconds are measured in ms.
func rounded(shown, measured string) bool {
	digits, unit, _ := strings.Cut(shown, " ")
	median, _, _ := strings.Cut(measured, " ")
	a, err := strconv.ParseFloat(digits, 64)
	b, err2 := strconv.ParseFloat(median, 64)
	if err != nil || err2 != nil {
		return false
	}
	if unit == "s" {
		b /= 1000
	}
	_, decimals, _ := strings.Cut(digits, ".")
	return math.Abs(a-b) <= 0.5*math.Pow10(-len(decimals))+1e-9
}
