package cli

import (
	"bytes"
	"strings"
	"testing"
)

// Whatever reads standard input from a terminal says that it waits, once and not with
// -q; a pipe is read without a word.
func TestNoteWaiting(t *testing.T) {
	const note = "paligemma: reading standard input, which is this terminal: Ctrl-D ends it\n"
	m := fixture(t, "MODEL")
	for _, args := range [][]string{
		{"caption", "-", "-m", m},
		{"caption", "-", "-m", m, "--stream-images"},
		{"caption", "--files-from", "-", "-m", m},
		{"generate", "-p", "-", "-m", m},
		{"generate", "--requests", "-", "-m", m},
		{"score", "-p", "x", "--suffixes-from", "-", "-m", m},
		{"parse", "--size", "9x9"},
	} {
		t.Run(strings.Join(args, " "), func(t *testing.T) {
			for _, c := range []struct {
				tty  bool
				more []string
				want int
			}{{tty: true, want: 1}, {tty: false, want: 0}, {tty: true, more: []string{"-q"}, want: 0}} {
				var errs bytes.Buffer
				Run(t.Context(), append(args, c.more...), Streams{In: strings.NewReader(""), Out: &bytes.Buffer{}, Err: &errs, InTTY: c.tty})
				if got := strings.Count(errs.String(), note); got != c.want {
					t.Errorf("%+v: %d notes in %q", c, got, errs.String())
				}
			}
		})
	}
}
