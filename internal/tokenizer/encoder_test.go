package tokenizer

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// The normalizer and the pre-tokenizer of released tokenizers.
const (
	gemmaNormalizer = `{"type":"Replace","pattern":{"String":" "},"content":"▁"}`
	gemmaSplitter   = `{"type":"Split","pattern":{"String":" "},"behavior":"MergedWithPrevious","invert":false}`
)

// smallGemma is the shortest tokenizer.json of the layout, with pieces after
// the bytes.
func smallGemma(pieces, merges, added string) string {
	var b strings.Builder
	b.WriteString(`{"version":"1.0","added_tokens":[` + added + `],"normalizer":` + gemmaNormalizer + `,"pre_tokenizer":null,` +
		`"model":{"type":"BPE","unk_token":"<0x00>","fuse_unk":true,"byte_fallback":true,"vocab":{`)
	for i := range 256 {
		fmt.Fprintf(&b, `"<0x%02X>":%d,`, i, i)
	}
	for i, p := range strings.Split(pieces, " ") {
		if i > 0 {
			b.WriteString(",")
		}
		fmt.Fprintf(&b, "%q:%d", p, 256+i)
	}
	return b.String() + `},"merges":[` + merges + `]}}`
}

func token(id int, content string, flags ...string) string {
	s := fmt.Sprintf(`{"id":%d,"content":%q`, id, content)
	for _, f := range flags {
		s += fmt.Sprintf(`,%q:true`, f)
	}
	return s + "}"
}

// Layouts that are not Gemma's are left to the library.
func TestCompileRefuses(t *testing.T) {
	good := smallGemma("a b ▁ ab", `["a","b"]`, token(260, "<s>"))
	src := sourceOf(t, []byte(good))
	change := func(old, new string) string {
		if !strings.Contains(good, old) {
			t.Fatalf("%q is not in the JSON", old)
		}
		return strings.Replace(good, old, new, 1)
	}
	if _, err := compile(good, src.Pieces); err != nil {
		t.Fatal(err)
	}
	if _, err := compile(change(gemmaNormalizer, `{"content": "▁", "pattern":{"String":" "},"type":"Replace"}`), src.Pieces); err != nil {
		t.Errorf("the normalizer in another order: %v", err)
	}
	for name, text := range map[string]string{
		"no normalizer":        change(gemmaNormalizer, "null"),
		"other normalizer":     change(`"content":"▁"`, `"content":"_"`),
		"sequence":             change(gemmaNormalizer, `{"type":"Sequence","normalizers":[]}`),
		"inverted splitter":    change(`"pre_tokenizer":null`, `"pre_tokenizer":`+strings.Replace(gemmaSplitter, `"invert":false`, `"invert":true`, 1)),
		"unknown behavior":     change(`"pre_tokenizer":null`, `"pre_tokenizer":`+strings.Replace(gemmaSplitter, "MergedWithPrevious", "No", 1)),
		"splits elsewhere":     change(`"pre_tokenizer":null`, `"pre_tokenizer":`+strings.Replace(gemmaSplitter, `" "`, `"▁"`, 1)),
		"no byte fallback":     change(`"byte_fallback":true`, `"byte_fallback":false`),
		"ignore merges":        change(`"fuse_unk":true`, `"ignore_merges":true`),
		"dropout":              change(`"fuse_unk":true`, `"dropout":0.1`),
		"a byte is missing":    change(`"<0x7F>":127`, `"q":127`),
		"other pieces":         change(`"a":256`, `"A":256`),
		"id beyond":            change(`"ab":259`, `"ab":261`),
		"surrogate":            change(`"▁":258`, `"\ud800":258`),
		"invalid utf-8":        change(`"▁":258`, "\"\xff\":258"),
		"null merges":          change(`[["a","b"]]`, `null`),
		"merge of three":       change(`["a","b"]`, `["a","b","a"]`),
		"merge of one":         change(`["a","b"]`, `["a"]`),
		"merge of nothing":     change(`["a","b"]`, `["","a"]`),
		"merge unknown":        change(`["a","b"]`, `["b","a"]`),
		"merge of added":       change(`["a","b"]`, `["<s>","a"]`),
		"comment":              change(`["a","b"]`, `"#version x"`),
		"mixed merges":         change(`["a","b"]`, `["a","b"],"a b"`),
		"single word":          change(`"<s>"`, `"<s>","single_word":true`),
		"lstrip":               change(`"<s>"`, `"<s>","lstrip":true`),
		"rstrip":               change(`"<s>"`, `"<s>","rstrip":true`),
		"other id":             change(`"id":260`, `"id":259`),
		"added twice":          change(`{"id":260`, token(260, "<s>", "special")+`,{"id":260`),
		"normalizes to others": change(token(260, "<s>"), token(260, "▁▁", "normalized")+`,`+token(261, "▁ ", "normalized")),
		"long added token":     change(`"<s>"`, `"`+strings.Repeat("s", 300)+`"`),
		"no json":              good[1:],
	} {
		t.Run(name, func(t *testing.T) {
			pieces := src.Pieces
			switch name {
			case "long added token", "normalizes to others", "a byte is missing":
				pieces = sourceOf(t, []byte(text)).Pieces
			}
			if c, err := compile(text, pieces); err == nil {
				t.Errorf("%v", c)
			}
		})
	}
}

