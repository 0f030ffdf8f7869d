package batch_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"paligemma/internal/batch"
	"paligemma/internal/engine"
)

// rolled are options with a folder of files of so many records.
func rolled(e *engine.Engine, each int64, output string, args ...string) batch.Options {
	o := newOptions(e, output, args...)
	o.RecordsPerFile = each
	return o
}

// rolledFiles returns the records in a folder, file after file, and the names of all
// files but the job's.
func rolledFiles(t testing.TB, dir string) (records, names []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if e.Name() == "job.json" {
			continue
		}
		names = append(names, e.Name())
		if strings.HasSuffix(e.Name(), ".jsonl") {
			if lines := results(t, filepath.Join(dir, e.Name())); lines[0] != "" {
				records = append(records, lines...)
			}
		}
	}
	return records, names
}

// numberedNames are the names of n complete files.
func numberedNames(n int) (names []string) {
	for i := range n {
		names = append(names, fmt.Sprintf("%05d.jsonl", i), fmt.Sprintf("%05d.stats.json", i))
	}
	return names
}

// TestRecordsPerFile: the files are together what one file would be, and the last one is
// marked.
func TestRecordsPerFile(t *testing.T) {
	e, dir := open(t), pictures(t, 20)
	for _, c := range []struct {
		name    string
		each    int64
		prompts []string
		args    []string
		files   int
	}{
		{"a rest", 8, []string{"a"}, []string{dir}, 3},
		{"no rest", 10, []string{"a"}, []string{dir}, 2},
		{"one record each", 1, []string{"a"}, []string{dir}, 20},
		{"one file", 1000, []string{"a"}, []string{dir}, 1},
		{"prompts of an image in two files", 7, []string{"a", "b"}, []string{dir}, 6},
		{"several inputs", 9, []string{"a"}, []string{dir, "gone.png", dir}, 5},
		{"no records", 5, []string{"a"}, []string{t.TempDir()}, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			tmp := t.TempDir()
			o := newOptions(e, filepath.Join(tmp, "whole.jsonl"), c.args...)
			o.Task.Prompts, o.Job.Prompts = c.prompts, c.prompts
			whole := run(t, e, o)
			o.Output, o.RecordsPerFile = filepath.Join(tmp, "o"), c.each
			if p := run(t, e, o); p != whole {
				t.Errorf("%+v, want %+v", p, whole)
			}
			got, names := rolledFiles(t, o.Output)
			want := results(t, filepath.Join(tmp, "whole.jsonl"))
			if want[0] == "" {
				want = nil
			}
			if !slices.Equal(got, want) || !slices.Equal(names, numberedNames(c.files)) {
				t.Errorf("%d records in %q", len(got), names)
			}
			for i := range c.files {
				var s batch.Stats
				data, err := os.ReadFile(filepath.Join(o.Output, fmt.Sprintf("%05d.stats.json", i)))
				if err := errors.Join(err, json.Unmarshal(data, &s)); err != nil || s.Final != (i == c.files-1) || s.Records > c.each {
					t.Errorf("%d: %v, %+v", i, err, s)
				}
			}
			if v, err := batch.Verify(t.Context(), o.Output, func(f batch.Finding) error {
				if f.Kind != batch.FoundFailed && f.Kind != batch.FoundDouble {
					t.Errorf("%+v", f)
				}
				return nil
			}); err != nil || v.Files != c.files || v.Records != whole.Done {
				t.Errorf("%+v, %v", v, err)
			}
			if p := run(t, e, o); p.Answered != 0 || p.Done != whole.Done {
				t.Errorf("again: %+v", p)
			}
		})
	}
}

