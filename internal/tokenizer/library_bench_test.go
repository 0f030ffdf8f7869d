//go:build cgo && !notokenizers

package tokenizer

import (
	"strings"
	"testing"

	"paligemma/internal/gguf"
	"paligemma/internal/vocabulary"
)

// fullSource is a source of full size, compiled.
func fullSource(b *testing.B) Source {
	b.Helper()
	data, err := fullSize()
	if err != nil {
		b.Fatal(err)
	}
	src := sourceOf(b, data)
	if src.Compiled, err = compile(src.JSON, src.Pieces); err != nil {
		b.Fatal(err)
	}
	return src
}

// BenchmarkOpen opens a tokenizer of full size: compiled, from a header and
// with the pieces read too, and with the library.
func BenchmarkOpen(b *testing.B) {
	src := fullSource(b)
	var w gguf.Writer
	w.SetString(KeyJSON, src.JSON)
	w.SetStrings(gguf.KeyTokens, src.Pieces)
	w.SetInt32s(gguf.KeyTokenTypes, src.Types)
	src.Compiled.SetKeys(&w)
	h := headerOf(b, &w)
	b.Run("header", func(b *testing.B) {
		for b.Loop() {
			headerOf(b, &w)
		}
	})
	ready := func(b *testing.B, src Source) {
		tok := openSource(b, src, false)
		if err := tok.Ready(); err != nil {
			b.Fatal(err)
		}
		tok.Close()
	}
	b.Run("own", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			ready(b, src)
		}
	})
	b.Run("file", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			s := Source{header: h}
			if err := s.read(); err != nil {
				b.Fatal(err)
			}
			ready(b, s)
		}
	})
	b.Run("library", func(b *testing.B) {
		s := src
		s.Compiled = nil
		for b.Loop() {
			ready(b, s)
		}
	})
}

func BenchmarkEncode(b *testing.B) {
	src := fullSource(b)
	prose := strings.Join(vocabulary.Words, " ") + "\n"
	for _, c := range []struct{ name, text string }{
		{"prompt", "detect cat ; dog\n"},
		{"1MB", strings.Repeat(prose, 1<<20/len(prose)+1)},
	} {
		own, lib := openBoth(b, src, false).own, openBoth(b, src, false).lib
		for _, k := range []struct {
			name string
			tok  *Tokenizer
		}{{"own", own}, {"library", lib}} {
			b.Run(c.name+"/"+k.name, func(b *testing.B) {
				b.SetBytes(int64(len(c.text)))
				for b.Loop() {
					if _, err := k.tok.Encode(c.text); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
