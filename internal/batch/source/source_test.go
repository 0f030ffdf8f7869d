package source

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"paligemma/internal/result"
)

func always() bool { return true }

// write writes a file into a folder and returns its path.
func write(t testing.TB, dir, name, data string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(data), 0o666); err != nil {
		t.Fatal(err)
	}
	return path
}

// read returns the records of all shards of options.
func read(t testing.TB, o Options) (all []Record) {
	t.Helper()
	shards, err := o.Shards()
	if err != nil {
		t.Fatal(err)
	}
	for i := range shards {
		all = slices.AppendSeq(all, shards[i].Records(t.Context(), always))
	}
	return all
}

// shown describes records in short: id, images, prompt, what is carried, and the code
// of an error.
func shown(records []Record) (lines []string) {
	for _, r := range records {
		line := r.ID
		for _, i := range r.Images {
			line += " " + i.Name
			if i.Data != nil {
				line += "=" + string(i.Data)
			}
			if i.Err != nil {
				line += "!" + result.Code(i.Err)
			}
		}
		if r.Prompt != nil {
			line += fmt.Sprintf(" %q", *r.Prompt)
		}
		if r.Choices != nil {
			line += fmt.Sprint(" ", r.Choices)
		}
		if r.Box != nil {
			line += fmt.Sprint(" ", *r.Box)
		}
		if r.Input != nil {
			line += " " + string(r.Input)
		}
		if r.Err != nil {
			line += " !" + result.Code(r.Err)
		}
		lines = append(lines, strings.TrimSpace(line))
	}
	return lines
}

func compare(t *testing.T, got []Record, want ...string) {
	t.Helper()
	if lines := shown(got); !reflect.DeepEqual(lines, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(lines, "\n"), strings.Join(want, "\n"))
	}
}

func TestExpandBraces(t *testing.T) {
	for _, c := range []struct {
		name, text string
		want       []string
	}{
		{"none", "a.tar", []string{"a.tar"}},
		{"zeros", "{008..011}.tar", []string{"008.tar", "009.tar", "010.tar", "011.tar"}},
		{"without zeros", "s{8..10}", []string{"s8", "s9", "s10"}},
		{"words", "{train,val}-{0..1}", []string{"train-0", "train-1", "val-0", "val-1"}},
		{"one number", "{7..7}", []string{"7"}},
		{"text", "a{b}c{d", []string{"a{b}c{d"}},
		{"no numbers", "{a..c}", []string{"{a..c}"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got, err := expandBraces(c.text); err != nil || !slices.Equal(got, c.want) {
				t.Errorf("%q, %v; want %q", got, err, c.want)
			}
		})
	}
	for _, text := range []string{"{9..3}", "{0..9999999}", "{0..999999}{0..999999}"} {
		t.Run(text, func(t *testing.T) {
			if got, err := expandBraces(text); err == nil {
				t.Errorf("%d names, want an error", len(got))
			}
		})
	}
}

func TestLines(t *testing.T) {
	dir := t.TempDir()
	long := `{"image": "` + strings.Repeat("x", 100) + `"}`
	for _, c := range []struct{ name, line, want string }{
		{"image and prompt", `{"image": "a.jpg", "prompt": "ocr"}`, `D/q.jsonl#1 D/a.jpg "ocr"`},
		{"prefix and suffix", `{"image": "/a.jpg", "prefix": "p", "suffix": "s"}`, `D/q.jsonl#1 /a.jpg "p" {"suffix":"s"}`},
		{"several images", `{"images": ["a", "b"], "id": 7}`, `7 D/a D/b`},
		{"no image", `{"prompt": "", "id": "x"}`, `x ""`},
		{"choices and box", `{"id":"x","image":"a","choices":["y","n"],"box":[0,1,2,3.5]}`, `x D/a [y n] [0 1 2 3.5]`},
		{"null", `{"id":"x","image":null,"prompt":null}`, `x`},
		{"carried", `{"id":"x","image":"a","n": {"k": [1, 2]}, "s":"\u00e9\n"}`, `x D/a {"n":{"k": [1, 2]},"s":"\u00e9\n"}`},
		{"data", `{"id":"x","image":"data:image/png;base64,YWJj"}`, `x data:=abc`},
		{"bad base64", `{"id":"x","image":"data:image/png;base64,?"}`, `x data:!invalid_request`},
		{"address", `{"id":"x","image":"https://example.org/a.png"}`, `x https://example.org/a.png!invalid_request`},
		{"not json", `{"image": `, `D/q.jsonl#1 !invalid_request`},
		{"not an object", `["a"]`, `D/q.jsonl#1 !invalid_request`},
		{"two objects", `{"id":"x"}{}`, `x !invalid_request`},
		{"not utf-8", "{\"image\":\"\xff\"}", `D/q.jsonl#1 !invalid_request`},
		{"id is kept", `{"id":"x","image":3}`, `x !invalid_request`},
		{"image and images", `{"id":"x","image":"a","images":["b"]}`, `x !invalid_request`},
		{"box turned around", `{"id":"x","image":"a","box":[5,0,1,1]}`, `x !invalid_request`},
		{"long", long, `D/q.jsonl#1 D/` + strings.Repeat("x", 100)},
		{"chat", `{"custom_id":"c","method":"POST","url":"/v1/chat/completions","body":{"model":"m","max_tokens":5,"messages":[{"role":"user","content":[{"type":"text","text":"ocr"},{"type":"image_url","image_url":{"url":"a.png"}}]}]}}`, `c D/a.png "ocr"`},
		{"chat of text", `{"custom_id":"c","body":{"messages":[{"role":"system","content":"a"},{"role":"user","content":"b"}]}}`, `c "a\nb"`},
		{"chat of sound", `{"custom_id":"c","body":{"messages":[{"content":[{"type":"input_audio"}]}]}}`, `c "" !invalid_request`},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := write(t, dir, "q.jsonl", c.line+"\n")
			got := read(t, Options{Args: []string{path}})
			compare(t, got, strings.ReplaceAll(c.want, "D/", dir+"/"))
			if strings.HasPrefix(c.name, "chat") != got[0].Chat {
				t.Errorf("chat: %v", got[0].Chat)
			}
		})
	}
	t.Run("others follow", func(t *testing.T) {
		o := Options{Requests: Stdin, Stdin: strings.NewReader("\xef\xbb\xbf{\"id\":\"a\"}\n\n{\nx\n{\"id\":\"b\"}"), ImageRoot: "root"}
		compare(t, read(t, o), "a", "-#3 !invalid_request", "-#4 !invalid_request", "b")
	})
	t.Run("image root", func(t *testing.T) {
		o := Options{Requests: Stdin, Stdin: strings.NewReader(`{"id":"a","image":"x.png"}`), ImageRoot: "root"}
		compare(t, read(t, o), "a root/x.png")
	})
}

