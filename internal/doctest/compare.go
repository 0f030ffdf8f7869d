package doctest

import (
	"fmt"
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
