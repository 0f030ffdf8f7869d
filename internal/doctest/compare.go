package doctest

import (
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Compare returns what is wrong with each command, with its line, and, if an
// output differs from the one shown, the outputs for [Rewrite].
func Compare(blocks []Block, results []Result) (wrong []string, outputs [][]string) {
	differ := false
	i := 0
	for _, b := range blocks {
		for _, c := range b.Commands {
			r := results[i]
			i++
			outputs = append(outputs, nil)
			switch {
			case r.Missing != nil:
			case r.Failed != "":
				wrong = append(wrong, fmt.Sprintf("%d: %s\n%s\n%s", c.Line, c.Text, r.Failed, r.Errors))
			case b.Language == Console && b.Needs == "" && !Matches(c.Output, r.Output):
				wrong = append(wrong, fmt.Sprintf("%d: %s\nprints\n%s\nbut the page shows\n%s", c.Line, c.Text,
					strings.Join(r.Output, "\n"), strings.Join(c.Output, "\n")))
				outputs[i-1], differ = append([]string{}, r.Output...), true
			}
		}
	}
	if !differ {
		return wrong, nil
	}
	return wrong, outputs
}

// Matches reports whether got is the output that want shows, where Anything
// stands for any number of lines.
func Matches(want, got []string) bool {
	for i, line := range want {
		if line == Anything {
			for skip := range len(got) - i + 1 {
				if Matches(want[i+1:], got[i+skip:]) {
					return true
				}
			}
			return false
		}
		if i >= len(got) || !sameLine(line, got[i]) {
			return false
		}
	}
	return len(want) == len(got)
}

// number matches what may be a coordinate, a location token or a size.
var number = regexp.MustCompile(`[0-9]+(\.[0-9]+)?`)

// sameLine reports whether two lines are equal but for the last bits of a
// computation, which differ between processors and move boxes by a pixel or
// two.
func sameLine(want, got string) bool {
	if want == got {
		return true
	}
	if number.ReplaceAllString(want, "0") != number.ReplaceAllString(got, "0") {
		return false
	}
	return slices.EqualFunc(number.FindAllString(want, -1), number.FindAllString(got, -1), near)
}

// near reports whether two numbers with equally many decimals differ by at
// most 5, if both are 10 or more, or 2 %. Integers of one or two digits are
// counts, which are exact.
func near(a, b string) bool {
	if a == b {
		return true
	}
	_, fractionA, decimal := strings.Cut(a, ".")
	_, fractionB, _ := strings.Cut(b, ".")
	if len(fractionA) != len(fractionB) || !decimal && min(len(a), len(b)) < 3 {
		return false
	}
	x, err := strconv.ParseFloat(a, 64)
	y, err2 := strconv.ParseFloat(b, 64)
	if err != nil || err2 != nil {
		return false
	}
	limit := 0.02 * math.Max(x, y)
	if math.Min(x, y) >= 10 {
		limit = math.Max(limit, 5)
	}
	return math.Abs(x-y) <= limit
}
