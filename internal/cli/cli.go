// Package cli is the command line: flags in, results out. A command is an
// options struct, a function that makes its flags and a run function; it talks
// to the world through Streams and reports failures as errors, which exit.go
// maps to exit codes.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/term"

	"paligemma/internal/ggml"
	"paligemma/internal/quote"
)

// version is set by the linker (see the Makefile).
var version = "unknown"

// Streams are what a command reads and writes: results go to Out, everything
// else to Err.
type Streams struct {
	In     io.Reader
	Out    io.Writer
	Err    io.Writer
	OutTTY bool // Out is a terminal
	ErrTTY bool
}

// Main runs the command line and returns the exit code. A signal ends the command
// in an orderly way if that takes less than a moment, else the process.
func Main(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	// A write to a closed pipe shall be an error and not a signal.
	signal.Ignore(syscall.SIGPIPE)
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	endBySignal(cancel, stderr)
	return Run(ctx, args, Streams{In: stdin, Out: stdout, Err: stderr, OutTTY: isTTY(stdout), ErrTTY: isTTY(stderr)})
}

func isTTY(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// Run is Main without signals: ctx ends the command. Its cause may be a stopped.
func Run(ctx context.Context, args []string, s Streams) int {
	out := &resultWriter{w: s.Out}
	s.Out = out
	a := &app{Streams: s, bars: s.Err}
	flush := a.guard()
	s = a.Streams
	root := a.rootCommand()
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
		s.tell(a.Err)
		return s.code()
	}
	a.complain(err)
	if code == exitUsage {
		fmt.Fprintf(s.Err, "\n%s", cmd.UsageString())
	}
	return code
}

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

func (a *app) rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "paligemma",
		Short: "Run PaliGemma vision-language models",
		Long: `paligemma captions pictures, answers questions about them, reads their text and
finds objects in them, with PaliGemma and PaliGemma 2 models in GGUF files.

    paligemma convert CHECKPOINT model.gguf
    paligemma caption photo.jpg -m model.gguf

Every flag can be given as an environment variable: --max-tokens is
PALIGEMMA_MAX_TOKENS. A flag on the command line wins.

Exit codes: 0 done, 1 failed, 2 wrong usage, 3 some of several images or
lines failed, 4 model missing, corrupt, not a PaliGemma or changed while in
use, 5 image missing, unreadable or over a limit, 128 + N ended by signal N
(130 interrupted, 143 terminated).`,
		Version:                    version,
		SilenceErrors:              true,
		SilenceUsage:               true,
		DisableAutoGenTag:          true,
		SuggestionsMinimumDistance: 2,
		CompletionOptions:          cobra.CompletionOptions{DisableDefaultCmd: true},
		// With Args and RunE set, an unknown command is our error, not cobra's.
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return nil
			}
			return unknownCommand(cmd, args[0])
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetVersionTemplate("paligemma {{.Version}}\n")
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{shortFlagError(err)} })
	root.PersistentPreRunE = func(cmd *cobra.Command, _ []string) error {
		if err := applyEnv(cmd.Flags(), os.LookupEnv); err != nil {
			return err
		}
		ggml.Verbose(a.common.Verbose)
		return a.common.check()
	}
	a.common.flags(root.PersistentFlags())
	root.AddCommand(
		a.captionCommand(), a.vqaCommand(), a.ocrCommand(), a.detectCommand(), a.segmentCommand(),
		a.generateCommand(), a.scoreCommand(), a.parseCommand(), a.forwardCommand(), a.benchCommand(),
		a.convertCommand(), a.quantizeCommand(), a.inspectCommand(), a.devicesCommand(), a.versionCommand(),
		a.completionCommand(), a.manCommand(),
	)
	root.SetHelpCommand(helpCommand())
	for _, cmd := range append(root.Commands(), root) {
		completeEnums(cmd)
	}
	return root
}

// shortFlagError bounds what an error about a flag quotes.
func shortFlagError(err error) error {
	var invalid *pflag.InvalidValueError
	if errors.As(err, &invalid) && len(invalid.GetValue()) > quote.Max {
		return fmt.Errorf("invalid argument %s for --%s", quote.Short(invalid.GetValue()), invalid.GetFlag().Name)
	}
	if short := quote.Line(err.Error(), quote.Max); short != err.Error() && invalid == nil {
		return errors.New(short)
	}
	return err
}

func unknownCommand(cmd *cobra.Command, name string) error {
	text := fmt.Sprintf("unknown command %s", quote.Short(name))
	if like := cmd.Root().SuggestionsFor(name); len(like) > 0 {
		text += fmt.Sprintf(" (did you mean %s?)", strings.Join(like, " or "))
	}
	return usageError{errors.New(text)}
}

// argsBetween allows low to high arguments, and says what is missing.
func argsBetween(low, high int, what string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		switch {
		case len(args) < low:
			return usageError{fmt.Errorf("%s is missing", what)}
		case len(args) > high:
			return usageError{fmt.Errorf("unexpected argument %s", quote.Short(args[high]))}
		}
		return nil
	}
}