// TestRecordsPerFileResume: a run that was broken off at any place goes on there.
func TestRecordsPerFileResume(t *testing.T) {
	e, dir := open(t), pictures(t, 20)
	whole := filepath.Join(t.TempDir(), "whole.jsonl")
	run(t, e, newOptions(e, whole, dir))
	want := results(t, whole)
	// end ends a run after n records.
	end := func(t *testing.T, o batch.Options, n int64) {
		ctx, cancel := context.WithCancel(t.Context())
		stopAfter(&o, n, cancel)
		if _, err := batch.Run(ctx, e, o); !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		name   string
		before func(t *testing.T, o batch.Options)
	}{
		{"in the first file", func(t *testing.T, o batch.Options) { end(t, o, 3) }},
		{"at the end of a file", func(t *testing.T, o batch.Options) { end(t, o, 5) }},
		{"at the start of a file", func(t *testing.T, o batch.Options) { end(t, o, 6) }},
		{"three times", func(t *testing.T, o batch.Options) {
			for range 3 {
				end(t, o, 4)
			}
		}},
		{"after the last record", func(t *testing.T, o batch.Options) { end(t, o, 20) }},
		{"torn", func(t *testing.T, o batch.Options) {
			end(t, o, 8)
			part := filepath.Join(o.Output, "00001.jsonl.part")
			data, err := os.ReadFile(part)
			if err != nil {
				t.Fatal(err)
			}
			put(t, part, data[:len(data)-9])
		}},
		{"between two files", func(t *testing.T, o batch.Options) {
			end(t, o, 6)
			if err := os.Remove(filepath.Join(o.Output, "00001.jsonl.part")); err != nil {
				t.Fatal(err)
			}
		}},
		{"before the mark of the last one", func(t *testing.T, o batch.Options) {
			run(t, e, o)
			path := filepath.Join(o.Output, "00003.stats.json")
			data, err := os.ReadFile(path)
			if err != nil || !strings.Contains(string(data), `"final"`) {
				t.Fatalf("%v: %s", err, data)
			}
			put(t, path, []byte(strings.Replace(string(data), `"final": true`, `"final": false`, 1)))
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := rolled(e, 5, filepath.Join(t.TempDir(), "o"), dir)
			c.before(t, o)
			for range 2 {
				if p := run(t, e, o); p.Done != 20 {
					t.Errorf("%+v", p)
				}
			}
			if got, names := rolledFiles(t, o.Output); !slices.Equal(got, want) || !slices.Equal(names, numberedNames(4)) {
				t.Errorf("%d records in %q", len(got), names)
			}
		})
	}
}

// TestRecordsPerFileRefused: what would not be the same files is refused.
func TestRecordsPerFileRefused(t *testing.T) {
	e, dir := open(t), pictures(t, 20)
	for _, c := range []struct {
		name, want string
		change     func(t *testing.T, o *batch.Options)
	}{
		{"another number", "records_per_file was 5, is 6", func(_ *testing.T, o *batch.Options) { o.RecordsPerFile = 6 }},
		{"without a number", "records_per_file was 5, is not given", func(_ *testing.T, o *batch.Options) { o.RecordsPerFile = 0 }},
		{"other inputs", "the inputs have changed: record 5", func(t *testing.T, o *batch.Options) { o.Source.Args = []string{pictures(t, 20)} }},
		{"fewer inputs", "has 5 records, but there are only 1 inputs", func(_ *testing.T, o *batch.Options) {
			o.Source.Args = []string{filepath.Join(dir, "0000.png")}
		}},
		{"as many inputs as a file has records", "has 10 records, but there are only 5 inputs", func(_ *testing.T, o *batch.Options) {
			o.Source.Args = []string{filepath.Join(dir, "000{0..4}.png")}
		}},
		{"no job", "00000.jsonl: file exists", func(t *testing.T, o *batch.Options) {
			if err := os.Remove(filepath.Join(o.Output, "job.json")); err != nil {
				t.Fatal(err)
			}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := rolled(e, 5, filepath.Join(t.TempDir(), "o"), dir)
			begun := o
			ctx, cancel := context.WithCancel(t.Context())
			stopAfter(&begun, 11, cancel)
			if _, err := batch.Run(ctx, e, begun); !errors.Is(err, context.Canceled) {
				t.Fatal(err)
			}
			c.change(t, &o)
			if _, err := batch.Run(t.Context(), e, o); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %s", err, c.want)
			}
			o = rolled(e, 4, o.Output, dir)
			o.Overwrite = true
			run(t, e, o)
			if got, names := rolledFiles(t, o.Output); len(got) != 20 || !slices.Equal(names, numberedNames(5)) {
				t.Errorf("overwritten: %d records in %q", len(got), names)
			}
		})
	}
	for _, output := range []string{batch.Stdout, "o.jsonl"} {
		o := rolled(e, 5, output, dir)
		if err := o.Check(); err == nil || !strings.Contains(err.Error(), "needs a folder") {
			t.Errorf("%s: %v", output, err)
		}
	}
}

