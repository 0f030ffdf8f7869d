//go:build unix

package source

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func TestImages(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	for _, name := range []string{"in/sub", "in/.hidden"} {
		if err := os.MkdirAll(name, 0o777); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"in/b.png", "in/a.JPG", "in/x.txt", "in/sub/c.jpg", "in/.hidden/d.jpg", "in/line\n\x1b[31m.jpg", "in/\xff.jpg", "n0.jpg", "n1.jpg"} {
		write(t, ".", name, "x")
	}
	if err := errors.Join(syscall.Mkfifo("in/f.jpg", 0o666), os.Symlink("..", "in/sub/up"), os.Mkdir("in/z.jpg", 0o777), os.Symlink("gone", "in/y.jpg")); err != nil {
		t.Fatal(err)
	}
	t.Run("folder", func(t *testing.T) {
		compare(t, read(t, Options{Args: []string{"in"}}),
			"in/a.JPG in/a.JPG", "in/b.png in/b.png", "in/f.jpg in/f.jpg!unreadable_image", "in/line\n\x1b[31m.jpg in/line\n\x1b[31m.jpg",
			"in/y.jpg in/y.jpg", "in/\xff.jpg in/\xff.jpg")
	})
	t.Run("recursive", func(t *testing.T) {
		got := read(t, Options{Args: []string{"in"}, Recursive: true})
		if len(got) != 7 || got[4].ID != "in/sub/c.jpg" {
			t.Errorf("%q", shown(got))
		}
	})
	t.Run("reached twice", func(t *testing.T) {
		if err := os.MkdirAll("twice/b", 0o777); err != nil {
			t.Fatal(err)
		}
		write(t, "twice/b", "i.jpg", "x")
		if err := errors.Join(os.Symlink("b", "twice/a"), os.Symlink("../twice", "twice/b/up")); err != nil {
			t.Fatal(err)
		}
		compare(t, read(t, Options{Args: []string{"twice"}, Recursive: true}), "twice/a/i.jpg twice/a/i.jpg")
	})
	t.Run("braces", func(t *testing.T) {
		compare(t, read(t, Options{Args: []string{"n{0..2}.jpg", "-"}}), "n0.jpg n0.jpg", "n1.jpg n1.jpg", "n2.jpg n2.jpg!not_found", "- -")
	})
	t.Run("pattern", func(t *testing.T) {
		compare(t, read(t, Options{Args: []string{"n*.jpg"}}), "n0.jpg n0.jpg", "n1.jpg n1.jpg")
	})
	t.Run("pattern in a folder named like one", func(t *testing.T) {
		if err := os.Mkdir("a[1]", 0o777); err != nil {
			t.Fatal(err)
		}
		write(t, "a[1]", "i.jpg", "x")
		write(t, "a[1]", ".i.jpg", "x")
		compare(t, read(t, Options{Args: []string{"a[1]/*.jpg"}}), "a[1]/i.jpg a[1]/i.jpg")
	})
	t.Run("file named as standard input", func(t *testing.T) {
		list := write(t, ".", "list", "-\n")
		lines := write(t, ".", "q.jsonl", `{"id":"a","image":"-"}`)
		write(t, ".", "-", "x")
		compare(t, read(t, Options{Args: []string{"?", lines}, FilesFrom: list}), "./- ./-", "a ./-", "./- ./-")
	})
	t.Run("list", func(t *testing.T) {
		list := write(t, ".", "list", "\xef\xbb\xbfn0.jpg\r\n\nmissing.jpg\n"+strings.Repeat("x", maxName+10)+"\nn1.jpg")
		compare(t, read(t, Options{FilesFrom: list}), "n0.jpg n0.jpg", "missing.jpg missing.jpg!not_found", "list#4 !too_large", "n1.jpg n1.jpg")
	})
	t.Run("list with zeros", func(t *testing.T) {
		o := Options{FilesFrom: Stdin, Null: true, Stdin: strings.NewReader("n0.jpg\x00in/line\n\x1b[31m.jpg\x00")}
		compare(t, read(t, o), "n0.jpg n0.jpg", "in/line\n\x1b[31m.jpg in/line\n\x1b[31m.jpg")
	})
	t.Run("folder named as a file of records", func(t *testing.T) {
		if err := os.Mkdir("x.tar", 0o777); err != nil {
			t.Fatal(err)
		}
		write(t, "x.tar", "i.png", "x")
		compare(t, read(t, Options{Args: []string{"x.tar"}}), "x.tar/i.png x.tar/i.png")
	})
	t.Run("missing list", func(t *testing.T) {
		compare(t, read(t, Options{FilesFrom: "gone"}), "gone#0 !not_found")
	})
}

// Names in a file start from its folder, those in a pipe from the working folder: a
// shell's <(command) is a pipe somewhere in /dev.
func TestRelativeToPipe(t *testing.T) {
	dir := t.TempDir()
	file, pipe := filepath.Join(dir, "file"), filepath.Join(dir, "pipe")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	o := &Options{}
	for from, want := range map[string]string{file: filepath.Join(dir, "a.png"), pipe: "a.png", Stdin: "a.png"} {
		if got := o.relative(from, "a.png"); got != want {
			t.Errorf("from %s it is %s, want %s", from, got, want)
		}
	}
}
