package result

import (
	"context"
	"errors"
	"io/fs"

	"paligemma/internal/model"
	"paligemma/internal/preprocess"
	"paligemma/internal/quote"
	"paligemma/internal/tokenizer"
)

// Codes of failures in JSON; docs/json.md describes them. A code keeps its meaning:
// programs compare it, while sentences are for people and change.
const (
	CodeNotFound    = "not_found"
	CodeTooLarge    = "too_large"
	CodeUnsupported = "unsupported_image"
	CodeUnreadable  = "unreadable_image"
	CodeInvalid     = "invalid_request"
	CodeLongPrompt  = "prompt_too_long"
	CodeNaN         = "nan"
	CodeTimeout     = "timeout"
	CodeFailed      = "failed"
)

// ErrTooLong is wrapped by errors about inputs beyond a limit of bytes.
var ErrTooLong = errors.New("more than the limit")

// RequestError says that a request is wrong, whatever it is about.
type RequestError struct{ Err error }

// ImageError says that an image is missing, unreadable or over a limit.
type ImageError struct{ Err error }

func (e RequestError) Error() string { return e.Err.Error() }
func (e ImageError) Error() string   { return e.Err.Error() }

// Unwrap returns the cause.
func (e RequestError) Unwrap() error { return e.Err }

// Unwrap returns the cause.
func (e ImageError) Unwrap() error { return e.Err }

// Code is the one place where errors become codes.
func Code(err error) string {
	var (
		request RequestError
		count   *tokenizer.ImageCountError
		long    *tokenizer.LengthError
		image   ImageError
		coded   interface{ FailureCode() string }
	)
	switch {
	case errors.As(err, &coded): // by another process
		return coded.FailureCode()
	case errors.Is(err, preprocess.ErrTooLarge), errors.Is(err, ErrTooLong):
		return CodeTooLarge
	case errors.As(err, &long):
		return CodeLongPrompt
	case errors.As(err, &request), errors.As(err, &count):
		return CodeInvalid
	case errors.Is(err, fs.ErrNotExist):
		return CodeNotFound
	case errors.Is(err, preprocess.ErrUnsupported):
		return CodeUnsupported
	case errors.As(err, &image):
		return CodeUnreadable
	case errors.Is(err, model.ErrNaN):
		return CodeNaN
	case errors.Is(err, context.DeadlineExceeded):
		return CodeTimeout
	}
	return CodeFailed
}

// maxMessage bounds the message of a failure, in bytes.
const maxMessage = 488

// Message returns the message of an error as one short line, whatever it quotes.
func Message(err error) string { return quote.Line(err.Error(), maxMessage) }

// Fail makes a result that of a failure.
func (r *Result) Fail(err error) { r.Error, r.ErrorCode = Message(err), Code(err) }
