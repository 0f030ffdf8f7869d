package tokenizer

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"paligemma/internal/gguf"
	"paligemma/internal/model"
	"paligemma/internal/vocabulary"
)

// both is a tokenizer that encodes itself, and one that leaves it to the
// library.
type both struct{ own, lib *Tokenizer }

// openBoth compiles src and opens it in both ways.
func openBoth(t testing.TB, src Source, special bool) both {
	t.Helper()
	var b both
	var err error
	src.Compiled = nil
	if b.lib, err = Open(src, special); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.lib.Close)
	if src.Compiled, err = Compile(src.JSON, src.Pieces); err != nil {
		t.Fatal(err)
	}
	if b.own, err = Open(src, special); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.own.Close)
	if err := b.own.Ready(); err != nil {
		t.Fatal(err)
	}
	if err := b.lib.Ready(); err != nil {
		t.Fatal(err)
	}
	if b.own.lib != nil || b.lib.own != nil {
		t.Fatal("the two are not what they should be")
	}
	return b
}

// compare reports an error if the two encode a text differently.
func (b both) compare(t testing.TB, text string) {
	t.Helper()
	got, err1 := b.own.Encode(text)
	want, err2 := b.lib.Encode(text)
	if err1 != nil || err2 != nil || !slices.Equal(got, want) {
		t.Fatalf("special %v: %.200q is %v, %v; the library says %v, %v", b.own.special, text, got, err1, want, err2)
	}
}

// compareMany compares count random texts, in both modes.
func compareMany(t *testing.T, src Source, count int) {
	plain, special := openBoth(t, src, false), openBoth(t, src, true)
	r := rand.New(rand.NewPCG(11, 12))
	for i := range count {
		text := someText(r, src.Pieces)
		if i%2 == 0 {
			plain.compare(t, text)
		} else {
			special.compare(t, text)
		}
	}
	for _, text := range append(oddities, vocabulary.Words...) {
		plain.compare(t, text)
		special.compare(t, text)
	}
	for _, part := range []string{" ", "\n", "▁", "a", "<", "<loc", "<loc0001>", "<bos>", "日", "\xe2\x96", "caption the cat ", "\U0010ffff"} {
		text := strings.Repeat(part, 3000)
		plain.compare(t, text)
		special.compare(t, text)
	}
}

func TestSameAsLibrary(t *testing.T) { compareMany(t, source(t), 20_000) }

// TestSameAsLibraryFull compares PALIGEMMA_TOKENIZER_STRINGS texts with a
// vocabulary of full size, and as many with the small one.
func TestSameAsLibraryFull(t *testing.T) {
	count, err := strconv.Atoi(os.Getenv("PALIGEMMA_TOKENIZER_STRINGS"))
	if err != nil {
		t.Skip("set PALIGEMMA_TOKENIZER_STRINGS to a number of texts, such as 1000000")
	}
	data, err := fullSize()
	if err != nil {
		t.Fatal(err)
	}
	src := sourceOf(t, data)
	c, err := Compile(src.JSON, src.Pieces)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d pieces, %d merges, %d added tokens", len(src.Pieces), len(c.Merges)/4, len(c.Added)/2)
	compareMany(t, src, count)
	compareMany(t, source(t), count)
}

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

// Cases that a random text may miss: ranks that compete, merges that a later
// one makes void, one piece made in several ways, tokens inside of others.
func TestSameAsLibrarySmall(t *testing.T) {
	merges := `["a","b"],["b","c"],["ab","c"],["a","bc"],["▁","a"],["▁a","b"],["a","a"],["aa","a"],["a","aa"],["aa","aa"],["<0x41>","<0x42>"]`
	pieces := "a b c ▁ ab bc abc ▁a ▁ab aa aaa aaaa x<0x41><0x42> <0x41><0x42>"
	added := token(270, "<s>", "special") + "," + token(271, "<s>s", "special", "normalized") + "," + token(272, "s x", "normalized") + "," +
		token(273, "c c") + "," + token(264, "▁ab", "normalized") + "," + token(274, "<s>sx", "normalized") + "," + token(256, "a", "special", "normalized")
	for name, text := range map[string]string{
		"merges":    smallGemma(pieces, merges, ""),
		"backwards": smallGemma(pieces, `["aa","aa"],["a","aa"],["aa","a"],["a","a"],["a","bc"],["ab","c"],["b","c"],["a","b"],["▁","a"],["a","b"]`, ""),
		"added":     smallGemma(pieces, merges, added),
		"lines":     smallGemma(pieces, `"a b","b c","ab c"`, added),
		"no merges": smallGemma(pieces, "", ""),
	} {
		t.Run(name, func(t *testing.T) {
			src := sourceOf(t, []byte(text))
			plain, special := openBoth(t, src, false), openBoth(t, src, true)
			r := rand.New(rand.NewPCG(5, 6))
			for range 3000 {
				var b strings.Builder
				for range 1 + r.IntN(12) {
					b.WriteString([]string{"a", "b", "c", " ", "▁", "aa", "AB", "<s>", "s", "x", "é", "c c"}[r.IntN(12)])
				}
				plain.compare(t, b.String())
				special.compare(t, b.String())
			}
		})
	}
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
	if _, err := Compile(good, src.Pieces); err != nil {
		t.Fatal(err)
	}
	if _, err := Compile(change(gemmaNormalizer, `{"content": "▁", "pattern":{"String":" "},"type":"Replace"}`), src.Pieces); err != nil {
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
		pieces := src.Pieces
		switch name {
		case "long added token", "normalizes to others", "a byte is missing":
			pieces = sourceOf(t, []byte(text)).Pieces
		}
		if c, err := Compile(text, pieces); err == nil {
			t.Errorf("%s: %v", name, c)
		}
	}
}

