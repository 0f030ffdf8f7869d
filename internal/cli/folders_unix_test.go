//go:build unix

package cli

import (
	"io"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestFoundPipe checks that a named pipe that a folder or a pattern leads to is an
// error, not something to wait for, and that one that is named itself is read.
func TestFoundPipe(t *testing.T) {
	dir := t.TempDir()
	pipe := filepath.Join(dir, "a.png")
	if err := unix.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	a := &app{Streams: Streams{Err: io.Discard}}
	for _, test := range []struct {
		arg  string
		read bool
	}{
		{dir, false},
		{filepath.Join(dir, "*.png"), false},
		{pipe, true},
	} {
		t.Run(filepath.Base(test.arg), func(t *testing.T) {
			found := a.expandImage(t.Context(), test.arg, true, imageOptions{})
			if len(found) != 1 || found[0].path != pipe {
				t.Fatalf("found %v", found)
			}
			if err := found[0].err; test.read != (err == nil) || err != nil && !strings.Contains(err.Error(), "not a regular file") {
				t.Error(err)
			}
		})
	}
}
