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
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"paligemma/internal/batch"
)

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
