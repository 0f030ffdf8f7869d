package tokenizer

import (
	"slices"
	"strings"
	"testing"

	"paligemma/internal/gguf"
	"paligemma/internal/model"
)

// header is that of a model whose tokenizer is src, compiled; change may alter
// the source before it is written.
func header(t *testing.T, change func(src *Source)) *gguf.Header {
	t.Helper()
	src := source(t)
	compiled, err := Compile(src.JSON, src.Pieces)
	if err != nil {
		t.Fatal(err)
	}
	c := model.Config{
		Arch:   model.ArchPaliGemma,
		Text:   model.TextConfig{Hidden: 8, MLP: 8, Layers: 1, Heads: 1, KVHeads: 1, HeadDim: 8, Vocab: len(src.Pieces), Context: 8, RMSEps: 1, RopeTheta: 1, AttnScale: 1},
		Vision: model.VisionConfig{ImageSize: 14, PatchSize: 14, Hidden: 8, MLP: 8, Layers: 1, Heads: 1, NormEps: 1, ImageTokens: 1, Std: [3]float32{1, 1, 1}},
		Tokens: model.TokenConfig{BOS: src.BOS, EOS: src.EOS, PAD: src.PAD, UNK: src.UNK, Image: src.Image},
	}
	if change != nil {
		change(&src)
	}
	var w gguf.Writer
	c.SetKeys(&w)
	if src.JSON != "" {
		w.SetString(model.KeyTokenizerJSON, src.JSON)
	}
	w.SetStrings(model.KeyTokens, src.Pieces)
	w.SetInt32s(model.KeyTokenTypes, src.Types)
	w.SetString(model.KeyPipeline, Pipeline)
	w.SetInt32s(model.KeyMerges, compiled.Merges)
	w.SetInt32s(model.KeyAddedTokens, compiled.Added)
	return headerOf(t, &w)
}

// From a header, a tokenizer is what it is from the source; what is asked of it
// at once waits until it has been read.
func TestOpenGGUF(t *testing.T) {
	want, err := Open(source(t), false)
	if err != nil {
		t.Fatal(err)
	}
	defer want.Close()
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
		tok, err := OpenGGUF(h, false)
		if err != nil {
			t.Fatal(err)
		}
		if !ask(tok) {
			t.Errorf("%s: not what it is from the source", name)
		}
		if err := tok.Ready(); err != nil || tok.own == nil {
			t.Errorf("%s: not compiled, %v", name, err)
		}
		tok.Close()
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
		h := header(t, c.change)
		tok, err := OpenGGUF(h, false)
		if (err == nil) != c.later {
			t.Errorf("%s: opening gives %v", c.name, err)
		}
		if err == nil {
			err = tok.Ready()
			tok.Close()
		}
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
		if _, err := FromGGUF(h); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: FromGGUF gives %v, want %q", c.name, err, c.want)
		}
	}
}
