package tokenizer

import (
	"slices"
	"strings"
	"testing"

	"paligemma/internal/gguf"
)

// header is that of a model whose tokenizer is src, compiled; change may alter
// the source before it is written.
func header(t *testing.T, change func(src *Source)) *gguf.Header {
	t.Helper()
	src := source(t)
	compiled, err := compile(src.JSON, src.Pieces)
	if err != nil {
		t.Fatal(err)
	}
	if change != nil {
		change(&src)
	}
	var w gguf.Writer
	setIDs(&w, src)
	if src.JSON != "" {
		w.SetString(KeyJSON, src.JSON)
	}
	w.SetStrings(gguf.KeyTokens, src.Pieces)
	w.SetInt32s(gguf.KeyTokenTypes, src.Types)
	compiled.SetKeys(&w)
	return headerOf(t, &w)
}

// setIDs writes what a tokenizer reads of a model's configuration.
func setIDs(w *gguf.Writer, src Source) {
	w.SetString(gguf.KeyArchitecture, "paligemma")
	for key, id := range map[string]int{
		gguf.KeyBOS: src.BOS, gguf.KeyEOS: src.EOS, gguf.KeyPAD: src.PAD, gguf.KeyUNK: src.UNK, gguf.KeyImage: src.Image,
		"paligemma." + gguf.KeyContext: 8,
	} {
		w.SetUint32(key, uint32(id))
	}
}

// From a header, a tokenizer is what it is from the source; what is asked of it
// at once waits until it has been read.
func TestOpenGGUF(t *testing.T) {
	want := open(t, false)
	ids, err := want.Encode("detect cat ; dog\n")
	if err != nil {
		t.Fatal(err)
	}
	h := header(t, nil)
	for name, ask := range map[string]func(tok *Tokenizer) bool{
		"piece":  func(tok *Tokenizer) bool { return tok.Piece(ids[0]) == want.Piece(ids[0]) },
		"decode": func(tok *Tokenizer) bool { return tok.Decode(ids) == want.Decode(ids) },
		"stream": func(tok *Tokenizer) bool { return tok.NewStream().Push(ids[0]) == want.NewStream().Push(ids[0]) },
		"encode": func(tok *Tokenizer) bool {
			got, err := tok.Encode("detect cat ; dog\n")
			return err == nil && slices.Equal(got, ids)
		},
	} {
		t.Run(name, func(t *testing.T) {
			tok, err := OpenGGUF(h, false)
			if err != nil {
				t.Fatal(err)
			}
			if !ask(tok) {
				t.Error("not what it is from the source")
			}
			if err := tok.Ready(); err != nil || tok.own == nil {
				t.Errorf("not compiled, %v", err)
			}
			tok.Close()
		})
	}
}

// What the header says is refused at once, what it takes reading to know later.
func TestOpenGGUFErrors(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(src *Source)
		want   string
		later  bool
	}{
		{"no json", func(src *Source) { src.JSON = "" }, "is missing", false},
		{"a type too few", func(src *Source) { src.Types = src.Types[1:] }, "2177 pieces with 2176 types", false},
		{"an unknown type", func(src *Source) { src.Types[5] = 7 }, "token 5 is of the unknown type 7", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := header(t, c.change)
			tok, err := OpenGGUF(h, false)
			if (err == nil) != c.later {
				t.Errorf("opening gives %v", err)
			}
			if err == nil {
				err = tok.Ready()
				tok.Close()
			}
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %q", err, c.want)
			}
			if _, err := FromGGUF(h); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("FromGGUF gives %v, want %q", err, c.want)
			}
		})
	}
}
