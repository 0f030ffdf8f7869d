package tokenizer

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/daulet/tokenizers"
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
		Added []addedToken `json:"added_tokens"`
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

func open(t testing.TB, special bool) *Tokenizer {
	t.Helper()
	tok, err := Open(source(t), special)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(tok.Close)
	return tok
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

func TestGoldens(t *testing.T) {
	var cases []struct {
		Text        *string  `json:"text"` // nil: ids to decode only
		IDs         []int    `json:"ids"`
		Tokens      []string `json:"tokens"`
		Decode      string   `json:"decode"`
		SkipSpecial string   `json:"decode_skip_special"`
	}
	golden(t, "tokenizer.json", &cases)
	tok := open(t, true)
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

// Decode is the library's Decode, and streaming changes nothing, on any ids.
func TestDecodeRandom(t *testing.T) {
	tok := open(t, true)
	lib, err := tokenizers.FromBytes(tokenizerJSON(t))
	if err != nil {
		t.Fatal(err)
	}
	defer lib.Close()
	random := rand.New(rand.NewPCG(1, 2))
	// Byte tokens spell whole characters by chance too rarely: these do.
	bytesOf := func(s string) (ids []int) {
		for _, b := range []byte(s) {
			ids = append(ids, slices.Index(tok.src.Pieces, fmt.Sprintf("<0x%02X>", b)))
		}
		return ids
	}
	for n := range 3000 {
		var ids []int
		for range random.IntN(12) {
			switch random.IntN(6) {
			case 0:
				ids = append(ids, bytesOf("é")...)
			case 1:
				ids = append(ids, bytesOf("😀日")...)
			case 2:
				ids = append(ids, 83+1+random.IntN(255)) // any byte but zero, which ends C strings
			case 3:
				ids = append(ids, random.IntN(6)) // special ones
			default:
				ids = append(ids, random.IntN(2240))
			}
		}
		var ids32 []uint32
		ids = slices.DeleteFunc(ids, func(id int) bool { return id == 83 })
		for _, id := range ids {
			ids32 = append(ids32, uint32(id))
		}
		for _, skip := range []bool{true, false} {
			if want, got := lib.Decode(ids32, skip), tok.decode(ids, skip); got != want {
				t.Fatalf("run %d: decode(%v, %v) = %q, want %q", n, ids, skip, got, want)
			}
		}
		stream, text := tok.NewStream(), ""
		for _, id := range ids {
			part := stream.Push(id)
			if strings.ToValidUTF8(part, "") != part {
				t.Fatalf("run %d: a part is %q", n, part)
			}
			text += part
		}
		if text += stream.Flush(); text != tok.Decode(ids) {
			t.Fatalf("run %d: the stream of %v is %q, not %q", n, ids, text, tok.Decode(ids))
		}
	}
	if tok.Piece(83) != "<0x00>" {
		t.Fatal("the token left out is not the zero byte")
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
