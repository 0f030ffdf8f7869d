package cli

import (
	"bytes"
	"strings"
	"testing"
	"unicode/utf8"
)

// Every command is in a group and has an example.
func TestCommandsHaveExamples(t *testing.T) {
	a := &app{}
	root := a.rootCommand()
	root.InitDefaultHelpCmd()
	for _, cmd := range root.Commands() {
		t.Run(cmd.Name(), func(t *testing.T) {
			if !strings.Contains(cmd.Example, "paligemma ") {
				t.Error("no example")
			}
			if !root.ContainsGroup(cmd.GroupID) || cmd.GroupID == "" {
				t.Errorf("group %q", cmd.GroupID)
			}
		})
	}
}

// Help fits terminals of 50 columns and more; examples, usage and lists stay whole.
func TestHelpWidth(t *testing.T) {
	for _, width := range []int{50, 80, 100} {
		for _, name := range []string{"caption", "convert", "detect"} {
			var out bytes.Buffer
			Run(t.Context(), []string{"help", name}, Streams{In: strings.NewReader(""), Out: &out, Err: &out, Width: width})
			text, _, found := strings.Cut(out.String(), "Usage:")
			_, flags, _ := strings.Cut(out.String(), "\nFlags:")
			if !found || flags == "" {
				t.Fatalf("%s: %q", name, out.String())
			}
			for line := range strings.SplitSeq(text+flags, "\n") {
				if n := utf8.RuneCountInString(line); n > width {
					t.Errorf("%s at %d columns: %d in %q", name, width, n, line)
				}
			}
		}
	}
}

func TestWrapLines(t *testing.T) {
	for _, c := range []struct {
		name, text string
		width      int
		want       string
	}{
		{"any width", "a b c d", 0, "a b c d"},
		{"short", "a b\nc", 3, "a b\nc"},
		{"long", "aa bb cc", 5, "aa bb\ncc"},
		{"indented", "  aa bb cc", 7, "  aa bb\n  cc"},
		{"a word that is too long", "aaaaaaaa b", 4, "aaaaaaaa\nb"},
		{"characters count", "äö üü", 5, "äö üü"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := wrapLines(c.text, c.width); got != c.want {
				t.Errorf("%q, want %q", got, c.want)
			}
		})
	}
}

// The first help lists the groups of commands.
func TestHelpGroups(t *testing.T) {
	var out bytes.Buffer
	Run(t.Context(), nil, Streams{In: strings.NewReader(""), Out: &out, Err: &out})
	last := -1
	for _, title := range []string{"\nLook at pictures:\n", "\nModels:\n", "\nTools:\n", "\nFlags:\n", "`paligemma help COMMAND` says more"} {
		at := strings.Index(out.String(), title)
		if at <= last {
			t.Errorf("%q at %d after %d in %s", title, at, last, out.String())
		}
		last = at
	}
	if strings.Contains(out.String(), "[command]") {
		t.Error(out.String())
	}
}
