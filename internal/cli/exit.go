package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"syscall"

	"paligemma/internal/batch"
	"paligemma/internal/engine"
	"paligemma/internal/ggml"
	"paligemma/internal/hub"
	"paligemma/internal/model"
	"paligemma/internal/models"
	"paligemma/internal/regular"
	"paligemma/internal/result"
	"paligemma/internal/tokenizer"
	"paligemma/internal/units"
)

// Exit codes, as the documentation promises them.
const (
	exitOK          = 0
	exitFailed      = 1
	exitUsage       = 2
	exitPartly      = 3
	exitModel       = 4
	exitImage       = 5
	exitSignal      = 128 // and the signal's number
	exitInterrupted = exitSignal + 2
)

// usageError says that the command line is wrong; usage is printed after it.
type usageError struct{ error }

// dataError says that what a command line names is malformed, such as a file of
// requests or a variable: wrong usage, of which a line of usage says nothing.
type dataError struct{ error }

func (e usageError) Unwrap() error { return result.RequestError{Err: e.error} }
func (e dataError) Unwrap() error  { return e.error }

// partlyError says that some of several inputs failed, each with an error that
// was already printed.
type partlyError struct {
	failed, total int
	what          string // in the plural
}

func (e partlyError) Error() string {
	return fmt.Sprintf("%s of %s %s failed", units.Number(e.failed), units.Number(e.total), e.what)
}

// outputError says that results cannot be written.
type outputError struct{ error }

func (e outputError) Unwrap() error { return e.error }

// errClosedPipe says that nobody reads the results any more.
var errClosedPipe = errors.New("standard output was closed")

// exitCode is the one place where errors become exit codes.
func exitCode(err error) int {
	var (
		usage  usageError
		data   dataError
		partly partlyError
		wrong  findingsError
		img    result.ImageError
		count  *tokenizer.ImageCountError
		bad    *engine.ModelError
		short  *engine.MemoryError
		no     *hub.RefusedError
		unfit  *models.UnusableError
		worker *batch.WorkerError
	)
	switch {
	case err == nil, errors.Is(err, errClosedPipe):
		return exitOK
	case errors.Is(err, context.Canceled):
		return exitInterrupted
	case errors.As(err, &worker):
		return worker.Code
	case errors.As(err, &usage), errors.As(err, &data), errors.As(err, &count):
		return exitUsage
	case errors.As(err, &partly), errors.As(err, &wrong):
		return exitPartly
	case errors.Is(err, ggml.ErrMemory), errors.Is(err, syscall.ENOMEM), errors.As(err, &short):
		return exitFailed
	case errors.As(err, &bad), errors.As(err, &no), errors.As(err, &unfit), errors.Is(err, model.ErrNaN), errors.Is(err, regular.ErrChanged):
		return exitModel
	case errors.As(err, &img):
		return exitImage
	}
	return exitFailed
}

// resultWriter is standard output. It remembers the first error, for callers
// that do not look at it.
type resultWriter struct {
	w   io.Writer
	err error
}

// WriteString writes through.
func (r *resultWriter) WriteString(s string) (int, error) { return r.Write([]byte(s)) }

// Write writes through.
func (r *resultWriter) Write(p []byte) (int, error) {
	if r.err != nil {
		return 0, r.err
	}
	n, err := r.w.Write(p)
	switch {
	case errors.Is(err, syscall.EPIPE), errors.Is(err, io.ErrClosedPipe):
		r.err = errClosedPipe
	case err != nil:
		r.err = outputError{fmt.Errorf("write standard output: %w", cause(err))}
	}
	return n, r.err
}
