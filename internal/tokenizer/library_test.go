//go:build cgo && !notokenizers

package tokenizer

import (
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"paligemma/internal/gguf"
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
	b.lib = openSource(t, src, special)
	if src.Compiled, err = compile(src.JSON, src.Pieces); err != nil {
		t.Fatal(err)
	}
	b.own = openSource(t, src, special)
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

func TestGoldensLibrary(t *testing.T) { checkGoldens(t, openSource(t, source(t), true)) }

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
	c, err := compile(src.JSON, src.Pieces)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d pieces, %d merges, %d added tokens", len(src.Pieces), len(c.Merges)/4, len(c.Added)/2)
	compareMany(t, src, count)
	compareMany(t, source(t), count)
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

// The keys of a file are read only when they are whole.
func TestSourceOfHeader(t *testing.T) {
	src := source(t)
	c, err := compile(src.JSON, src.Pieces)
	if err != nil {
		t.Fatal(err)
	}
	file := func(name string, merges, added []int32) Source {
		var w gguf.Writer
		w.SetString(KeyJSON, src.JSON)
		w.SetString(KeyPipeline, name)
		if merges != nil {
			w.SetInt32s(KeyMerges, merges)
		}
		if added != nil {
			w.SetInt32s(KeyAdded, added)
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
		t.Run(name, func(t *testing.T) {
			tok := openSource(t, k.src, false)
			if err := tok.Ready(); (err == nil) != k.loads || (tok.own != nil) != k.own {
				t.Errorf("loads with %v, own encoder %v", err, tok.own != nil)
			}
			tok.Close()
			if err := k.src.Verify(); (err == nil) != k.verifies {
				t.Errorf("Verify: %v", err)
			}
		})
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
		file, err := ParseFile(text)
		if err != nil {
			return
		}
		pieces := make([]string, 4096)
		for piece, id := range file.Vocab {
			if id < 4096 {
				pieces[id] = piece
			}
		}
		for _, a := range file.Added {
			if _, ok := file.Vocab[a.Content]; !ok && a.ID < 4096 {
				pieces[a.ID] = a.Content
			}
		}
		c, err := compile(text, pieces)
		if err != nil {
			return
		}
		src := Source{JSON: text, Pieces: pieces, Types: slices.Repeat([]int32{TypeNormal}, len(pieces)), Compiled: c}
		b := openBoth(t, src, len(input)%2 == 0)
		b.compare(t, input)
	})
}
