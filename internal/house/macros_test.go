package house

import (
	"strings"
	"testing"
)

// maxContinued is the number of continued lines that all macros together may
// have: a debugger, a formatter and grep cannot look into one.
const maxContinued = 60

// TestMacros counts the lines of C macros that go on in the next one.
func TestMacros(t *testing.T) {
	total := 0
	for _, extension := range []string{".c", ".h"} {
		walk(t, extension, func(path string, source []byte) {
			n := continued(string(source))
			total += n
			t.Logf("%s: %d", path, n)
		})
	}
	if total > maxContinued {
		t.Errorf("macros have %d continued lines, want at most %d: write functions", total, maxContinued)
	}
}

// continued counts the lines of #define that end with a backslash.
func continued(source string) (n int) {
	inside := false
	for line := range strings.Lines(source) {
		line = strings.TrimRight(line, " \t\r\n")
		directive := strings.TrimLeft(strings.TrimPrefix(strings.TrimLeft(line, " \t"), "#"), " \t")
		inside = inside || strings.HasPrefix(strings.TrimLeft(line, " \t"), "#") && strings.HasPrefix(directive, "define")
		if inside = inside && strings.HasSuffix(line, `\`); inside {
			n++
		}
	}
	return n
}

func TestContinued(t *testing.T) {
	for _, c := range []struct {
		name, source string
		want         int
	}{
		{"none", "#define A 1\nint x;\n", 0},
		{"one", "#define A \\\n 1\n", 1},
		{"three", " # define A(x) \\\n a; \\\n b; \\\n c\nint y = 1; \\\n", 3},
		{"two macros", "#define A \\\n 1\n#define B \\\r\n 2\n", 2},
		{"a condition", "#if a && \\\n b\n#endif\n", 0},
		{"a string", "char *s = \"a\\\n b\";\n", 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := continued(c.source); got != c.want {
				t.Errorf("%d, want %d", got, c.want)
			}
		})
	}
}
