//go:build unix

package batch_test

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"hash/crc32"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
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
