package result

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"syscall"
	"testing"

	"paligemma/internal/engine"
	"paligemma/internal/model"
	"paligemma/internal/preprocess"
	"paligemma/internal/tokenizer"
)

// TestCode: what wraps an error does not hide its code.
func TestCode(t *testing.T) {
	for _, c := range []struct {
		name string
		err  error
		want string
	}{
		{"missing file", ImageError{&fs.PathError{Op: "open", Path: "a.png", Err: syscall.ENOENT}}, CodeNotFound},
		{"no permission", ImageError{fmt.Errorf("a.png: %w", syscall.EACCES)}, CodeUnreadable},
		{"many pixels", ImageError{fmt.Errorf("a.png: %w", preprocess.ErrTooLarge)}, CodeTooLarge},
		{"many bytes", ImageError{fmt.Errorf("a.png: %w", ErrTooLong)}, CodeTooLarge},
		{"long line", fmt.Errorf("line 3: %w of 9 bytes", ErrTooLong), CodeTooLarge},
		{"other kind of picture", ImageError{fmt.Errorf("a.heic: %w", preprocess.ErrUnsupported)}, CodeUnsupported},
		{"damaged", ImageError{errors.New("a.png: unexpected EOF")}, CodeUnreadable},
		{"box outside", ImageError{RequestError{errors.New("--box leaves a.png")}}, CodeInvalid},
		{"many tokens", fmt.Errorf("a.png: %w", tokenizer.TooLong("the prompt has %d tokens", 9)), CodeLongPrompt},
		{"places for images", &tokenizer.ImageCountError{Typed: 2, Given: 1}, CodeInvalid},
		{"not a number", &engine.ModelError{Err: model.ErrNaN}, CodeNaN},
		{"too slow", context.DeadlineExceeded, CodeTimeout},
		{"anything else", errors.New("x"), CodeFailed},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := Code(c.err); got != c.want {
				t.Errorf("%s, want %s", got, c.want)
			}
		})
	}
}
