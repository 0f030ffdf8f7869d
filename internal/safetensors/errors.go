package safetensors

import "fmt"

// FormatError says that a file is not one this package accepts, as opposed to
// one that could not be read.
type FormatError struct{ Msg string }

// Error is the message, which names the tensor or field concerned.
func (e *FormatError) Error() string { return e.Msg }

func formatf(format string, args ...any) error {
	return &FormatError{fmt.Sprintf(format, args...)}
}
