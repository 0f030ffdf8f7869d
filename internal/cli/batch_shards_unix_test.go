//go:build unix

package cli

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// writeTar writes files into an archive.
func writeTar(t *testing.T, path string, names ...string) {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, name := range names {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		err = w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: filepath.Base(name), Size: int64(len(data)), Mode: 0o644})
		if _, err2 := w.Write(data); err != nil || err2 != nil {
			t.Fatal(err, err2)
		}
	}
	if err := errors.Join(w.Close(), os.WriteFile(path, b.Bytes(), 0o666)); err != nil {
		t.Fatal(err)
	}
}

// drawTars draws 60 pictures and writes them into three archives, 0.tar to 2.tar.
func drawTars(t *testing.T, dir string) {
	t.Helper()
	drawPictures(t, filepath.Join(dir, "in"), 60)
	names, err := filepath.Glob(filepath.Join(dir, "in", "*.png"))
	if err != nil || len(names) != 60 {
		t.Fatal(len(names), err)
	}
	for i := range 3 {
		writeTar(t, filepath.Join(dir, fmt.Sprintf("%d.tar", i)), names[20*i:20*i+20]...)
	}
}

// TestBatchKilledShards kills runs that write a file for each archive, in the middle of
// each and between them. scripts/batchkills does it at random moments.
func TestBatchKilledShards(t *testing.T) {
	dir := t.TempDir()
	drawTars(t, dir)
	if out, err := batchOf(t, dir, "caption", "{0..2}.tar", "-o", "whole.jsonl").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	kills := 0
	for lines := 4; ; lines += 8 {
		cmd := batchOf(t, dir, "caption", "{0..2}.tar", "-o", "o")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		ended := make(chan error, 1)
		go func() { ended <- cmd.Wait() }()
		for len(ended) == 0 && linesIn(filepath.Join(dir, "o", "*.jsonl*")) <= lines {
			time.Sleep(time.Millisecond)
		}
		if len(ended) > 0 {
			break
		}
		if err := cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
			t.Fatal(err)
		}
		<-ended
		kills++
	}
	got := withoutTimings(t, filepath.Join(dir, "o", "0.jsonl"), filepath.Join(dir, "o", "1.jsonl"), filepath.Join(dir, "o", "2.jsonl"))
	if !slices.Equal(got, withoutTimings(t, filepath.Join(dir, "whole.jsonl"))) {
		t.Errorf("after %d kills there are %d lines, other than those of an unbroken run", kills, len(got))
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "o", "*.part")); kills < 5 || left != nil {
		t.Errorf("%d kills, left: %q", kills, left)
	}
}

// linesIn returns the number of lines in the files of a pattern.
func linesIn(pattern string) (n int) {
	paths, _ := filepath.Glob(pattern)
	for _, path := range paths {
		data, _ := os.ReadFile(path) // it may just have got its final name
		n += bytes.Count(data, []byte("\n"))
	}
	return n
}

// TestBatchFull: a run that cannot write on says so in one line, and leaves whole
// records; the next one goes on after them. What a full disk refuses, a limit of the
// size of files refuses too.
func TestBatchFull(t *testing.T) {
	dir := t.TempDir()
	drawTars(t, dir)
	if out, err := batchOf(t, dir, "caption", "{0..2}.tar", "-o", "whole.jsonl").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	whole := withoutTimings(t, filepath.Join(dir, "whole.jsonl"))
	for _, c := range []struct{ name, output, journal string }{
		{"lines", "o.jsonl", "o.jsonl.part"},
		{"folder", "o", "o/0.jsonl.part"},
		{"table", "o.csv", "o.csv.part"},
	} {
		t.Run(c.name, func(t *testing.T) {
			cmd := batchOf(t, dir, "-c", `ulimit -f 4; exec paligemma caption {0..2}.tar -q -o `+c.output)
			cmd.Path, cmd.Args[0] = "/bin/sh", "sh"
			out, err := cmd.CombinedOutput()
			if code := cmd.ProcessState.ExitCode(); code != exitFailed || bytes.Count(out, []byte("\n")) != 1 || !bytes.Contains(out, []byte("file too large")) {
				t.Fatalf("%v: %s", err, out)
			}
			data, err := os.ReadFile(filepath.Join(dir, c.journal))
			if lines := bytes.Count(data, []byte("\n")); err != nil || lines == 0 || lines >= 20 || !bytes.HasSuffix(data, []byte("}\n")) {
				t.Errorf("%v: %d lines are there", err, lines)
			}
			if out, err := batchOf(t, dir, "caption", "{0..2}.tar", "-o", c.output).CombinedOutput(); err != nil || !strings.Contains(string(out), "60 done") {
				t.Fatalf("%v: %s", err, out)
			}
			paths := []string{filepath.Join(dir, "o.jsonl")}
			if c.name == "folder" {
				paths = []string{filepath.Join(dir, "o", "0.jsonl"), filepath.Join(dir, "o", "1.jsonl"), filepath.Join(dir, "o", "2.jsonl")}
			}
			if c.name != "table" && !slices.Equal(withoutTimings(t, paths...), whole) {
				t.Error("other records than those of an unbroken run")
			}
		})
	}
}

// TestBatchOtherModel: results of one model are not mixed with those of another,
// whatever that is called.
func TestBatchOtherModel(t *testing.T) {
	dir := t.TempDir()
	drawPictures(t, filepath.Join(dir, "in"), 2)
	if out, err := batchOf(t, dir, "caption", "in", "-o", "o.jsonl").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	before, err := os.ReadFile(filepath.Join(dir, "o.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ name, model, want string }{
		{"the same under another name", copyOf(t, fixture(t, "MODEL")), ""},
		{"another header", fixture(t, "MASKMODEL"), "model was {"},
		{"another weight", fixture(t, "HUGE"), "model was {"},
	} {
		t.Run(c.name, func(t *testing.T) {
			out, err := batchOf(t, dir, "caption", "in", "-o", "o.jsonl", "-m", c.model).CombinedOutput()
			if (err != nil) != (c.want != "") || !strings.Contains(string(out), c.want) {
				t.Errorf("%v: %s", err, out)
			}
			if after, err := os.ReadFile(filepath.Join(dir, "o.jsonl")); err != nil || !bytes.Equal(after, before) {
				t.Errorf("the results are others, %v", err)
			}
		})
	}
}

// copyOf returns the path of a copy.
func copyOf(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	to := filepath.Join(t.TempDir(), "copy.gguf")
	if err := os.WriteFile(to, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return to
}
