package cli

import (
	"errors"
	"io/fs"

	"paligemma/internal/preprocess"
	"paligemma/internal/tokenizer"
)

// Codes of failures in JSON; docs/json.md describes them. A code keeps its meaning:
// programs compare it, while sentences are for people and change.
const (
	codeNotFound    = "not_found"
	codeTooLarge    = "too_large"
	codeUnsupported = "unsupported_image"
	codeUnreadable  = "unreadable_image"
	codeInvalid     = "invalid_request"
	codeLongPrompt  = "prompt_too_long"
	codeFailed      = "failed"
)

// errorCode is the one place where errors become codes.
func errorCode(err error) string {
	var (
		usage usageError
		img   imageError
		long  *tokenizer.LengthError
	)
	switch {
	case errors.Is(err, preprocess.ErrTooLarge), errors.Is(err, errTooLong), errors.Is(err, errLongLine):
		return codeTooLarge
	case errors.As(err, &long):
		return codeLongPrompt
	case errors.As(err, &usage):
		return codeInvalid
	case errors.Is(err, fs.ErrNotExist):
		return codeNotFound
	case errors.Is(err, preprocess.ErrUnsupported):
		return codeUnsupported
	case errors.As(err, &img):
		return codeUnreadable
	}
	return codeFailed
}

// fail makes a result that of a failure.
func (r *Result) fail(err error) { r.Error, r.ErrorCode = oneLine(err.Error()), errorCode(err) }
