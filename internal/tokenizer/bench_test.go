package tokenizer

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"paligemma/internal/gguf"
	"paligemma/internal/model"
	"paligemma/internal/vocabulary"
)

func decodeVocab(raw json.RawMessage) map[string]uint32 {
	var vocab map[string]uint32
	if json.Unmarshal(raw, &vocab) != nil {
		return nil
	}
	return vocab
}

// headerOf writes a file without tensors and reads it.
func headerOf(t testing.TB, w *gguf.Writer) *gguf.Header {
	t.Helper()
	var b bytes.Buffer
	if err := w.Encode(&b, nil); err != nil {
		t.Fatal(err)
	}
	h, err := gguf.Parse(bytes.NewReader(b.Bytes()), int64(b.Len()))
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// fullSource is a source of full size, compiled.
func fullSource(b *testing.B) Source {
	b.Helper()
	data, err := fullSize()
	if err != nil {
		b.Fatal(err)
	}
	src := sourceOf(b, data)
	if src.Compiled, err = Compile(src.JSON, src.Pieces); err != nil {
		b.Fatal(err)
	}
	return src
}

// BenchmarkOpen opens a tokenizer of full size: compiled, from a header and
// with the pieces read too, and with the library.
func BenchmarkOpen(b *testing.B) {
	src := fullSource(b)
	var w gguf.Writer
	w.SetString(model.KeyTokenizerJSON, src.JSON)
	w.SetStrings(model.KeyTokens, src.Pieces)
	w.SetInt32s(model.KeyTokenTypes, src.Types)
	w.SetString(model.KeyPipeline, Pipeline)
	w.SetInt32s(model.KeyMerges, src.Compiled.Merges)
	w.SetInt32s(model.KeyAddedTokens, src.Compiled.Added)
	h := headerOf(b, &w)
	b.Run("header", func(b *testing.B) {
		for b.Loop() {
			headerOf(b, &w)
		}
	})
	ready := func(b *testing.B, src Source) {
		tok, err := Open(src, false)
		if err != nil {
			b.Fatal(err)
		}
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
