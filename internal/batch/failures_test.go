package batch_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"paligemma/internal/batch"
)

// TestRetry: failures of an earlier run are asked again, and nothing else.
func TestRetry(t *testing.T) {
	e, dir := open(t), pictures(t, 10)
	out := filepath.Join(t.TempDir(), "o.jsonl")
	whole := filepath.Join(t.TempDir(), "whole.jsonl")
	run(t, e, newOptions(e, whole, dir))
	for _, i := range []int{2, 7} {
		put(t, filepath.Join(dir, fmt.Sprintf("%04d.png", i)), []byte("broken"))
	}
	if p := run(t, e, newOptions(e, out, dir)); p.Failed != 2 {
		t.Fatalf("%+v", p)
	}
	for _, i := range []int{2, 7} {
		put(t, filepath.Join(dir, fmt.Sprintf("%04d.png", i)), picture(t, i))
	}
	o := newOptions(e, out, dir)
	o.RetryFailed = true
	ctx, cancel := context.WithCancel(t.Context())
	stopAfter(&o, 1, cancel) // and is broken off
	if _, err := batch.Run(ctx, e, o); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	if p := run(t, e, newOptions(e, out, dir)); p.Done != 10 || p.Failed != 0 || p.Answered > 1 {
		t.Errorf("%+v", p)
	}
	if !slices.Equal(results(t, out), results(t, whole)) {
		t.Error("other records than those of a run without failures")
	}
	if left, _ := filepath.Glob(out + ".*"); len(left) != 1 {
		t.Errorf("left over: %q", left)
	}
}

// TestRetryMended: the one record of a damaged file becomes those of the file when that
// is mended.
func TestRetryMended(t *testing.T) {
	e := open(t)
	parquet, err := os.ReadFile("../../testdata/batch/pandas.parquet")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name  string
		data  []byte
		cut   int
		whole int64 // records of the file
		good  int64 // of them, of what was not cut
	}{
		{"s.tar", archive(t, 0, 5), 1500, 5, 1}, // in the second member
		{"s.parquet", parquet, len(parquet) / 2, 4, 0},
		{"s.tar", archive(t, 0, 5), 0, 5, 0},
	} {
		t.Run(fmt.Sprintf("%s cut at %d", c.name, c.cut), func(t *testing.T) {
			dir := t.TempDir()
			path, out := filepath.Join(dir, c.name), filepath.Join(dir, "o.jsonl")
			put(t, path, c.data[:c.cut])
			if p := run(t, e, newOptions(e, out, path)); p.Done != c.good+1 || p.Failed != 1 {
				t.Fatalf("%+v", p)
			}
			put(t, path, c.data)
			o := newOptions(e, out, path)
			o.RetryFailed = true
			if p := run(t, e, o); p.Done != c.whole || p.Failed != 0 || p.Answered != c.whole-c.good {
				t.Errorf("%+v", p)
			}
			run(t, e, newOptions(e, filepath.Join(dir, "whole.jsonl"), path))
			if !slices.Equal(results(t, out), results(t, filepath.Join(dir, "whole.jsonl"))) {
				t.Error("other records than those of a file that was never damaged")
			}
		})
	}
}

func TestMaxFailures(t *testing.T) {
	e := open(t)
	for _, c := range []struct {
		text string
		ends bool
	}{{"3", true}, {"4", false}, {"1%", false}} {
		t.Run(c.text, func(t *testing.T) {
			o := newOptions(e, filepath.Join(t.TempDir(), "o.jsonl"), "gone{0..3}.png", pictures(t, 2))
			var err error
			if o.MaxFailures, err = batch.ParseMaxFailures(c.text); err != nil {
				t.Fatal(err)
			}
			_, err = batch.Run(t.Context(), e, o)
			var many *batch.FailuresError
			if errors.As(err, &many) != c.ends {
				t.Errorf("%v", err)
			}
		})
	}
	for _, text := range []string{"-1", "x", "101%", "%", "NaN%", ""} {
		if m, err := batch.ParseMaxFailures(text); err == nil {
			t.Errorf("%q is %+v", text, m)
		}
	}
}
