//go:build unix

package regular

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestOpen(t *testing.T) {
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	if err := os.WriteFile(path("file"), []byte("text"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(path("fifo"), 0o600); err != nil {
		t.Fatal(err)
	}
	// The path of a socket is short.
	socket := filepath.Join(os.TempDir(), "regular-test.sock")
	os.Remove(socket)
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	for name, target := range map[string]string{"link": "file", "fifolink": "fifo"} {
		t.Run(name, func(t *testing.T) {
			if err := os.Symlink(target, path(name)); err != nil {
				t.Fatal(err)
			}
		})
	}
	for name, want := range map[string]string{
		path("file"): "", path("link"): "",
		dir: "is a folder", path("fifo"): "is a pipe", path("fifolink"): "is a pipe",
		socket: "is a socket", os.DevNull: "is a device", path("none"): "no such file",
	} {
		t.Run(name, func(t *testing.T) {
			done := make(chan error, 1)
			go func() {
				f, err := Open(name)
				if err == nil {
					f.Close()
				}
				done <- err
			}()
			select {
			case err := <-done:
				if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
					t.Errorf("%v, want %q", err, want)
				}
			case <-time.After(10 * time.Second):
				t.Error("Open waits")
			}
		})
	}
	if _, err := Open(path("none")); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}

func TestUnchanged(t *testing.T) {
	past := time.Now().Add(-time.Hour)
	for _, c := range []struct {
		name   string
		change func(path string) error
		want   string
	}{
		{"as it was", func(string) error { return nil }, ""},
		{"read", func(p string) error { _, err := os.ReadFile(p); return err }, ""},
		{"deleted", os.Remove, ""},
		{"renamed", func(p string) error { return os.Rename(p, p+"2") }, ""},
		{"cut", func(p string) error { return os.Truncate(p, 2) }, "changed"},
		{"longer", func(p string) error { return os.WriteFile(p, []byte("text and more"), 0o600) }, "changed"},
		{"overwritten", func(p string) error { return os.WriteFile(p, []byte("TEXT"), 0o600) }, "changed"},
		{"replaced", func(p string) error {
			if err := os.WriteFile(p+"2", []byte("text"), 0o600); err != nil {
				return err
			}
			return os.Rename(p+"2", p)
		}, "changed"},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "f")
			if err := os.WriteFile(path, []byte("text"), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Chtimes(path, past, past); err != nil {
				t.Fatal(err)
			}
			f, err := Open(path)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			if f.Size() != 4 || !f.Is(path) || f.Is(os.DevNull) {
				t.Error("it is another file")
			}
			if err := c.change(path); err != nil {
				t.Fatal(err)
			}
			err = f.Unchanged()
			if (err == nil) != (c.want == "") || err != nil && (!errors.Is(err, ErrChanged) || !strings.HasPrefix(err.Error(), path+" was "+c.want)) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

func TestReadStart(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, []byte("12345"), 0o600); err != nil {
		t.Fatal(err)
	}
	for n, want := range map[int64]string{0: "", 4: "1234", 5: "12345", 6: "12345"} {
		t.Run(want, func(t *testing.T) {
			if got, err := ReadStart(path, n); err != nil || string(got) != want {
				t.Errorf("%q, %v, want %q", got, err, want)
			}
		})
	}
	if _, err := ReadStart(filepath.Dir(path), 4); err == nil {
		t.Error("a folder is read")
	}
}
