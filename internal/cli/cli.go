// Package cli is the command line: flags in, results out. A command is a file with
// an options struct, a function that makes its flags and a run function; it talks
// to the world through Streams and reports failures as errors, which exit.go
// maps to exit codes. What asks a model about images makes a request of its
// options, which a run carries out.
package cli

import (
	"context"
	"errors"
	"io"
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/term"
)

// version is set by the linker (see the Makefile).
var version = "unknown"

// Streams are what a command reads and writes: results go to Out, everything
// else to Err.
type Streams struct {
	In     io.Reader
	Out    io.Writer
	Err    io.Writer
	InTTY  bool // In is a terminal
	OutTTY bool
	ErrTTY bool
	Width  int // of Out in columns, where it is a terminal; 0: not known

	interrupts *interrupts // nil: there are no signals
}

// Main runs the command line and returns the exit code. A signal ends the command
// in an orderly way if that takes less than a moment, else the process.
func Main(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	// A write to a closed pipe is then an error and not a signal.
	signal.Ignore(syscall.SIGPIPE)
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	width, _ := terminalWidth(stdout)
	return Run(ctx, args, Streams{
		In: stdin, Out: stdout, Err: stderr, InTTY: isTTY(stdin), OutTTY: isTTY(stdout), ErrTTY: isTTY(stderr), Width: width,
		interrupts: endBySignal(cancel, stderr),
	})
}

func isTTY(stream any) bool {
	f, ok := stream.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// terminalWidth returns the columns of a terminal.
func terminalWidth(stream any) (int, error) {
	f, ok := stream.(*os.File)
	if !ok {
		return 0, os.ErrInvalid
	}
	width, _, err := term.GetSize(int(f.Fd()))
	return width, err
}

// Run is Main without signals: ctx ends the command. Its cause may be a stopped.
func Run(ctx context.Context, args []string, s Streams) int {
	out := &resultWriter{w: s.Out}
	screen, _ := s.Out.(*os.File)
	s.Out = out
	a := &app{Streams: s, bars: s.Err, plain: out, screen: screen, args: args}
	flush := a.guard()
	s = a.Streams
	root := a.rootCommand()
	if isCompletion(args) {
		plainUsages(root)
	}
	root.SetArgs(args)
	root.SetIn(s.In)
	root.SetOut(s.Out)
	root.SetErr(s.Err)
	cmd, err := root.ExecuteContextC(ctx)
	err = errors.Join(err, flush())
	if out.err != nil {
		err = out.err
	}
	code := exitCode(err)
	if code == exitOK {
		return code
	}
	if code == exitInterrupted {
		var s *stopped
		if !errors.As(context.Cause(ctx), &s) {
			s = &stopped{signal: syscall.SIGINT}
		}
		s.print(a.Err)
		return s.code()
	}
	a.complain(err)
	var usage usageError
	if errors.As(err, &usage) {
		printUsage(s.Err, cmd)
	}
	return code
}
