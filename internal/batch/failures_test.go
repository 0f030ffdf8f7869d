package batch_test

import (
	"context"
	"errors"
	"fmt"
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

// TestRetryMended: the one record of a damaged archive becomes those of the archive
// when that is mended.
func TestRetryMended(t *testing.T) {
	e, dir := open(t), t.TempDir()
	path, out := filepath.Join(dir, "s.tar"), filepath.Join(dir, "o.jsonl")
	data := archive(t, 0, 5)
	put(t, path, data[:1500]) // in the second member
	if p := run(t, e, newOptions(e, out, path)); p.Done != 2 || p.Failed != 1 {
		t.Fatalf("%+v", p)
	}
	put(t, path, data)
	o := newOptions(e, out, path)
	o.RetryFailed = true
	if p := run(t, e, o); p.Done != 5 || p.Failed != 0 || p.Answered != 4 {
		t.Errorf("%+v", p)
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
