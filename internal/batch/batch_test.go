package batch_test

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"image"
	"image/color"
	"image/png"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"paligemma/internal/batch"
	"paligemma/internal/batch/source"
	"paligemma/internal/convert"
	"paligemma/internal/engine"
	"paligemma/internal/preprocess"
)

// open opens a tiny model in F32, whose texts are the same alone and in company.
func open(t testing.TB) *engine.Engine {
	t.Helper()
	path := filepath.Join(t.TempDir(), "tiny.gguf")
	if _, err := convert.Convert(t.Context(), "../../testdata/checkpoints/pg1-tiny", path, convert.Options{Type: "f32"}); err != nil {
		t.Fatal(err)
	}
	e, err := engine.Open(path, engine.Options{Device: "cpu", Threads: 1, Parallel: 4})
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

// TestLocked: two processes do not write one journal. Locks are of open files, so one
// process can stand for two.
func TestLocked(t *testing.T) {
	e := open(t)
	o := newOptions(e, filepath.Join(t.TempDir(), "o.jsonl"), pictures(t, 8))
	var second error
	stopAfter(&o, 1, func() {
		_, second = batch.Run(t.Context(), e, newOptions(e, o.Output, o.Source.Args...))
	})
	if p := run(t, e, o); p.Done != 8 {
		t.Errorf("%+v", p)
	}
	if second == nil || !strings.Contains(second.Error(), "another process is writing it") {
		t.Errorf("%v", second)
	}
}

// TestFailures: what is wrong with an input is its record, and the others are answered.
func TestFailures(t *testing.T) {
	e, dir := open(t), t.TempDir()
	t.Chdir(dir)
	good := picture(t, 1)
	huge := slices.Clone(good)
	copy(huge[16:], []byte{0, 1, 0, 0, 0, 1, 0, 0}) // 65536×65536
	binary.BigEndian.PutUint32(huge[29:], crc32.ChecksumIEEE(huge[12:29]))
	for name, data := range map[string][]byte{
		"good.png": good, "empty.png": nil, "cut.jpg": []byte("\xff\xd8\xff\xe0\x00\x10JFIF"), "text.png": []byte("hello"), "huge.png": huge,
		"line\n\x1b[31m.png": good, "\xff.png": good, "many.png": append(slices.Clone(good), make([]byte, 1<<20)...),
	} {
		put(t, name, data)
	}
	if err := errors.Join(os.Mkdir("dir.png", 0o777), syscall.Mkfifo("fifo.png", 0o666)); err != nil {
		t.Fatal(err)
	}
	put(t, "q.jsonl", []byte(strings.Join([]string{
		`{"id":"long","image":"good.png","prompt":"` + strings.Repeat("word ", 9000) + `"}`,
		`{"id":"missing","image":"gone.png","prompt":"a"}`, `{"id":"missing again","image":"gone.png","prompt":"b"}`,
		`{"id":`, `{"id":"dir","image":"dir.png"}`, `{"id":"box","image":"good.png","box":[0,0,9,9]}`, `{"id":"fine","image":"good.png","more":1}`,
	}, "\n")))
	args := []string{"good.png", "empty.png", "cut.jpg", "text.png", "huge.png", "many.png", "fifo.png", "gone.png", "line\n\x1b[31m.png", "\xff.png", "q.jsonl", "good.png"}
	p := run(t, e, newOptions(e, "o.jsonl", args...))
	want := []string{
		"good.png ", "empty.png unreadable_image", "cut.jpg unreadable_image", "text.png unsupported_image", "huge.png too_large", "many.png too_large",
		"fifo.png unreadable_image", "gone.png not_found", "line\n\x1b[31m.png ", "\ufffd.png ", "long prompt_too_long", "missing not_found",
		"missing again not_found", "q.jsonl#4 invalid_request", "dir unreadable_image", "box invalid_request", "fine ", "good.png ",
	}
	if p.Failed != 13 || p.Done != int64(len(want)) {
		t.Errorf("%+v", p)
	}
	for i, line := range results(t, "o.jsonl") {
		var got struct {
			ID         string
			Error      struct{ Code, Message string }
			ImageBytes []byte `json:"image_bytes"`
			Text       *string
			Input      map[string]int
		}
		if err := json.Unmarshal([]byte(line), &got); err != nil {
			t.Fatal(err)
		}
		if text := got.ID + " " + got.Error.Code; text != want[i] || (got.Error.Code == "") != (got.Text != nil) || strings.ContainsAny(got.Error.Message, "\n\x1b") {
			t.Errorf("record %d: %s, want %s", i, line, want[i])
		}
		if (got.ID == "\ufffd.png") != (string(got.ImageBytes) == "\xff.png") {
			t.Errorf("record %d: image_bytes %q", i, got.ImageBytes)
		}
		if got.ID == "fine" && got.Input["more"] != 1 {
			t.Errorf("not carried: %s", line)
		}
	}
}

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
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for i := range 5 {
		data := picture(t, i)
		err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: fmt.Sprintf("%d.png", i), Size: int64(len(data)), Mode: 0o644})
		if _, err2 := w.Write(data); err != nil || err2 != nil {
			t.Fatal(err, err2)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	put(t, path, b.Bytes()[:1500]) // in the second member
	if p := run(t, e, newOptions(e, out, path)); p.Done != 2 || p.Failed != 1 {
		t.Fatalf("%+v", p)
	}
	put(t, path, b.Bytes())
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

// endless is a list without an end.
type endless struct{ read int64 }

// Read gives more of the list.
func (e *endless) Read(p []byte) (int, error) {
	n := 0
	for len(p)-n > 40 {
		n += copy(p[n:], fmt.Sprintf("gone/%020d.png\n", e.read+int64(n)))
	}
	e.read += int64(n)
	return n, nil
}

// TestEndless: records come while the list is read, of which no more is held than is
// under way.
func TestEndless(t *testing.T) {
	e, in, stop := open(t), &endless{}, make(chan struct{})
	o := newOptions(e, filepath.Join(t.TempDir(), "o.jsonl"))
	o.Source.FilesFrom, o.Source.Stdin, o.Stop = source.Stdin, in, stop
	stopAfter(&o, 5000, func() { close(stop) })
	p, err := batch.Run(t.Context(), e, o)
	if !errors.Is(err, batch.ErrStopped) || p.Done < 5000 || p.Failed != p.Done {
		t.Errorf("%+v, %v", p, err)
	}
	if most := p.Done*31 + 200_000; in.read > most {
		t.Errorf("%d bytes of the list were read for %d records", in.read, p.Done)
	}
}

// TestEncodedOnce: equal neighbors, and prompts about one image, share what the model
// made of the image.
func TestEncodedOnce(t *testing.T) {
	e, dir := open(t), pictures(t, 2)
	first, copied, second := filepath.Join(dir, "0000.png"), filepath.Join(dir, "0000b.png"), filepath.Join(dir, "0001.png")
	put(t, copied, picture(t, 0))
	o := newOptions(e, filepath.Join(t.TempDir(), "o.jsonl"), first, copied, second)
	o.Task.Prompts = []string{"caption en", "ocr"}
	run(t, e, o)
	data, err := os.ReadFile(o.Output)
	if err != nil {
		t.Fatal(err)
	}
	var vision []float64
	for line := range strings.Lines(string(data)) {
		var r struct {
			Timings struct {
				Vision float64 `json:"vision_ms"`
			}
		}
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			t.Fatal(err)
		}
		vision = append(vision, r.Timings.Vision)
	}
	if len(vision) != 6 || len(slices.Compact(slices.Clone(vision))) != 2 || vision[3] != vision[0] {
		t.Errorf("the images took %v ms to encode", vision)
	}
}
