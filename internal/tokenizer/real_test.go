package tokenizer

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// tabJSON is a small tokenizer.json with what released Gemmas have: "\t" where
// <0x09> should be, merges as strings, no pre-tokenizer.
func tabJSON(t testing.TB) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(testdata, "tokenizers/tab.json"))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// TestCompileSaysWhy names what is not Gemma's.
func TestCompileSaysWhy(t *testing.T) {
	tab := tabJSON(t)
	for _, c := range []struct{ name, old, new, want string }{
		{"no tab", `"\t":28`, `"<tab>":28`, "the vocabulary has no <0x09>"},
		{"no 0x80", `"<0x80>"`, `"<none>"`, "the vocabulary has no <0x80>"},
		{"a character of that number", `"<0x80>"`, `"\u0080"`, "the vocabulary has no <0x80>"},
		{"no byte fallback", `"byte_fallback":true`, `"byte_fallback":false`, "byte_fallback is false"},
		{"ignored merges", `"fuse_unk":true`, `"ignore_merges":true`, "ignore_merges is true"},
		{"normalizer", `"content":"▁"`, `"content":"_"`, "the normalizer is not Gemma's"},
		{"strip", `"content":"<image>","single_word":false,"lstrip":false`, `"content":"<image>","single_word":false,"lstrip":true`, `"<image>" depends on the text around it`},
		{"id", `"id":0`, `"id":7`, `the added token "<pad>" has the id 7, but tokenizers would give it 0`},
	} {
		t.Run(c.name, func(t *testing.T) {
			text := strings.Replace(tab, c.old, c.new, 1)
			if text == tab {
				t.Fatalf("%q is not in the JSON", c.old)
			}
			pieces := sourceOf(t, []byte(tab)).Pieces
			switch c.name {
			case "no tab":
				pieces[slices.Index(pieces, "\t")] = "<tab>"
			case "no 0x80":
				pieces[slices.Index(pieces, "<0x80>")] = "<none>"
			case "a character of that number":
				pieces[slices.Index(pieces, "<0x80>")] = "\u0080"
			}
			if _, err := compile(text, pieces); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %q", err, c.want)
			}
		})
	}
}

func TestZeroByte(t *testing.T) {
	for _, c := range []struct {
		pieces []string
		want   int
	}{
		{[]string{"<unk>", "a"}, 0},
		{[]string{"<unk>", "<0x00>", "a"}, 1},
		{[]string{"<unk>", "<0x00>", "\x00"}, 2},
		{[]string{"<unk>", "\x00", "<0x00>"}, 1},
	} {
		if got := zeroByte(c.pieces, 0); got != c.want {
			t.Errorf("zeroByte(%q) = %d, want %d", c.pieces, got, c.want)
		}
	}
}
