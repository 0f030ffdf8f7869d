package batch_test

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

	"paligemma/internal/batch"
)

// archive returns a tar of pictures with the numbers from..to-1.
func archive(t testing.TB, from, to int) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for i := from; i < to; i++ {
		data := picture(t, i)
		err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: fmt.Sprintf("%04d.png", i), Size: int64(len(data)), Mode: 0o644})
		if _, err2 := w.Write(data); err != nil || err2 != nil {
			t.Fatal(err, err2)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// TestOutputIsInput: no file of an output is ever an input, by whatever name, and least
// of all with --overwrite.
func TestOutputIsInput(t *testing.T) {
	e := open(t)
	lines := []byte(`{"id":"a","image":"gone.png"}` + "\n")
	for _, c := range []struct {
		name, input, output string
		change              func(o *batch.Options, input string)
	}{
		{"file", "q.jsonl", "q.jsonl", nil},
		{"requests in the folder", "q.jsonl", ".", func(o *batch.Options, input string) { o.Source.Args, o.Source.Requests = nil, input }},
		{"argument in the folder", "q.jsonl", ".", nil},
		{"braces", "q.jsonl", ".", func(o *batch.Options, _ string) { o.Source.Args = []string{"{p,q}.jsonl"} }},
		{"pattern", "q.jsonl", "q.jsonl", func(o *batch.Options, _ string) { o.Source.Args = []string{"[q].jsonl"} }},
		{"list", "q.jsonl", "q.jsonl", func(o *batch.Options, input string) { o.Source.Args, o.Source.FilesFrom = nil, input }},
		{"journal", "q.jsonl.part", "q.jsonl", nil},
		{"statistics", "q.stats.json", "q.jsonl", nil},
		{"job", "q.csv.job.json", "q.csv", nil},
		{"job of a folder", "job.json", ".", nil},
		{"part", "q-1-of-2.jsonl", "q.jsonl", func(o *batch.Options, _ string) { o.Part = batch.Part{I: 1, N: 2} }},
		{"symbolic link", "q.jsonl", "o.jsonl", func(*batch.Options, string) { _ = os.Symlink("q.jsonl", "o.jsonl") }},
		{"hard link", "q.jsonl", "o.tar", func(*batch.Options, string) { _ = os.Link("q.jsonl", "o.tar") }},
		{"other spelling", "q.jsonl", "../DIR/./q.jsonl", nil},
	} {
		for _, overwrite := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, overwrite %v", c.name, overwrite), func(t *testing.T) {
				dir := t.TempDir()
				t.Chdir(dir)
				put(t, c.input, lines)
				o := newOptions(e, strings.ReplaceAll(c.output, "DIR", filepath.Base(dir)), c.input)
				o.Overwrite = overwrite
				if c.change != nil {
					c.change(&o, c.input)
				}
				for name, err := range map[string]error{"Check": o.Check(), "Run": func() error { _, err := batch.Run(t.Context(), e, o); return err }()} {
					if err == nil || !strings.Contains(err.Error(), "is also an input") {
						t.Errorf("%s: %v", name, err)
					}
				}
				if got, err := os.ReadFile(c.input); err != nil || !bytes.Equal(got, lines) {
					t.Errorf("the input is %q now, %v", got, err)
				}
			})
		}
	}
}