// TestRecordsPerFileRetry: the failures in files are asked again, also by a run that is
// broken off and one that goes on.
func TestRecordsPerFileRetry(t *testing.T) {
	e, dir := open(t), pictures(t, 20)
	whole := filepath.Join(t.TempDir(), "whole.jsonl")
	run(t, e, newOptions(e, whole, dir))
	want := results(t, whole)
	bad := []int{3, 11, 12, 19}
	for _, stop := range []int64{0, 1, 2, 3} {
		t.Run(fmt.Sprint(stop), func(t *testing.T) {
			for _, i := range bad {
				put(t, filepath.Join(dir, fmt.Sprintf("%04d.png", i)), []byte("broken"))
			}
			o := rolled(e, 5, filepath.Join(t.TempDir(), "o"), dir)
			if p := run(t, e, o); p.Failed != 4 {
				t.Fatalf("%+v", p)
			}
			for _, i := range bad {
				put(t, filepath.Join(dir, fmt.Sprintf("%04d.png", i)), picture(t, i))
			}
			again := o
			again.RetryFailed = true
			if stop > 0 {
				ctx, cancel := context.WithCancel(t.Context())
				broken := again
				stopAfter(&broken, stop, cancel)
				if _, err := batch.Run(ctx, e, broken); !errors.Is(err, context.Canceled) {
					t.Fatal(err)
				}
			}
			if p := run(t, e, again); p.Done != 20 || p.Failed != 0 || p.Answered > 4 {
				t.Errorf("%+v", p)
			}
			if got, names := rolledFiles(t, o.Output); !slices.Equal(got, want) || !slices.Equal(names, numberedNames(4)) {
				t.Errorf("%d records in %q", len(got), names)
			}
		})
	}
}

// TestRecordsPerFileParts: parts have files of their own, of which verify finds what is
// missing, and merge makes one in the order of the inputs.
func TestRecordsPerFileParts(t *testing.T) {
	e, dir := open(t), pictures(t, 11)
	var lists []string
	for i := range 5 {
		path := filepath.Join(dir, fmt.Sprintf("q%d.jsonl", i))
		put(t, path, []byte(strings.Repeat(fmt.Sprintf(`{"image":"%04d.png","prompt":"x"}`+"\n", i), i+1)))
		lists = append(lists, path)
	}
	for _, c := range []struct {
		name string
		args []string
	}{{"records dealt out", []string{dir}}, {"whole files", lists}} {
		t.Run(c.name, func(t *testing.T) {
			tmp := t.TempDir()
			whole := newOptions(e, filepath.Join(tmp, "whole.jsonl"), c.args...)
			run(t, e, whole)
			o := rolled(e, 2, filepath.Join(tmp, "o"), c.args...)
			var found []string
			verify := func() {
				found = nil
				if _, err := batch.Verify(t.Context(), o.Output, func(f batch.Finding) error {
					found = append(found, f.Kind+" "+filepath.Base(f.File))
					return nil
				}); err != nil {
					t.Error(err)
				}
			}
			merged := filepath.Join(tmp, "merged.jsonl")
			for i := range 3 {
				o.Part = part(t, fmt.Sprintf("%d/3", i))
				run(t, e, o)
				if i == 0 {
					verify()
					if want := []string{"missing 00000-1-of-3.jsonl", "missing 00000-2-of-3.jsonl"}; !slices.Equal(found, want) {
						t.Errorf("%q, want %q", found, want)
					}
					if err := batch.Merge(t.Context(), o.Output, merged, false); err == nil || !strings.Contains(err.Error(), "00000-1-of-3.jsonl is not complete") {
						t.Errorf("%v", err)
					}
				}
			}
			if verify(); found != nil {
				t.Errorf("%q", found)
			}
			if err := batch.Merge(t.Context(), o.Output, merged, false); err != nil {
				t.Fatal(err)
			}
			if got := results(t, merged); !slices.Equal(got, results(t, whole.Output)) {
				t.Errorf("%d records", len(got))
			}
		})
	}
}
