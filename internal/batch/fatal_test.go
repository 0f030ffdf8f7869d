package batch

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"syscall"
	"testing"

	"paligemma/internal/engine"
	"paligemma/internal/ggml"
	"paligemma/internal/model"
	"paligemma/internal/result"
)

// TestFatal checks which errors end a run and which become a record: what says nothing
// about an image may not be noted as its failure.
func TestFatal(t *testing.T) {
	open := func(err error) error {
		return result.ImageError{Err: &fs.PathError{Op: "open", Path: "x.png", Err: err}}
	}
	for _, c := range []struct {
		err  error
		want bool
	}{
		{open(syscall.EMFILE), true},
		{open(syscall.ENFILE), true},
		{open(syscall.ENOENT), false},
		{open(syscall.EACCES), false},
		{open(syscall.EISDIR), false},
		{fmt.Errorf("decode: %w", ggml.ErrMemory), true},
		{engine.ErrClosed, true},
		{&engine.ModelError{Err: errors.New("changed")}, true},
		{&engine.ModelError{Err: model.ErrNaN}, false},
	} {
		t.Run(c.err.Error(), func(t *testing.T) {
			if got := fatal(t.Context(), c.err); got != c.want {
				t.Errorf("%t, want %t", got, c.want)
			}
		})
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if !fatal(ctx, open(syscall.ENOENT)) {
		t.Error("an error of a canceled run is a record")
	}
}