// TestLinesCome: a record comes before the next line is written.
func TestLinesCome(t *testing.T) {
	in, out := io.Pipe()
	defer out.Close()
	o := Options{Requests: Stdin, Stdin: in}
	shards, err := o.Shards()
	if err != nil {
		t.Fatal(err)
	}
	write := func(n int) { go fmt.Fprintf(out, "{\"id\":%d}\n", n) }
	write(0)
	n := 0
	for r := range shards[0].Records(t.Context(), always) {
		if r.ID != fmt.Sprint(n) {
			t.Fatalf("record %s, want %d", r.ID, n)
		}
		if n++; n == 3 {
			break
		}
		write(n)
	}
}

func TestCOCO(t *testing.T) {
	dir := t.TempDir()
	for _, c := range []struct {
		name, data string
		want       []string
	}{
		{"images", `{"info":{"a":[1,{}]},"images":[{"id":3,"file_name":"a.jpg","width":5},{"id":4,"file_name":"s/b.jpg"}],"annotations":[`, []string{`3 D/a.jpg {"image_id":3}`, `4 D/s/b.jpg {"image_id":4}`}},
		{"byte order mark", "\xef\xbb\xbf" + `{"images":[{"id":3,"file_name":"/a.jpg"}]}`, []string{`3 /a.jpg {"image_id":3}`}},
		{"no name", `{"images":[{"id":3},{"file_name":"b.jpg"}]}`, []string{`3 !invalid_request`, `b.jpg !invalid_request`}},
		{"cut", `{"images":[{"id":3,"file_name":"a.jpg"},{"id":4,`, []string{`3 D/a.jpg {"image_id":3}`, `F#1 !unreadable_image`}},
		{"other json", `[1]`, []string{`F#0 !unreadable_image`}},
		{"without images", `{"a":1}`, []string{`F#0 !unreadable_image`}},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := write(t, dir, "c.json", c.data)
			for i := range c.want {
				c.want[i] = strings.ReplaceAll(strings.ReplaceAll(c.want[i], "F#", path+"#"), "D/", dir+"/")
			}
			compare(t, read(t, Options{Args: []string{path}}), c.want...)
		})
	}
}

func TestStems(t *testing.T) {
	o := Options{Args: []string{"a/x.tar", "b/X.tar.gz", "c.jpg", "y.jsonl", "d.jpg", "U.TAR.Zst"}, Requests: Stdin}
	shards, err := o.Shards()
	if err != nil {
		t.Fatal(err)
	}
	var stems []string
	for _, s := range shards {
		stems = append(stems, s.Stem)
	}
	if want := []string{"x", "X-2", "images", "y", "images-2", "U", "stdin"}; !slices.Equal(stems, want) {
		t.Errorf("%q, want %q", stems, want)
	}
}

// The end of a context ends an iteration.
func TestCanceled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	o := Options{Requests: Stdin, Stdin: strings.NewReader(strings.Repeat("{}\n", 100))}
	shards, err := o.Shards()
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for range shards[0].Records(ctx, always) {
		n++
		cancel()
	}
	if n != 1 {
		t.Errorf("%d records", n)
	}
}
