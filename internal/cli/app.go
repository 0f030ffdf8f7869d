package cli

import (
	"fmt"
	"io"
	"paligemma/internal/quote"
)

// app is what all commands share.
type app struct {
	Streams
	bars   io.Writer // Err without the guard of a terminal, which bars steer
	common commonOptions
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
	fmt.Fprintf(a.Err, "%s%s\n", prefix, oneLine(err.Error()))
}

// note prints a line that -q leaves out.
func (a *app) note(format string, args ...any) {
	if !a.common.Quiet {
		a.complain(fmt.Errorf(format, args...))
	}
}

// detail prints a line that is shown with -v only.
func (a *app) detail(format string, args ...any) {
	if a.common.Verbose && !a.common.Quiet {
		fmt.Fprintf(a.Err, "%s%s\n", prefix, quote.Line(fmt.Sprintf(format, args...), maxDetail))
	}
}