// TestOtherInputs: complete results are not taken for those of other inputs. Where
// inputs were added at the end, lines go on.
func TestOtherInputs(t *testing.T) {
	e := open(t)
	for _, c := range []struct {
		name, output string
		before, then []string // inputs
		want         string   // an error; "": none
		done         int64
	}{
		{"the same", "o.jsonl", []string{"a"}, []string{"a"}, "", 2},
		{"another folder", "o.jsonl", []string{"a"}, []string{"b"}, "the inputs have changed: record 2", 0},
		{"another folder, table", "o.csv", []string{"a"}, []string{"b"}, "the inputs have changed: record 2", 0},
		{"fewer", "o.jsonl", []string{"a"}, []string{"a/0000.png"}, "there are only 1 inputs", 0},
		{"more before", "o.jsonl", []string{"a"}, []string{"b", "a"}, "the inputs have changed: record 2", 0},
		{"more at the end", "o.jsonl", []string{"a"}, []string{"a", "b"}, "", 5},
		{"more at the end, folder", "o", []string{"a"}, []string{"a", "b"}, "", 5},
		{"more at the end, table", "o.csv", []string{"a"}, []string{"a", "b"}, "there are more inputs now", 0},
		{"none before", "o.jsonl", []string{"none"}, []string{"none", "a"}, "", 2},
		{"another archive", "o.jsonl", []string{"a.tar"}, []string{"b.tar"}, `has the results of ["a.tar"], not of ["b.tar"]`, 0},
		{"another archive of the name", "o", []string{"a.tar"}, []string{"b/a.tar"}, `has the results of ["a.tar"], not of ["b/a.tar"]`, 0},
		{"archive with another path", "o.jsonl", []string{"a.tar"}, []string{"./a.tar"}, "", 2},
		{"one archive more", "o", []string{"a.tar"}, []string{"a.tar", "b.tar"}, "", 4},
		{"archive that was moved", "o.jsonl", []string{"moved/b.tar"}, []string{"b.tar"}, "", 2},
		{"special characters", "o.jsonl", []string{"<&>\u2028\xff.png"}, []string{"<&>\u2028\xff.png"}, "", 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Chdir(t.TempDir())
			if err := errors.Join(os.Mkdir("a", 0o777), os.Mkdir("b", 0o777), os.Mkdir("none", 0o777), os.Mkdir("moved", 0o777)); err != nil {
				t.Fatal(err)
			}
			for i, path := range []string{"a/0000.png", "a/0001.png", "b/0002.png", "b/0003.png", "b/0004.png", "<&>\u2028\xff.png"} {
				put(t, path, picture(t, i))
			}
			put(t, "a.tar", archive(t, 0, 2))
			put(t, "b.tar", archive(t, 2, 4))
			put(t, "b/a.tar", archive(t, 2, 4))
			put(t, "moved/b.tar", archive(t, 2, 4))
			run(t, e, newOptions(e, c.output, c.before...))
			if err := os.RemoveAll("moved"); err != nil {
				t.Fatal(err)
			}
			was, _ := os.ReadFile(c.output)
			p, err := batch.Run(t.Context(), e, newOptions(e, c.output, c.then...))
			if c.want == "" && (err != nil || p.Done != c.done) || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Fatalf("%+v, %v, want %s", p, err, c.want)
			}
			if is, _ := os.ReadFile(c.output); c.want != "" && !bytes.Equal(is, was) {
				t.Error("the results are others")
			}
			if c.want == "" && c.output != "o" {
				run(t, e, newOptions(e, "whole.jsonl", c.then...))
				if !slices.Equal(results(t, c.output), results(t, "whole.jsonl")) {
					t.Error("other records than those of one run")
				}
			}
		})
	}
}

// TestLocked: two processes do not write one journal, whatever the second is asked to
// do. Locks are of open files, so one process can stand for two.
func TestLocked(t *testing.T) {
	e := open(t)
	for _, c := range []struct {
		name   string
		change func(o *batch.Options)
	}{
		{"the same", func(*batch.Options) {}},
		{"overwrite", func(o *batch.Options) { o.Overwrite = true }},
		{"retry", func(o *batch.Options) { o.RetryFailed = true }},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := newOptions(e, filepath.Join(t.TempDir(), "o.jsonl"), pictures(t, 8))
			var second error
			stopAfter(&o, 1, func() {
				again := newOptions(e, o.Output, o.Source.Args...)
				c.change(&again)
				_, second = batch.Run(t.Context(), e, again)
			})
			if p := run(t, e, o); p.Done != 8 {
				t.Errorf("%+v", p)
			}
			if second == nil || !strings.Contains(second.Error(), "another process is writing it") {
				t.Errorf("%v", second)
			}
			if n := len(results(t, o.Output)); n != 8 {
				t.Errorf("%d records", n)
			}
		})
	}
}
