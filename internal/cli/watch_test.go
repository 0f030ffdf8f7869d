package cli

import (
	"bytes"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"paligemma/internal/ggml"
)

// Only what takes long, and still has long to go, is shown.
func TestWatcher(t *testing.T) {
	at := func(done int, elapsed time.Duration) ggml.Progress {
		return ggml.Progress{Done: done, Total: 100, Elapsed: elapsed}
	}
	for _, c := range []struct {
		name string
		seen []ggml.Progress
		want []string // in what was written, in order
		none string   // not in it
	}{
		{"nothing", []ggml.Progress{{}, {}}, nil, "prompt"},
		{"it has just begun", []ggml.Progress{at(0, 5*time.Second), at(1, 900*time.Millisecond)}, nil, "prompt"},
		{"it is over soon", []ggml.Progress{at(50, time.Second), at(90, 2*time.Second)}, nil, "prompt"},
		{"short ones, one after the other", []ggml.Progress{at(10, 100*time.Millisecond), at(10, 90*time.Millisecond), at(99, 800*time.Millisecond)}, nil, "prompt"},
		{"a long one, to its end", []ggml.Progress{at(10, 2*time.Second), at(50, 10*time.Second), at(100, 20*time.Second)},
			[]string{"prompt, 18s left", " 9%", "prompt, 10s left", "49%", "prompt, 0s left", "99%"}, "100%"},
		{"then a short one", []ggml.Progress{at(10, 2*time.Second), at(99, time.Second)}, []string{"18s left", " 9%"}, "0s left"},
		{"then none", []ggml.Progress{at(10, 2*time.Second), {}}, []string{"18s left"}, "100%"},
		{"then a long one", []ggml.Progress{at(50, 20*time.Second), at(10, 2*time.Second)}, []string{"20s left", "49%", "18s left", " 9%"}, "100%"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var errs bytes.Buffer
			w := watcher{a: &app{bars: &errs}, what: "prompt"}
			for _, p := range c.seen {
				w.show(p)
			}
			w.hide()
			out, rest := errs.String(), errs.String()
			for _, want := range c.want {
				_, after, ok := strings.Cut(rest, want)
				if !ok {
					t.Errorf("%s: %q is not in %q", c.name, want, rest)
				}
				rest = after
			}
			if strings.Contains(out, c.none) {
				t.Errorf("%s: %q is in %q", c.name, c.none, out)
			}
			if c.want != nil && !strings.HasSuffix(out, " \r") {
				t.Errorf("%s: the line is left as %q", c.name, out[max(0, len(out)-50):])
			}
		})
	}
}

// A bar comes and goes beside the computation, where there are bars.
func TestWatch(t *testing.T) {
	for _, c := range []struct {
		tty   bool
		o     commonOptions
		shown bool
	}{
		{true, commonOptions{Progress: progressAuto}, true},
		{false, commonOptions{Progress: progressAuto}, false},
		{false, commonOptions{Progress: progressAlways}, true},
		{true, commonOptions{Progress: progressNever}, false},
		{true, commonOptions{Progress: progressJSON}, false},
		{true, commonOptions{Progress: progressAuto, Quiet: true}, false},
	} {
		t.Run(fmt.Sprintf("%v %+v", c.tty, c.o), func(t *testing.T) {
			var errs bytes.Buffer
			var looks atomic.Int32
			twice := make(chan struct{})
			a := &app{Streams: Streams{ErrTTY: c.tty}, bars: &errs, common: c.o}
			stop := a.watch(func() ggml.Progress {
				if looks.Add(1) == 2 {
					close(twice)
				}
				return ggml.Progress{Done: 10, Total: 100, Elapsed: time.Minute}
			}, "image")
			if c.shown {
				<-twice
			}
			stop()
			stop()
			if n := errs.Len(); (n > 0) != c.shown || (looks.Load() > 0) != c.shown {
				t.Errorf("%+v: %q, looked %d times", c, errs.String(), looks.Load())
			}
		})
	}
}
