package batch_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"paligemma/internal/batch"
)

// TestPartsViews: machines that run at the same time may see different files. What none of
// them answers is found, whichever wrote the job's file last.
func TestPartsViews(t *testing.T) {
	e, dir := open(t), pictures(t, 9)
	paths := lists(t, dir, 9)
	for _, c := range []struct {
		name   string
		output string
		each   int64
		sees   []int // files that each part sees, in the order that they begin
		want   []string
	}{
		{"a file for each part", "o.jsonl", 0, []int{4, 7, 4}, []string{"incomplete o-2-of-3.jsonl"}},
		{"numbered files", "o", 2, []int{4, 7, 4}, []string{"incomplete 00004-2-of-3.jsonl"}},
		{"a file for each file", "o", 0, []int{5, 4}, []string{"missing q4.jsonl"}},
		{"records of a file for each file", "o", 0, []int{2, 2, 1}, []string{"missing q1-2-of-3.jsonl"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := newOptions(e, filepath.Join(t.TempDir(), c.output))
			o.RecordsPerFile = c.each
			for i, n := range c.sees {
				o.Part, o.Source.Args = batch.Part{I: i, N: len(c.sees)}, paths[:n]
				run(t, e, o)
			}
			var found []string
			if _, err := batch.Verify(t.Context(), o.Output, func(f batch.Finding) error {
				found = append(found, f.Kind+" "+filepath.Base(f.File))
				return nil
			}); err != nil || !slices.Equal(found, c.want) {
				t.Errorf("%q, %v, want %q", found, err, c.want)
			}
			if err := batch.Merge(t.Context(), o.Output, filepath.Join(t.TempDir(), "merged.jsonl"), false); err == nil {
				t.Error("merged")
			}
			for i := range c.sees {
				o.Part, o.Source.Args = batch.Part{I: i, N: len(c.sees)}, paths[:slices.Max(c.sees)]
				run(t, e, o)
			}
			verified(t, o.Output)
		})
	}
}

// TestPartsUnnamed: a job with too many results to name them remembers its dealing, too.
func TestPartsUnnamed(t *testing.T) {
	e, dir := open(t), t.TempDir()
	var paths []string
	for i := range 1300 {
		path := filepath.Join(dir, fmt.Sprintf("%04d.jsonl", i))
		put(t, path, nil)
		paths = append(paths, path)
	}
	o := newOptions(e, filepath.Join(t.TempDir(), "o.jsonl"), paths...)
	o.Part = batch.Part{I: 0, N: 1300}
	run(t, e, o)
	o.Part.I, o.Source.Args = 1, paths[1:]
	if _, err := batch.Run(t.Context(), e, o); !errors.As(err, new(*batch.SharedError)) {
		t.Error(err)
	}
}

// TestJobShards: a job's file with a wrong number of parts is merged without a panic.
func TestJobShards(t *testing.T) {
	e, dir := open(t), pictures(t, 3)
	o := newOptions(e, filepath.Join(t.TempDir(), "o.jsonl"), dir)
	run(t, e, o)
	want := results(t, o.Output)
	for _, shards := range []int{-1, 0, 1} {
		put(t, o.Output+".job.json", fmt.Appendf(nil, `{"dealt":true,"shards":%d,"outputs":["o.jsonl"]}`, shards))
		merged := filepath.Join(t.TempDir(), "merged.jsonl")
		if err := batch.Merge(t.Context(), o.Output, merged, false); err != nil || !slices.Equal(results(t, merged), want) {
			t.Errorf("%d: %v", shards, err)
		}
	}
}

// TestCompletedMeanwhile: results that are there when a run comes to them are not replaced,
// and nothing is left next to them.
func TestCompletedMeanwhile(t *testing.T) {
	e, dir := open(t), pictures(t, 20)
	o := rolled(e, 5, filepath.Join(t.TempDir(), "o"), filepath.Join(dir, "000{0..9}.png"))
	run(t, e, o)
	other := filepath.Join(o.Output, "00002.jsonl") // after the last one
	put(t, other, []byte("mine\n"))
	o.Source.Args = []string{dir}
	if _, err := batch.Run(t.Context(), e, o); !errors.Is(err, os.ErrExist) {
		t.Error(err)
	}
	if data, err := os.ReadFile(other); err != nil || string(data) != "mine\n" {
		t.Errorf("%q, %v", data, err)
	}
	if err := os.Remove(other); err != nil {
		t.Fatal(err)
	}
	if p := run(t, e, o); p.Done != 20 {
		t.Errorf("%+v", p)
	}
	if _, names := rolledFiles(t, o.Output); !slices.Equal(names, numberedNames(4)) {
		t.Errorf("%q", names)
	}
}
