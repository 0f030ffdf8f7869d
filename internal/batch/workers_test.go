package batch_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"paligemma/internal/batch"
	"paligemma/internal/engine"
)

// pretended is a worker in this process, which may die after a number of replies.
type pretended struct {
	in     *io.PipeWriter
	out    *io.PipeReader
	ended  chan struct{}
	cancel func()
}

// pretend starts a worker that serves with an engine. Above 0 replies it dies after them,
// in the middle of the next one.
func pretend(e *engine.Engine, o batch.Options, replies int) *batch.Process {
	questions, in := io.Pipe()
	out, answers := io.Pipe()
	ctx, cancel := context.WithCancel(context.Background())
	p := &pretended{in: in, out: out, ended: make(chan struct{}), cancel: sync.OnceFunc(func() {
		cancel()
		questions.CloseWithError(io.ErrClosedPipe)
		answers.CloseWithError(io.EOF)
	})}
	go func() {
		defer close(p.ended)
		defer p.cancel()
		var w io.Writer = answers
		if replies > 0 {
			w = &dying{w: answers, left: replies, die: p.cancel}
		}
		if batch.Greet(answers, batch.Hello{Model: o.Job.Model, Parallel: 2}) == nil {
			_ = batch.Serve(ctx, e, o, questions, w)
		}
	}()
	return &batch.Process{In: in, Out: out, Wait: func() error { <-p.ended; return nil }, Kill: func() error { p.cancel(); return nil }}
}

// dying lets some replies pass.
type dying struct {
	w    io.Writer
	left int
	die  func()
}

// Write writes a reply, or half of it.
func (d *dying) Write(p []byte) (int, error) {
	if d.left--; d.left < 0 {
		_, _ = d.w.Write(p[:len(p)/2])
		d.die()
		return 0, io.ErrClosedPipe
	}
	return d.w.Write(p)
}

// TestWorkers: what workers answer is what one process does, also where some of them die.
func TestWorkers(t *testing.T) {
	e, dir := open(t), pictures(t, 30)
	lines := filepath.Join(dir, "q.jsonl")
	put(t, lines, []byte(strings.Join([]string{
		`{"id":"<a>&","image":"0001.png","prompt":"its own","k":["<",1.50, "\u2028"]}`, `{"id":"gone","image":"gone.png"}`, `{"id":`,
		`{"id":"http","images":["0001.png","http://x/y.png"]}`, `{"id":"empty","image":"data:image/png;base64,"}`,
		`{"id":"box","image":"0002.png","box":[0,0,4.5,8]}`, `{"id":"no","images":[],"prompt":""}`, `{"id":"long","prompt":"` + strings.Repeat("word ", 9000) + `"}`,
		`{"custom_id":"chat","body":{"max_tokens":2,"messages":[{"content":"x"}]}}`, `{"id":"choices","prompt":"x","choices":[]}`,
	}, "\n")))
	put(t, filepath.Join(dir, "\xff.png"), picture(t, 77))
	args := []string{dir, lines, dir}
	whole := newOptions(e, filepath.Join(t.TempDir(), "whole.jsonl"), args...)
	run(t, e, whole)
	want := results(t, whole.Output)
	for _, c := range []struct {
		name    string
		workers int
		replies func(index, start int) int
	}{
		{"one", 1, func(int, int) int { return 0 }},
		{"three", 3, func(int, int) int { return 0 }},
		{"one of two dies", 2, func(index, start int) int { return (1 - index) * (1 - start) * 9 }},
		{"each dies once", 3, func(index, start int) int {
			if start > 0 {
				return 0
			}
			return 3 + 5*index
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := newOptions(e, filepath.Join(t.TempDir(), "o.jsonl"), args...)
			var mu sync.Mutex
			starts := map[int]int{}
			w, err := batch.StartWorkers(t.Context(), c.workers, func(_ context.Context, index int) (*batch.Process, error) {
				mu.Lock()
				defer mu.Unlock()
				starts[index]++
				return pretend(e, o, c.replies(index, min(1, starts[index]-1))), nil
			})
			if err != nil {
				t.Fatal(err)
			}
			defer w.Close()
			o.Workers = w
			if p := run(t, nil, o); p.Done != int64(len(want)) {
				t.Errorf("%+v", p)
			}
			if got := results(t, o.Output); !slices.Equal(got, want) {
				for i := range min(len(got), len(want)) {
					if got[i] != want[i] {
						t.Errorf("%.300s, want %.300s", got[i], want[i])
					}
				}
			}
		})
	}
}

// TestWorkersEnd: what ends workers ends the run, with an error, and does not hang.
func TestWorkersEnd(t *testing.T) {
	e, dir := open(t), pictures(t, 30)
	o := newOptions(e, "", dir)
	said := func(text string) *batch.Process {
		return &batch.Process{In: nopCloser{io.Discard}, Out: strings.NewReader(text), Wait: func() error { return nil }, Kill: func() error { return nil }}
	}
	var starts atomic.Int64
	for _, c := range []struct {
		name, want string
		start      func(index int) (*batch.Process, error)
	}{
		{"cannot be started", "start a worker: no", func(int) (*batch.Process, error) { return nil, errors.New("no") }},
		{"without a model", "no model", func(int) (*batch.Process, error) { return said(`{"failure":"no model","code":4}`), nil }},
		{"says nothing", "ended before it was ready", func(int) (*batch.Process, error) { return said(""), nil }},
		{"says nonsense", "ended before it was ready", func(int) (*batch.Process, error) { return said("hello"), nil }},
		{"dies at every question", "3 workers died while they answered", func(int) (*batch.Process, error) { return pretend(e, o, 1), nil }},
		{"dies at once", "workers die again and again", func(int) (*batch.Process, error) { return said(`{"parallel":0}`), nil }},
		{"cannot be started again", "start a worker: gone", func(int) (*batch.Process, error) {
			if starts.Add(1) > 2 {
				return nil, errors.New("gone")
			}
			return pretend(e, o, 2), nil
		}},
		{"fatal", "out of order", func(int) (*batch.Process, error) {
			in, out := io.Pipe()
			questions, w := io.Pipe()
			go func() {
				defer out.Close()
				fmt.Fprintln(out, `{"parallel":1}`)
				for lines := bufio.NewScanner(questions); lines.Scan(); {
					var n int
					_, _ = fmt.Sscanf(lines.Text(), `{"number":%d`, &n)
					fmt.Fprintf(out, `{"number":%d,"fatal":"out of order","kind":"model"}`+"\n", n)
				}
			}()
			return &batch.Process{In: w, Out: in, Wait: func() error { return nil }, Kill: w.Close}, nil
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			w, err := batch.StartWorkers(t.Context(), 2, func(_ context.Context, index int) (*batch.Process, error) { return c.start(index) })
			if err == nil {
				defer w.Close()
				o := o
				o.Output, o.Workers = filepath.Join(t.TempDir(), "o.jsonl"), w
				_, err = batch.Run(t.Context(), nil, o)
			}
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %s", err, c.want)
			}
		})
	}
}

type nopCloser struct{ io.Writer }

// Close does nothing.
func (nopCloser) Close() error { return nil }
