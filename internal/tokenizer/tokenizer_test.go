package tokenizer

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"paligemma/internal/gguf"
)

const testdata = "../../testdata"

// tokenizerJSON is the test checkpoints' tokenizer.json; they share one.
func tokenizerJSON(t testing.TB) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(testdata, "checkpoints/pg1-tiny/tokenizer.json"))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// source reads pieces and types as the converter does: special tokens are
// control tokens, other added ones user defined.
func source(t testing.TB) Source {
	t.Helper()
	data := tokenizerJSON(t)
	var file struct {
		Added []AddedToken `json:"added_tokens"`
		Model struct {
			Vocab map[string]int `json:"vocab"`
		} `json:"model"`
	}
	if err := json.Unmarshal(data, &file); err != nil {
		t.Fatal(err)
	}
	src := Source{JSON: string(data), Image: 2176, BOS: 2, EOS: 1, PAD: 0, UNK: 3}
	src.Pieces = make([]string, 2177)
	src.Types = slices.Repeat([]int32{TypeUnused}, 2177)
	for piece, id := range file.Model.Vocab {
		src.Pieces[id], src.Types[id] = piece, TypeNormal
		if _, ok := byteOf(piece); ok {
			src.Types[id] = TypeByte
		}
	}
	for _, a := range file.Added {
		src.Pieces[a.ID], src.Types[a.ID] = a.Content, TypeUserDefined
		if a.Special {
			src.Types[a.ID] = TypeControl
		}
	}
	src.Types[src.UNK] = TypeUnknown
	return src
}

// openSource opens a tokenizer that is not in a model file.
func openSource(t testing.TB, src Source, special bool) *Tokenizer {
	t.Helper()
	if err := src.check(); err != nil {
		t.Fatal(err)
	}
	tok := start(src, special)
	t.Cleanup(tok.Close)
	return tok
}

// open opens the test checkpoints' tokenizer, compiled.
func open(t testing.TB, special bool) *Tokenizer {
	t.Helper()
	src := source(t)
	var err error
	if src.Compiled, err = compile(src.JSON, src.Pieces); err != nil {
		t.Fatal(err)
	}
	return openSource(t, src, special)
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

func golden(t testing.TB, name string, v any) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(testdata, "goldens", name))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, v); err != nil {
		t.Fatal(err)
	}
}

func TestGoldens(t *testing.T) { checkGoldens(t, open(t, true)) }

// checkGoldens encodes and decodes as transformers does.
func checkGoldens(t *testing.T, tok *Tokenizer) {
	t.Helper()
	var cases []struct {
		Text        *string  `json:"text"` // nil: ids to decode only
		IDs         []int    `json:"ids"`
		Tokens      []string `json:"tokens"`
		Decode      string   `json:"decode"`
		SkipSpecial string   `json:"decode_skip_special"`
	}
	golden(t, "tokenizer.json", &cases)
	for _, c := range cases {
		if c.Text != nil {
			ids, err := tok.Encode(*c.Text)
			if err != nil || !slices.Equal(ids, c.IDs) {
				t.Errorf("Encode(%q) = %v, %v; want %v", *c.Text, ids, err, c.IDs)
			}
		}
		for i, piece := range c.Tokens {
			if got := tok.Piece(c.IDs[i]); got != piece {
				t.Errorf("Piece(%d) = %q, want %q", c.IDs[i], got, piece)
			}
		}
		if got := tok.decode(c.IDs, false); got != c.Decode {
			t.Errorf("decode(%v) = %q, want %q", c.IDs, got, c.Decode)
		}
		if got := tok.Decode(c.IDs); got != c.SkipSpecial {
			t.Errorf("Decode(%v) = %q, want %q", c.IDs, got, c.SkipSpecial)
		}
	}
	if len(cases) < 30 {
		t.Errorf("only %d cases", len(cases))
	}
}

// Special tokens typed in a text are text, unless asked for; all else is the
// same in both modes.
func TestPlainSpecialTokens(t *testing.T) {
	plain, special := open(t, false), open(t, true)
	for _, piece := range []string{"<bos>", "<eos>", "<pad>", "<unk>", "<image>", "<mask>"} {
		ids, err := plain.Encode("a " + piece)
		if err != nil {
			t.Fatal(err)
		}
		for _, id := range ids {
			if typ := plain.src.Types[id]; typ == TypeControl || typ == TypeUnknown {
				t.Errorf("%s became the token %d", piece, id)
			}
		}
		if got := plain.Decode(ids); got != "a "+piece {
			t.Errorf("%s became %q", piece, got)
		}
	}
	for _, text := range []string{"<loc0012><seg127> cat", "\n\n<b>x</b>", "a\x00b\x00\x00", "\x00", "日本\xff語"} {
		a, err1 := plain.Encode(text)
		b, err2 := special.Encode(text)
		if err1 != nil || err2 != nil || len(a) == 0 || !slices.Equal(a, b) {
			t.Errorf("%q is %v, %v and %v, %v", text, a, err1, b, err2)
		}
		if got := plain.Decode(a); got != strings.ToValidUTF8(text, "\uFFFD") {
			t.Errorf("%q became %q", text, got)
		}
	}
}

func TestStreamHoldsBytes(t *testing.T) {
	tok := open(t, true)
	s := tok.NewStream()
	// 日 in bytes, <bos> in between, then a word: the special token does not end the run.
	ids := []int{313, 234, 2, 248, 419, 313}
	want := []string{"", "", "", "", "日 cat", ""}
	for i, id := range ids {
		if got := s.Push(id); got != want[i] {
			t.Errorf("Push(%d) = %q, want %q", id, got, want[i])
		}
	}
	if got := s.Flush(); got != "\uFFFD" {
		t.Errorf("an unfinished character is %q", got)
	}
	if got := tok.Decode([]int{-1, 2177, 1 << 40}); got != "" {
		t.Errorf("ids outside the vocabulary decode to %q", got)
	}
	if got := tok.Piece(-1) + tok.Piece(2177); got != "" {
		t.Errorf("pieces outside the vocabulary are %q", got)
	}
}

func TestEncodeEmptyAndClosed(t *testing.T) {
	tok := open(t, false)
	if ids, err := tok.Encode(""); len(ids) != 0 || err != nil {
		t.Errorf("Encode of nothing is %v, %v", ids, err)
	}
	tok.Close()
	tok.Close()
	if _, err := tok.Encode("x"); err == nil {
		t.Error("a closed tokenizer encodes")
	}
	if got := tok.Decode([]int{419}); got != " cat" {
		t.Errorf("a closed tokenizer decodes to %q", got)
	}
}
