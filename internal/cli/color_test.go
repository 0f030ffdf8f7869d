package cli

import (
	"bytes"
	"strings"
	"testing"
)

func TestColored(t *testing.T) {
	for _, c := range []struct {
		name, noColor, force, term string
		tty, want                  bool
	}{
		{name: "terminal", term: "xterm", tty: true, want: true},
		{name: "no terminal", term: "xterm"},
		{name: "NO_COLOR", noColor: "1", term: "xterm", tty: true},
		{name: "dumb terminal", term: "dumb", tty: true},
		{name: "CLICOLOR_FORCE", force: "1", term: "xterm", want: true},
		{name: "CLICOLOR_FORCE=0", force: "0", term: "xterm"},
		{name: "NO_COLOR over CLICOLOR_FORCE", noColor: "1", force: "1", term: "xterm", tty: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Setenv("NO_COLOR", c.noColor)
			t.Setenv("CLICOLOR_FORCE", c.force)
			t.Setenv("TERM", c.term)
			if got := colored(c.tty); got != c.want {
				t.Errorf("%v, want %v", got, c.want)
			}
		})
	}
}

// Errors begin in red, notes are dim, and what they quote steers nothing.
func TestMessageColors(t *testing.T) {
	t.Setenv("NO_COLOR", "")
	t.Setenv("CLICOLOR_FORCE", "")
	t.Setenv("TERM", "xterm")
	run := func(tty bool, args ...string) (string, string) {
		var out, errs bytes.Buffer
		Run(t.Context(), args, Streams{In: strings.NewReader(""), Out: &out, Err: &errs, OutTTY: tty, ErrTTY: tty})
		return out.String(), errs.String()
	}
	t.Run("error", func(t *testing.T) {
		if _, got := run(true, "caption", "\x1b[5m"); got != styleError+"paligemma:"+styleEnd+" \\u001b[5m: no such file or directory\n" {
			t.Errorf("%q", got)
		}
	})
	t.Run("note", func(t *testing.T) {
		if _, got := run(true, "parse", "x", "--size", "3x3", "--max-pixels", "9"); !strings.Contains(got, styleDim+"paligemma: no objects found"+styleEnd+"\n") {
			t.Errorf("%q", got)
		}
	})
	t.Run("no terminal", func(t *testing.T) {
		if _, got := run(false, "parse", "x", "--size", "3x3"); strings.Contains(got, "\x1b") {
			t.Errorf("%q", got)
		}
	})
	for _, c := range []struct {
		args   []string
		header string
	}{
		{[]string{"inspect", "--keys"}, "KEY "}, {[]string{"inspect", "--tensors"}, "TENSOR "}, {[]string{"devices"}, "NAME "},
	} {
		t.Run(strings.Join(c.args, " "), func(t *testing.T) {
			terminal, _ := run(true, c.args...)
			if !strings.Contains(terminal, "\n"+styleBold+c.header) && !strings.HasPrefix(terminal, styleBold+c.header) {
				t.Errorf("%.200q", terminal)
			}
			if file, _ := run(false, c.args...); file != strings.NewReplacer(styleBold, "", styleEnd, "").Replace(terminal) {
				t.Errorf("%.200q without a terminal", file)
			}
		})
	}
	t.Run("table", func(t *testing.T) {
		if got := boldLines("WHAT  UNIT\n\x1b what  ms\n", "WHAT"); got != styleBold+"WHAT  UNIT"+styleEnd+"\n\\u001b what  ms\n" {
			t.Errorf("%q", got)
		}
	})
}
