package batch_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"paligemma/internal/batch"
)

// TestRecordsPerFileGap: files that are missing among others are answered again, and nothing
// else is.
func TestRecordsPerFileGap(t *testing.T) {
	e, dir := open(t), pictures(t, 23)
	whole := filepath.Join(t.TempDir(), "whole.jsonl")
	run(t, e, newOptions(e, whole, dir))
	want := results(t, whole)
	some := func(t *testing.T, n int) []string { // a folder with the first pictures
		all := filepath.Join(dir, "000{0..9}.png")
		if n > 10 {
			return []string{all, filepath.Join(dir, "00{10.."+[]string{"17", "19", "22"}[slices.Index([]int{18, 20, 23}, n)]+"}.png")}
		}
		return []string{all}
	}
	gone := func(names ...string) func(t *testing.T, o batch.Options) {
		return func(t *testing.T, o batch.Options) {
			for _, name := range names {
				if err := os.Remove(filepath.Join(o.Output, name)); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	for _, c := range []struct {
		name    string
		first   int // pictures of the first run
		stop    int64
		change  func(t *testing.T, o batch.Options)
		missing []string // of the first run's files
	}{
		{"the second", 20, 0, gone("00001.jsonl"), []string{"00001"}},
		{"with its statistics", 20, 0, gone("00001.jsonl", "00001.stats.json"), []string{"00001"}},
		{"the first two", 20, 0, gone("00000.jsonl", "00001.jsonl"), []string{"00000", "00001"}},
		{"two apart", 20, 0, gone("00000.jsonl", "00002.jsonl"), []string{"00000", "00002"}},
		{"the last", 20, 0, gone("00003.jsonl"), []string{"00003"}},
		{"nothing, but more inputs", 18, 0, gone(), nil},
		{"one, and more inputs", 18, 0, gone("00002.jsonl"), []string{"00002"}},
		{"before one that was broken off", 20, 13, gone("00000.jsonl"), []string{"00000"}},
		{"one that was broken off", 20, 13, gone("00002.jsonl.part"), []string{"00002"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := rolled(e, 5, filepath.Join(t.TempDir(), "o"), some(t, c.first)...)
			first, cancel := context.WithCancel(t.Context())
			defer cancel()
			begun := o
			if c.stop > 0 {
				stopAfter(&begun, c.stop, cancel)
			}
			if _, err := batch.Run(first, e, begun); err != nil && !errors.Is(err, context.Canceled) {
				t.Fatal(err)
			}
			c.change(t, o)
			var missing []string
			if _, err := batch.Verify(t.Context(), o.Output, func(f batch.Finding) error {
				if f.Kind == batch.FoundMissing {
					missing = append(missing, strings.TrimSuffix(filepath.Base(f.File), ".jsonl"))
				}
				return nil
			}); err != nil || !slices.Equal(missing, c.missing) && c.stop == 0 {
				t.Errorf("%q is missing, %v, want %q", missing, err, c.missing)
			}
			o.Source.Args = some(t, 23)
			left := records(t, o.Output)
			if p := run(t, e, o); p.Done != 23 || p.Answered != 23-left {
				t.Errorf("%+v, %d were left", p, left)
			}
			if got, names := rolledFiles(t, o.Output); !slices.Equal(got, want) || !slices.Equal(names, numberedNames(5)) {
				t.Errorf("%d records in %q", len(got), names)
			}
			if p := run(t, e, o); p.Done != 23 || p.Answered != 0 {
				t.Errorf("again: %+v", p)
			}
			verified(t, o.Output)
		})
	}
}

// records counts the records in a folder, those of files that are not complete, too.
func records(t *testing.T, dir string) (n int64) {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(dir, "*.jsonl*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		n += int64(bytes.Count(data, []byte("\n")))
	}
	return n
}

// verified makes sure that nothing is found.
func verified(t *testing.T, output string) {
	t.Helper()
	if _, err := batch.Verify(t.Context(), output, func(f batch.Finding) error {
		t.Errorf("%+v", f)
		return nil
	}); err != nil {
		t.Error(err)
	}
}

// TestRecordsPerFileAlien: a file after a gap that the job did not write is never replaced;
// one that it does not come to does not matter.
func TestRecordsPerFileAlien(t *testing.T) {
	e, dir := open(t), pictures(t, 20)
	for _, c := range []struct {
		name string
		file string
		want string // in the error
	}{
		{"among the job's", "00002.jsonl", "00002.jsonl would be replaced, and 00002.stats.json does not say that this job wrote it"},
		{"a date", "20261126.jsonl", ""},
		{"the largest number", "9223372036854775807.jsonl", ""},
		{"too large a number", "99999999999999999999.jsonl", ""},
		{"other digits", "000002.jsonl", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := rolled(e, 5, filepath.Join(t.TempDir(), "o"), dir)
			ctx, cancel := context.WithCancel(t.Context())
			begun := o
			stopAfter(&begun, 3, cancel)
			if _, err := batch.Run(ctx, e, begun); !errors.Is(err, context.Canceled) {
				t.Fatal(err)
			}
			_, names := rolledFiles(t, o.Output)
			for _, name := range names {
				if err := os.Remove(filepath.Join(o.Output, name)); err != nil {
					t.Fatal(err)
				}
			}
			alien := filepath.Join(o.Output, c.file)
			put(t, alien, []byte("mine\n"))
			put(t, filepath.Join(o.Output, "20261127.jsonl"), []byte("mine, too\n"))
			if _, err := batch.Run(t.Context(), e, o); (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %q", err, c.want)
			}
			if data, err := os.ReadFile(alien); err != nil || string(data) != "mine\n" {
				t.Errorf("%q, %v", data, err)
			}
			if err := errors.Join(os.Remove(alien), os.Remove(filepath.Join(o.Output, "20261127.jsonl"))); err != nil {
				t.Fatal(err)
			}
			run(t, e, o)
			verified(t, o.Output)
		})
	}
}

// TestRecordsPerFileShrunk: inputs that end before a file which is there are refused, also
// where others before it are missing.
func TestRecordsPerFileShrunk(t *testing.T) {
	e, dir := open(t), pictures(t, 20)
	o := rolled(e, 5, filepath.Join(t.TempDir(), "o"), dir)
	run(t, e, o)
	for _, name := range []string{"00001.jsonl", "00002.jsonl"} {
		if err := os.Remove(filepath.Join(o.Output, name)); err != nil {
			t.Fatal(err)
		}
	}
	o.Source.Args = []string{filepath.Join(dir, "00{00..11}.png")}
	if _, err := batch.Run(t.Context(), e, o); err == nil || !strings.Contains(err.Error(), "has 20 records, but there are only 12 inputs") {
		t.Error(err)
	}
}
