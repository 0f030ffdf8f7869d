//go:build unix

package batch_test

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"hash/crc32"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"paligemma/internal/batch"
	"paligemma/internal/engine"
)

// hugePicture returns a PNG whose header promises 65536×65536 pixels.
func hugePicture(t *testing.T) []byte {
	t.Helper()
	data := picture(t, 1)
	copy(data[16:], []byte{0, 1, 0, 0, 0, 1, 0, 0})
	binary.BigEndian.PutUint32(data[29:], crc32.ChecksumIEEE(data[12:29]))
	return data
}

// inputs are such that fail, and such that do not though one might think so.
var inputs = []struct {
	name string
	file string // whose name is the input; "": a line of q.jsonl
	line string
	want string // id and code of the record, or of the last one of the file
	make func(t *testing.T, path string)
}{
	{name: "good", file: "good.png", want: "good.png "},
	{name: "nothing there", file: "gone.png", want: "gone.png not_found", make: func(*testing.T, string) {}},
	{name: "0 bytes", file: "empty.png", want: "empty.png unreadable_image", make: func(t *testing.T, path string) { put(t, path, nil) }},
	{name: "end is missing", file: "cut.png", want: "cut.png ", make: func(t *testing.T, path string) { put(t, path, picture(t, 1)[:60]) }},
	{name: "head of a JPEG alone", file: "head.jpg", want: "head.jpg unreadable_image", make: func(t *testing.T, path string) { put(t, path, []byte("\xff\xd8\xff\xe0\x00\x10JFIF")) }},
	{name: "damaged", file: "damaged.png", want: "damaged.png unreadable_image", make: func(t *testing.T, path string) {
		data := picture(t, 1)
		data[50] ^= 0xff
		put(t, path, data)
	}},
	{name: "text", file: "text.png", want: "text.png unsupported_image", make: func(t *testing.T, path string) { put(t, path, []byte("hello")) }},
	{name: "bomb", file: "bomb.png", want: "bomb.png too_large", make: func(t *testing.T, path string) { put(t, path, hugePicture(t)) }},
	{name: "many bytes", file: "many.png", want: "many.png too_large", make: func(t *testing.T, path string) { put(t, path, append(picture(t, 1), make([]byte, 1<<20)...)) }},
	{name: "FIFO", file: "fifo.png", want: "fifo.png unreadable_image", make: func(t *testing.T, path string) {
		if err := syscall.Mkfifo(path, 0o666); err != nil {
			t.Fatal(err)
		}
	}},
	{name: "device", file: "/dev/zero", want: "/dev/zero unreadable_image", make: func(*testing.T, string) {}},
	{name: "link to itself", file: "loop.png", want: "loop.png unreadable_image", make: func(t *testing.T, path string) {
		if err := os.Symlink(path, path); err != nil {
			t.Fatal(err)
		}
	}},
	{name: "path through a file", file: "good.png/x.png", want: "good.png/x.png unreadable_image", make: func(*testing.T, string) {}},
	{name: "newline and escape codes", file: "line\n\x1b[31m.png", want: "line\n\x1b[31m.png "},
	{name: "newline and escape codes, damaged", file: "bad\n\x1b[31m.png", want: "bad\n\x1b[31m.png unsupported_image", make: func(t *testing.T, path string) { put(t, path, []byte("x")) }},
	{name: "not UTF-8", file: "\xff.png", want: "\ufffd.png "},
	{name: "member of a tar cut", file: "cut.tar", want: "0001 unreadable_image", make: func(t *testing.T, path string) { put(t, path, archive(t, 0, 2)[:1540+20]) }},
	{name: "tar of nothing", file: "empty.tar", want: "empty.tar#0 unreadable_image", make: func(t *testing.T, path string) { put(t, path, nil) }},
	{name: "damaged member of a tar", file: "member.tar", want: "0001 unreadable_image", make: func(t *testing.T, path string) {
		data := archive(t, 0, 2)
		at := bytes.LastIndex(data, []byte("IDAT"))
		copy(data[at+4:], "xxxxxxxx")
		put(t, path, data)
	}},
	{name: "tar that is none", file: "text.tar", want: "text.tar#0 unreadable_image", make: func(t *testing.T, path string) { put(t, path, bytes.Repeat([]byte("text "), 500)) }},
	{name: "Parquet cut", file: "cut.parquet", want: "cut.parquet#0 unreadable_image", make: func(t *testing.T, path string) {
		data, err := os.ReadFile(programs + "/pandas.parquet")
		if err != nil {
			t.Fatal(err)
		}
		put(t, path, data[:len(data)/2])
	}},
	{name: "prompt too long", line: `{"id":"long","image":"good.png","prompt":"` + strings.Repeat("word ", 9000) + `"}`, want: "long prompt_too_long"},
	{name: "missing image", line: `{"id":"missing","image":"gone.png","prompt":"a"}`, want: "missing not_found"},
	{name: "missing image again", line: `{"id":"missing again","image":"gone.png","prompt":"b"}`, want: "missing again not_found"},
	{name: "malformed line", line: `{"id":`, want: "q.jsonl#4 invalid_request"},
	{name: "folder in place of a file", line: `{"id":"folder","image":"folder.png"}`, want: "folder unreadable_image"},
	{name: "wrong number of images", line: `{"id":"number","image":"good.png","prompt":"<image><image> x"}`, want: "number invalid_request"},
	{name: "box beyond the image", line: `{"id":"box","image":"good.png","box":[0,0,9,9]}`, want: "box invalid_request"},
	{name: "unknown field", line: `{"id":"fine","image":"good.png","more":1}`, want: "fine "},
	{name: "good after all", line: `{"id":"last","image":"good.png"}`, want: "last "},
}