// What a file claims is checked before it is used.
func TestHostileCompiled(t *testing.T) {
	src := source(t)
	good, err := compile(src.JSON, src.Pieces)
	if err != nil {
		t.Fatal(err)
	}
	n := int32(len(src.Pieces))
	for name, c := range map[string]Compiled{
		"three numbers":    {Merges: []int32{1, 2, 3}},
		"left beyond":      {Merges: []int32{n, 2, 3, 0}},
		"left negative":    {Merges: []int32{-1, 2, 3, 0}},
		"right beyond":     {Merges: []int32{1, n, 3, 0}},
		"right negative":   {Merges: []int32{1, -1, 3, 0}},
		"made beyond":      {Merges: []int32{1, 2, n, 0}},
		"made negative":    {Merges: []int32{0, 0, -1, 0}},
		"negative rank":    {Merges: []int32{1, 2, 3, -1}},
		"twice":            {Merges: []int32{1, 2, 3, 0, 1, 2, 3, 0}},
		"order of right":   {Merges: []int32{1, 2, 3, 0, 1, 1, 3, 0}},
		"order of left":    {Merges: []int32{2, 2, 3, 0, 1, 3, 3, 0}},
		"one number":       {Added: []int32{1}},
		"added beyond":     {Added: []int32{n, 0}},
		"added negative":   {Added: []int32{-1, 0}},
		"unknown flag":     {Added: []int32{1, 8}},
		"negative flags":   {Added: []int32{1, -1}},
		"added twice":      {Added: []int32{7, 0, 7, 1}},
		"normalized twice": {Added: []int32{7, 2, 7, 3}},
		"many added":       {Added: make([]int32, 2*maxAdded+2)},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := newEncoder(&c, src.Pieces); err == nil {
				t.Error("no error")
			}
			if name == "twice" || name == "added beyond" {
				src.Compiled = &c
				tok := openSource(t, src, false)
				if _, err := tok.Encode("x"); err == nil || tok.Ready() == nil {
					t.Error("the tokenizer encodes")
				}
				tok.Close()
			}
		})
	}
	for name, pieces := range map[string][]string{
		"no pieces":        nil,
		"bytes missing":    slices.Repeat([]string{"<0x41>"}, len(src.Pieces)),
		"lower-case bytes": strings.Split(strings.ToLower(strings.Join(src.Pieces, "|")), "|")[:len(src.Pieces)],
		"an empty token":   slices.Concat([]string{""}, src.Pieces[1:]),
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := newEncoder(good, pieces); err == nil {
				t.Error("no error")
			}
		})
	}
	// Merges that make no sense still come to an end.
	loop, err := newEncoder(&Compiled{Merges: []int32{5, 5, 5, 0, 5, 6, 6, 0, 6, 5, 5, 0}}, slices.Concat([]string{"", "\xff", "\xe2", "ab", "", "a", "b"}, byteTokens()))
	if err != nil {
		t.Fatal(err)
	}
	if ids := loop.encode(nil, strings.Repeat("ab", 1000), false); len(ids) != 1 {
		t.Errorf("%d ids", len(ids))
	}
}

func byteTokens() []string {
	all := make([]string, 256)
	for b := range all {
		all[b] = ByteToken(byte(b))
	}
	return all
}

func TestValidUTF8(t *testing.T) {
	for text, want := range map[string]string{
		"a\xffb": "a\ufffdb", "\xe2\x82": "\ufffd", "\xe2\x82\xe2\x82\xac": "\ufffd€", "\xf0\x9f\x98x": "\ufffdx",
		"\xed\xa0\x80": "\ufffd\ufffd\ufffd", "\xc0\xaf": "\ufffd\ufffd", "\xf0\x80": "\ufffd\ufffd", "\xc3": "\ufffd", "é\ufffd": "é\ufffd",
	} {
		if got := validUTF8(text); got != want {
			t.Errorf("%q became %q, want %q", text, got, want)
		}
	}
}

// FuzzCompiled gives the encoder arrays that make no sense.
func FuzzCompiled(f *testing.F) {
	src := source(f)
	f.Add([]byte{1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 4, 0, 0, 0}, []byte{7, 0, 0, 0, 1, 0, 0, 0}, "a dog")
	f.Fuzz(func(t *testing.T, merges, added []byte, text string) {
		ints := func(b []byte) (all []int32) {
			for ; len(b) >= 4; b = b[4:] {
				all = append(all, int32(binary.LittleEndian.Uint32(b)))
			}
			return all
		}
		e, err := newEncoder(&Compiled{ints(merges), ints(added)}, src.Pieces)
		if err != nil {
			return
		}
		for _, id := range e.encode(nil, text, true) {
			if id < 0 || id >= len(src.Pieces) {
				t.Fatalf("id %d", id)
			}
		}
	})
}
