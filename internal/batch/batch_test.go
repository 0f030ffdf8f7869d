package batch_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"paligemma/internal/batch"
	"paligemma/internal/convert"
	"paligemma/internal/engine"
	"paligemma/internal/preprocess"
)

// open opens a tiny model in F32, whose texts are the same alone and in company.
func open(t testing.TB) *engine.Engine {
	t.Helper()
	return openWith(t, engine.Options{})
}

// openWith is open with other options.
func openWith(t testing.TB, o engine.Options) *engine.Engine {
	t.Helper()
	o.Device, o.Threads, o.Parallel = "cpu", 1, 4
	path := filepath.Join(t.TempDir(), "tiny.gguf")
	if _, err := convert.Convert(t.Context(), "../../testdata/checkpoints/pg1-tiny", path, convert.Options{Type: "f32"}); err != nil {
		t.Fatal(err)
	}
	e, err := engine.Open(path, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Close)
	return e
}

// newOptions are those of a caption of each image.
func newOptions(e *engine.Engine, output string, args ...string) batch.Options {
	prompts := []string{"caption en"}
	return batch.Options{
		Source: batch.Inputs{Args: args},
		Task: batch.Task{
			Name: "caption", Model: "tiny", Prompts: prompts, Return: 1,
			Wrap:    func(prompt string) string { return prompt },
			Request: engine.Request{MaxTokens: 6, LogProbs: true},
		},
		Job:      batch.Job{Format: batch.FormatVersion, Model: batch.NewModel("tiny", e.File()), Task: "caption", Prompts: prompts, MaxTokens: 6},
		Output:   output,
		Parallel: 3,
		Sync:     batch.DefaultSync,
		Limits:   func(string) preprocess.Limits { return preprocess.Limits{MaxPixels: 1 << 20, MaxBytes: 1 << 20} },
	}
}

// picture returns a PNG of a color that depends on n.
func picture(t testing.TB, n int) []byte {
	t.Helper()
	img := image.NewRGBA(image.Rect(0, 0, 8, 8))
	for i := range 64 {
		img.Set(i%8, i/8, color.RGBA{uint8(n * 37), uint8(i * 4), uint8(n), 255})
	}
	var b bytes.Buffer
	if err := png.Encode(&b, img); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// pictures writes n pictures into a folder.
func pictures(t testing.TB, n int) string {
	t.Helper()
	dir := t.TempDir()
	for i := range n {
		put(t, filepath.Join(dir, fmt.Sprintf("%04d.png", i)), picture(t, i))
	}
	return dir
}

func put(t testing.TB, path string, data []byte) {
	t.Helper()
	if err := os.WriteFile(path, data, 0o666); err != nil {
		t.Fatal(err)
	}
}

var timings = regexp.MustCompile(`,"timings":\{[^}]*\}`)

// results returns the records of a file, without their timings.
func results(t testing.TB, path string) []string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(strings.TrimSuffix(timings.ReplaceAllString(string(data), ""), "\n"), "\n")
}

