package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"syscall"
	"testing"

	"paligemma/internal/preprocess"
	"paligemma/internal/tokenizer"
)

// TestErrorCode: what wraps an error does not hide its code.
func TestErrorCode(t *testing.T) {
	for _, c := range []struct {
		name string
		err  error
		want string
	}{
		{"missing file", imageError{pathError("a.png", &fs.PathError{Op: "open", Path: "a.png", Err: syscall.ENOENT})}, codeNotFound},
		{"no permission", imageError{pathError("a.png", syscall.EACCES)}, codeUnreadable},
		{"many pixels", imageError{fmt.Errorf("a.png: %w", preprocess.ErrTooLarge)}, codeTooLarge},
		{"many bytes", imageError{fmt.Errorf("a.png: %w", errTooLong)}, codeTooLarge},
		{"long line", line{number: 3, err: errLongLine}.failure(), codeTooLarge},
		{"other kind of picture", imageError{fmt.Errorf("a.heic: %w", preprocess.ErrUnsupported)}, codeUnsupported},
		{"damaged", imageError{errors.New("a.png: unexpected EOF")}, codeUnreadable},
		{"box outside", imageError{usageError{errors.New("--box leaves a.png")}}, codeInvalid},
		{"long prompt", fmt.Errorf("a.png: %w", tokenizer.TooLong("the prompt has %d tokens", 9)), codeLongPrompt},
		{"anything else", errors.New("x"), codeFailed},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := errorCode(c.err); got != c.want {
				t.Errorf("%s, want %s", got, c.want)
			}
		})
	}
}