// What a file claims is checked before it is used.
func TestHostileCompiled(t *testing.T) {
	src := source(t)
	good, err := Compile(src.JSON, src.Pieces)
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
		if _, err := newEncoder(&c, src.Pieces); err == nil {
			t.Errorf("%s: no error", name)
		}
		if name == "twice" || name == "added beyond" {
			src.Compiled = &c
			tok, err := Open(src, false)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := tok.Encode("x"); err == nil || tok.Ready() == nil {
				t.Errorf("%s: the tokenizer encodes", name)
			}
			tok.Close()
		}
	}
	for name, pieces := range map[string][]string{
		"no pieces":        nil,
		"bytes missing":    slices.Repeat([]string{"<0x41>"}, len(src.Pieces)),
		"lower-case bytes": strings.Split(strings.ToLower(strings.Join(src.Pieces, "|")), "|")[:len(src.Pieces)],
		"an empty token":   slices.Concat([]string{""}, src.Pieces[1:]),
	} {
		if _, err := newEncoder(good, pieces); err == nil {
			t.Errorf("%s: no error", name)
		}
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
		all[b] = fmt.Sprintf("<0x%02X>", b)
	}
	return all
}

// The keys of a file are read only when they are whole.
func TestSourceOfHeader(t *testing.T) {
	src := source(t)
	c, err := Compile(src.JSON, src.Pieces)
	if err != nil {
		t.Fatal(err)
	}
	file := func(name string, merges, added []int32) Source {
		var w gguf.Writer
		w.SetString(model.KeyTokenizerJSON, src.JSON)
		w.SetString(model.KeyPipeline, name)
		if merges != nil {
			w.SetInt32s(model.KeyMerges, merges)
		}
		if added != nil {
			w.SetInt32s(model.KeyAddedTokens, added)
		}
		s := src
		s.JSON, s.header = "", headerOf(t, &w)
		return s
	}
	for name, k := range map[string]struct {
		src      Source
		own      bool
		loads    bool
		verifies bool
	}{
		"whole":      {file(Pipeline, c.Merges, c.Added), true, true, true},
		"other name": {file("gemma9", nil, nil), false, true, true},
		"no merges":  {file(Pipeline, nil, c.Added), false, false, false},
		"no added":   {file(Pipeline, c.Merges, nil), false, false, false},
		"cut":        {file(Pipeline, c.Merges[:len(c.Merges)-2], c.Added), false, false, false},
		"changed":    {file(Pipeline, c.Merges[:len(c.Merges)-4], c.Added), true, true, false},
	} {
		tok, err := Open(k.src, false)
		if err != nil {
			t.Fatal(err)
		}
		if err := tok.Ready(); (err == nil) != k.loads || (tok.own != nil) != k.own {
			t.Errorf("%s: loads with %v, own encoder %v", name, err, tok.own != nil)
		}
		tok.Close()
		if err := k.src.Verify(); (err == nil) != k.verifies {
			t.Errorf("%s: Verify: %v", name, err)
		}
	}
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

// FuzzEncode compares any text with the library.
func FuzzEncode(f *testing.F) {
	plain, special := openBoth(f, source(f), false), openBoth(f, source(f), true)
	for _, text := range oddities {
		f.Add(text)
	}
	f.Add("<loc0012><bos>  a dog\n\n<seg1")
	f.Fuzz(func(t *testing.T, text string) {
		plain.compare(t, text)
		special.compare(t, text)
	})
}

// FuzzCompile compares any tokenizer.json that compiles with the library.
func FuzzCompile(f *testing.F) {
	f.Add(smallGemma("a b ▁ ab", `["a","b"]`, token(260, "<s>", "special")), "ab <s>")
	f.Add(smallGemma("a b ▁ ab aa", `"a b","a a"`, token(261, "s s", "normalized")), "aab s s")
	f.Fuzz(func(t *testing.T, text, input string) {
		file, err := parse(text)
		if err != nil {
			return
		}
		pieces := make([]string, 4096)
		vocab := map[string]uint32{}
		for piece, id := range decodeVocab(file.Model.Vocab) {
			if id < 4096 {
				pieces[id] = piece
				vocab[piece] = id
			}
		}
		for _, a := range file.Added {
			if _, ok := vocab[a.Content]; !ok && a.ID < 4096 {
				pieces[a.ID] = a.Content
			}
		}
		c, err := Compile(text, pieces)
		if err != nil {
			return
		}
		src := Source{JSON: text, Pieces: pieces, Types: slices.Repeat([]int32{TypeNormal}, len(pieces)), Compiled: c}
		b := openBoth(t, src, len(input)%2 == 0)
		b.compare(t, input)
	})
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