func run(t testing.TB, e *engine.Engine, o batch.Options) batch.Progress {
	t.Helper()
	p, err := batch.Run(t.Context(), e, o)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// TestOrder: there is a record for each input, in their order, whatever ends first, and
// each is what the engine answers alone.
func TestOrder(t *testing.T) {
	e, dir, out := open(t), pictures(t, 20), filepath.Join(t.TempDir(), "o.jsonl")
	if p := run(t, e, newOptions(e, out, dir)); p != (batch.Progress{Done: 20, Answered: 20}) {
		t.Errorf("%+v", p)
	}
	lines := results(t, out)
	if len(lines) != 20 {
		t.Fatalf("%d records", len(lines))
	}
	for i, line := range lines {
		path := filepath.Join(dir, fmt.Sprintf("%04d.png", i))
		source, err := preprocess.Open(picture(t, i), preprocess.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		img, err := e.NewImage(source)
		if err != nil {
			t.Fatal(err)
		}
		want, err := e.Generate(t.Context(), engine.Request{Prompt: engine.Prompt{Text: "caption en", Images: []*engine.Image{img}}, MaxTokens: 6})
		if err != nil {
			t.Fatal(err)
		}
		var got struct{ ID, Image, Text, Prompt string }
		if err := json.Unmarshal([]byte(line), &got); err != nil {
			t.Fatal(err)
		}
		if got.ID != path || got.Image != path || got.Text != want.Text || got.Prompt != "caption en" {
			t.Errorf("record %d: %s, want %q", i, line, want.Text)
		}
	}
	if _, err := os.Stat(out + ".part"); err == nil {
		t.Error("the journal is still there")
	}
	var stats batch.Stats
	data, err := os.ReadFile(strings.TrimSuffix(out, ".jsonl") + ".stats.json")
	if err := errors.Join(err, json.Unmarshal(data, &stats)); err != nil || stats.Records != 20 || stats.Answered != 20 || stats.DecodeTokens == 0 {
		t.Errorf("%v: %+v", err, stats)
	}
}

// stopAfter has a run end after n records: in an orderly way, or by its context.
func stopAfter(o *batch.Options, n int64, end func()) {
	o.OnDone = func(p batch.Progress) {
		if p.Answered == n {
			end()
		}
	}
}

// TestResume: a run that was broken off, in whatever way, goes on where it stopped, and
// what is there in the end is what an unbroken run writes.
func TestResume(t *testing.T) {
	e, dir := open(t), pictures(t, 30)
	whole := filepath.Join(t.TempDir(), "whole.jsonl")
	run(t, e, newOptions(e, whole, dir))
	want := results(t, whole)
	for _, c := range []struct {
		name   string
		before func(t *testing.T, o batch.Options)
	}{
		{"stopped", func(t *testing.T, o batch.Options) {
			stop := make(chan struct{})
			o.Stop = stop
			stopAfter(&o, 5, func() { close(stop) })
			if p, err := batch.Run(t.Context(), e, o); !errors.Is(err, batch.ErrStopped) || p.Done < 5 || p.Done == 30 {
				t.Fatalf("%+v, %v", p, err)
			}
		}},
		{"canceled twice", func(t *testing.T, o batch.Options) {
			for range 2 {
				ctx, cancel := context.WithCancel(t.Context())
				stopAfter(&o, 7, cancel)
				if p, err := batch.Run(ctx, e, o); !errors.Is(err, context.Canceled) || p.Done == 30 {
					t.Fatalf("%+v, %v", p, err)
				}
			}
		}},
		{"torn", func(t *testing.T, o batch.Options) {
			ctx, cancel := context.WithCancel(t.Context())
			stopAfter(&o, 9, cancel)
			_, _ = batch.Run(ctx, e, o)
			data, err := os.ReadFile(o.Output + ".part")
			if err != nil {
				t.Fatal(err)
			}
			put(t, o.Output+".part", data[:len(data)-20])
		}},
		{"zeros at the end", func(t *testing.T, o batch.Options) {
			ctx, cancel := context.WithCancel(t.Context())
			stopAfter(&o, 9, cancel)
			_, _ = batch.Run(ctx, e, o)
			data, err := os.ReadFile(o.Output + ".part")
			if err != nil {
				t.Fatal(err)
			}
			put(t, o.Output+".part", append(data, make([]byte, 1000)...))
		}},
		{"torn after the last", func(t *testing.T, o batch.Options) {
			run(t, e, o)
			data, err := os.ReadFile(o.Output)
			if err := errors.Join(err, os.Rename(o.Output, o.Output+".part")); err != nil {
				t.Fatal(err)
			}
			put(t, o.Output+".part", append(data, `{"id":"more`...))
		}},
		{"not renamed", func(t *testing.T, o batch.Options) {
			run(t, e, o)
			if err := os.Rename(o.Output, o.Output+".part"); err != nil {
				t.Fatal(err)
			}
		}},
		{"complete", func(t *testing.T, o batch.Options) { run(t, e, o) }},
		{"without numbers", func(t *testing.T, o batch.Options) {
			run(t, e, o)
			if err := os.Remove(strings.TrimSuffix(o.Output, ".jsonl") + ".stats.json"); err != nil {
				t.Fatal(err)
			}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			out := filepath.Join(t.TempDir(), "o.jsonl")
			c.before(t, newOptions(e, out, dir))
			if p := run(t, e, newOptions(e, out, dir)); p.Done != 30 {
				t.Errorf("%+v", p)
			}
			if got := results(t, out); !slices.Equal(got, want) {
				t.Errorf("%d records, other than those of an unbroken run", len(got))
			}
		})
	}
}

// TestRefused: an output that is another job's, or of other inputs, is left alone.
func TestRefused(t *testing.T) {
	e, dir := open(t), pictures(t, 30)
	begun := func(t *testing.T, o batch.Options) {
		stop := make(chan struct{})
		o.Stop = stop
		stopAfter(&o, 2, func() { close(stop) })
		if _, err := batch.Run(t.Context(), e, o); !errors.Is(err, batch.ErrStopped) {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		name, want string
		change     func(t *testing.T, o *batch.Options)
	}{
		{"prompt", `prompts was ["caption en"], is ["caption de"]`, func(_ *testing.T, o *batch.Options) {
			o.Job.Prompts = []string{"caption de"}
		}},
		{"model", "model was {", func(_ *testing.T, o *batch.Options) { o.Job.Model.SHA256 = "0" }},
		{"flag that is new", "beams was not given, is 4", func(_ *testing.T, o *batch.Options) { o.Job.Beams = 4 }},
		{"inputs", "the inputs have changed: record", func(t *testing.T, o *batch.Options) {
			o.Source.Args = []string{pictures(t, 30)}
		}},
		{"fewer inputs", "but there are only 1 inputs", func(_ *testing.T, o *batch.Options) {
			o.Source.Args = []string{filepath.Join(dir, "0000.png")}
		}},
		{"damaged journal", "line 1 is damaged", func(t *testing.T, o *batch.Options) {
			data, err := os.ReadFile(o.Output + ".part")
			if err != nil {
				t.Fatal(err)
			}
			data[3] = 'x'
			put(t, o.Output+".part", data)
		}},
		{"foreign file", "file exists", func(t *testing.T, o *batch.Options) {
			if err := os.Remove(o.Output + ".job.json"); err != nil {
				t.Fatal(err)
			}
		}},
		{"foreign statistics", "o.stats.json: file exists", func(t *testing.T, o *batch.Options) {
			if err := errors.Join(os.Remove(o.Output+".job.json"), os.Remove(o.Output+".part")); err != nil {
				t.Fatal(err)
			}
			put(t, strings.TrimSuffix(o.Output, ".jsonl")+".stats.json", []byte("somebody's"))
		}},
		{"foreign file to retry", "o.jsonl.retry: file exists", func(t *testing.T, o *batch.Options) {
			if err := errors.Join(os.Remove(o.Output+".job.json"), os.Rename(o.Output+".part", o.Output+".retry")); err != nil {
				t.Fatal(err)
			}
		}},
		{"input as output", "is also an input", func(t *testing.T, o *batch.Options) {
			put(t, o.Output, nil)
			o.Source.Requests = o.Output
		}},
		{"other extension", "want a folder, or a file that ends with", func(_ *testing.T, o *batch.Options) { o.Output = "x.txt" }},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := newOptions(e, filepath.Join(t.TempDir(), "o.jsonl"), dir)
			begun(t, o)
			c.change(t, &o)
			if _, err := batch.Run(t.Context(), e, o); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("%v, want %s", err, c.want)
			}
			if strings.Contains(c.name, "output") || strings.Contains(c.name, "extension") {
				return
			}
			o.Overwrite = true
			if p, err := batch.Run(t.Context(), e, o); err != nil || p.Answered != p.Done {
				t.Errorf("overwritten: %+v, %v", p, err)
			}
		})
	}
}