// programs is a folder with what other programs wrote.
var programs, _ = filepath.Abs("../../testdata/batch")

// TestFailures: what is wrong with an input is its record, and the others are answered.
func TestFailures(t *testing.T) {
	e := openWith(t, engine.Options{Special: true})
	t.Chdir(t.TempDir())
	if err := os.Mkdir("folder.png", 0o777); err != nil {
		t.Fatal(err)
	}
	var args, lines []string
	for _, c := range inputs {
		switch {
		case c.file == "":
			lines = append(lines, c.line)
			continue
		case c.make == nil:
			put(t, c.file, picture(t, 1))
		default:
			c.make(t, c.file)
		}
		args = append(args, c.file)
	}
	put(t, "q.jsonl", []byte(strings.Join(lines, "\n")))
	run(t, e, newOptions(e, "o.jsonl", append(args, "q.jsonl")...))
	records := results(t, "o.jsonl")
	for _, c := range inputs {
		t.Run(c.name, func(t *testing.T) {
			for len(records) > 0 {
				var got struct {
					ID         string
					Error      struct{ Code, Message string }
					ImageBytes []byte `json:"image_bytes"`
					Text       *string
					Input      map[string]int
				}
				line := records[0]
				records = records[1:]
				if err := json.Unmarshal([]byte(line), &got); err != nil {
					t.Fatal(err)
				}
				text := got.ID + " " + got.Error.Code
				if text != c.want && strings.HasSuffix(c.file, ".tar") && text == "0000 " {
					continue // the member before
				}
				if text != c.want || (got.Error.Code == "") != (got.Text != nil) || strings.ContainsAny(got.Error.Message, "\n\x1b") || len(got.Error.Message) > 500 {
					t.Errorf("%s, want %s", line, c.want)
				}
				if (got.ID == "\ufffd.png") != (string(got.ImageBytes) == "\xff.png") {
					t.Errorf("image_bytes %q", got.ImageBytes)
				}
				if got.ID == "fine" && got.Input["more"] != 1 {
					t.Errorf("not carried: %s", line)
				}
				return
			}
			t.Error("there is no record")
		})
	}
	if len(records) > 0 {
		t.Errorf("more records: %q", records)
	}
}

// TestJournalNotRegular: what is in the place of a journal and has no end is not read.
func TestJournalNotRegular(t *testing.T) {
	e, dir, out := open(t), pictures(t, 2), filepath.Join(t.TempDir(), "o.jsonl")
	run(t, e, newOptions(e, out, dir))
	for name, place := range map[string]func(path string) error{
		"FIFO":           func(path string) error { return syscall.Mkfifo(path, 0o666) },
		"link to device": func(path string) error { return os.Symlink("/dev/zero", path) },
		"folder":         func(path string) error { return os.Mkdir(path, 0o777) },
	} {
		t.Run(name, func(t *testing.T) {
			if err := errors.Join(os.RemoveAll(out), os.RemoveAll(out+".part"), place(out+".part")); err != nil {
				t.Fatal(err)
			}
			if p, err := batch.Run(t.Context(), e, newOptions(e, out, dir)); err == nil || !strings.Contains(err.Error(), "o.jsonl.part: ") {
				t.Errorf("%+v, %v", p, err)
			}
		})
	}
}
