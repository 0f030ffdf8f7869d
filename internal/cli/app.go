package cli

import (
	"fmt"
	"io"
	"os"
	"strings"

	"paligemma/internal/quote"
)

// app is what all commands share.
type app struct {
	Streams
	bars   io.Writer       // Err without the guard of a terminal, which bars and colors steer
	plain  io.StringWriter // Out without it
	screen *os.File        // the same, where it is a file: previews steer it, too
	common commonOptions

	args      []string // of the command line
	stdinRead bool     // for what is part of the command line
}

// guard puts what keeps foreign text from steering a terminal before the streams
// that are one. flush ends what was written to Out.
func (a *app) guard() (flush func() error) {
	if a.ErrTTY {
		a.Err = quote.NewWriter(a.Err)
	}
	if !a.OutTTY {
		return func() error { return nil }
	}
	out := quote.NewWriter(a.Out)
	a.Out = out
	return out.Flush
}

// prefix begins every line on standard error.
const prefix = "paligemma: "

// complain prints an error as one line.
func (a *app) complain(err error) {
	if line := oneLine(err.Error()); colored(a.ErrTTY) {
		a.print(a.bars, styled(styleError, strings.TrimSpace(prefix))+" "+line)
	} else {
		a.print(a.Err, prefix+line)
	}
}

// say prints a line that was asked for.
func (a *app) say(text string) { a.print(a.Err, prefix+oneLine(text)) }

// note prints a line that -q leaves out.
func (a *app) note(format string, args ...any) {
	if a.common.Quiet || a.common.Progress == progressJSON {
		return
	}
	line := prefix + oneLine(fmt.Sprintf(format, args...))
	if colored(a.ErrTTY) {
		a.print(a.bars, styled(styleDim, line))
	} else {
		a.print(a.Err, line)
	}
}

// noteWaiting says so where an input is a terminal, which waits for someone to type.
func (a *app) noteWaiting(path string) {
	if path == stdinName && a.InTTY {
		a.note("reading standard input, which is this terminal: Ctrl-D ends it")
	}
}

// print writes a line in one piece.
func (a *app) print(w io.Writer, line string) { _, _ = io.WriteString(w, line+"\n") }

// detail prints a line that is shown with -v only.
func (a *app) detail(format string, args ...any) {
	if a.common.Verbose && !a.common.Quiet {
		fmt.Fprintf(a.Err, "%s%s\n", prefix, quote.Line(fmt.Sprintf(format, args...), maxDetail))
	}
}
