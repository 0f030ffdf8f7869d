package convert

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf8"

	"paligemma/internal/gguf"
	"paligemma/internal/model"
	"paligemma/internal/quote"
	reader "paligemma/internal/tokenizer"
)

// Token types of tokenizer.ggml.token_type, as llama.cpp numbers them.
const (
	tokenNormal      = 1
	tokenUnknown     = 2
	tokenControl     = 3
	tokenUserDefined = 4 // matched before the merges
	tokenUnused      = 5 // an id without a piece
	tokenByte        = 6
)

// tokenizer is a tokenizer.json as the file needs it.
type tokenizer struct {
	json   []byte // compact
	tokens []string
	scores []float32
	types  []int32
	ids    map[string]int    // by piece, the added tokens included
	named  map[string]string // pieces of bos and eos other than specials'

	compiled *reader.Compiled // nil if only the library can encode
	encoding reader.Encoding
}

// specials are the pieces with a meaning of their own, and their names in
// config.json.
var specials = []struct{ name, piece string }{
	{"bos", "<bos>"}, {"eos", "<eos>"}, {"pad", "<pad>"}, {"unk", "<unk>"}, {"image", imagePiece},
}

// readTokenizer reads tokenizer.json, and the files that may complete it.
func readTokenizer(dir string, s *settings) (*tokenizer, error) {
	path := filepath.Join(dir, "tokenizer.json")
	b, err := readLimited(path, maxTokenizerBytes)
	if errors.Is(err, fs.ErrNotExist) {
		if _, spm := os.Stat(filepath.Join(dir, "tokenizer.model")); spm == nil {
			return nil, because(err, "tokenizer.json is missing, and there is only the sentencepiece model (tokenizer.model): make it with transformers: AutoTokenizer.from_pretrained(DIR).save_pretrained(DIR)")
		}
		return nil, explainFolder(dir, because(err, "tokenizer.json is missing: copy the tokenizer that came with the model into the folder"))
	}
	if err != nil {
		return nil, err
	}
	files, err := readTokenizerFiles(dir)
	if err != nil {
		return nil, err
	}
	if b, err = s.complete(b, files); err != nil {
		return nil, err
	}
	t, err := parseTokenizer(b, s.config.Text.Vocab)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	t.named = files.special
	return t, nil
}

// field decodes a field that has to be there.
func field(m map[string]json.RawMessage, name string, to any) error {
	raw, ok := m[name]
	if !ok {
		return fmt.Errorf("%s is missing", name)
	}
	if err := json.Unmarshal(raw, to); err != nil {
		return fmt.Errorf("%s: %w", name, quote.Error(err))
	}
	return nil
}

// addedToken is an entry of added_tokens.
type addedToken struct {
	ID         *int   `json:"id"`
	Content    string `json:"content"`
	SingleWord bool   `json:"single_word"`
	LStrip     bool   `json:"lstrip"`
	RStrip     bool   `json:"rstrip"`
	Normalized bool   `json:"normalized"`
	Special    bool   `json:"special"`
}

// parseTokenizer reads a tokenizer.json. Ids must be below rows, the number of
// rows of the token embedding, but for <image>, which may be the next one.
func parseTokenizer(b []byte, rows int) (*tokenizer, error) {
	if _, err := parseJSON(b, false); err != nil {
		return nil, err
	}
	var compact bytes.Buffer
	if err := json.Compact(&compact, b); err != nil {
		return nil, err
	}
	t := &tokenizer{json: compact.Bytes()}
	var file, bpe map[string]json.RawMessage
	var added []addedToken
	var kind, unk string
	var vocab map[string]int
	var merges []json.RawMessage
	if err := json.Unmarshal(t.json, &file); err != nil {
		return nil, quote.Error(err)
	}
	err := cmp.Or(field(file, "added_tokens", &added), field(file, "model", &bpe))
	if err == nil {
		err = cmp.Or(field(bpe, "unk_token", &unk), field(bpe, "vocab", &vocab), field(bpe, "merges", &merges))
	}
	if _, typed := bpe["type"]; typed && err == nil { // the oldest files leave it out
		err = field(bpe, "type", &kind)
	}
	if err != nil {
		return nil, err
	}
	if kind != "BPE" && kind != "" {
		return nil, fmt.Errorf("model.type is %s, want BPE", quote.Short(kind))
	}
	if err := t.place(vocab, added, rows); err != nil {
		return nil, err
	}
	t.classify(added, unk)
	if err := t.score(merges); err != nil {
		return nil, err
	}
	if _, ok := vocab[unk]; !ok {
		return nil, fmt.Errorf("model.unk_token %s is not in the vocabulary", quote.Short(unk))
	}
	if err := reader.Check(string(t.json)); err != nil {
		return nil, err
	}
	t.compiled, t.encoding, err = reader.Source{JSON: string(t.json), Pieces: t.tokens}.Compile()
	return t, err
}

// place puts every piece at its id. An id that nothing has gets a name of its
// own, as in llama.cpp's files.
func (t *tokenizer) place(vocab map[string]int, added []addedToken, rows int) error {
	t.ids = vocab
	if t.ids == nil {
		t.ids = map[string]int{}
	}
	for _, a := range added {
		if a.ID == nil || a.Content == "" {
			return errors.New("an added token lacks its id or content")
		}
		if id, ok := t.ids[a.Content]; ok && id != *a.ID {
			return fmt.Errorf("the added token %s has the id %d, and %d in the vocabulary", quote.Short(a.Content), *a.ID, id)
		}
		t.ids[a.Content] = *a.ID
	}
	n := 0
	for piece, id := range t.ids {
		if id < 0 || id >= rows && (id > rows || piece != imagePiece) {
			return fmt.Errorf("token %s has the id %d, but the token embedding has %d rows: "+
				"use the base model's tokenizer, or resize_token_embeddings() and save again", quote.Short(piece), id, rows)
		}
		n = max(n, id+1)
	}
	t.tokens = make([]string, n)
	t.types = slices.Repeat([]int32{tokenUnused}, n)
	for piece, id := range t.ids {
		if t.types[id] != tokenUnused {
			return fmt.Errorf("tokens %s and %s both have the id %d", quote.Short(min(piece, t.tokens[id])), quote.Short(max(piece, t.tokens[id])), id)
		}
		t.tokens[id], t.types[id] = piece, tokenNormal
	}
	for id, kind := range t.types {
		if kind == tokenUnused {
			t.tokens[id] = fmt.Sprintf("[PAD%d]", id)
		}
	}
	return nil
}

// classify sets the types of bytes, of added tokens and of <unk>.
func (t *tokenizer) classify(added []addedToken, unk string) {
	for b := range 256 {
		if id, ok := t.ids[fmt.Sprintf("<0x%02X>", b)]; ok {
			t.types[id] = tokenByte
		}
	}
	for _, a := range added {
		t.types[*a.ID] = tokenUserDefined
		if a.Special {
			t.types[*a.ID] = tokenControl
		}
	}
	if id, ok := t.ids[unk]; ok {
		t.types[id] = tokenUnknown
	}
}

// score derives sentencepiece's scores from the merges: the piece that merge r
// makes first has −r, so that "best score first" is "lowest rank first". Single
// characters, bytes and added tokens are never made by a merge and have 0; a
// longer piece without a merge comes after all others.
func (t *tokenizer) score(merges []json.RawMessage) error {
	t.scores = make([]float32, len(t.tokens))
	made := make([]bool, len(t.tokens))
	for r, raw := range merges {
		a, b, err := splitMerge(raw)
		if err != nil {
			return fmt.Errorf("merge %d: %w", r, err)
		}
		for _, piece := range []string{a, b, a + b} {
			if _, ok := t.ids[piece]; !ok {
				return fmt.Errorf("merge %d: %s is not in the vocabulary", r, quote.Short(piece))
			}
		}
		if id := t.ids[a+b]; !made[id] {
			made[id] = true
			t.scores[id] = -float32(r)
		}
	}
	for id, kind := range t.types {
		if kind == tokenNormal && !made[id] && utf8.RuneCountInString(t.tokens[id]) > 1 {
			t.scores[id] = -float32(len(merges))
		}
	}
	return nil
}

// splitMerge reads ["a","b"] or "a b".
func splitMerge(raw json.RawMessage) (a, b string, err error) {
	var pair []string
	if len(raw) > 0 && raw[0] == '"' {
		var s string
		if err := json.Unmarshal(raw, &s); err != nil {
			return "", "", quote.Error(err)
		}
		pair = strings.Split(s, " ")
	} else if err := json.Unmarshal(raw, &pair); err != nil {
		return "", "", quote.Error(err)
	}
	if len(pair) != 2 || pair[0] == "" || pair[1] == "" {
		return "", "", fmt.Errorf("%s are not two pieces", quote.Line(string(raw[:min(len(raw), 2*quote.Max)]), quote.Max))
	}
	return pair[0], pair[1], nil
}

// special gives the ids with a meaning of their own. Where config.json names
// others only that of <image> matters; padding takes no part in inference.
func (t *tokenizer) special(s *settings) (model.TokenConfig, error) {
	c := model.TokenConfig{Pieces: len(t.tokens)}
	into := map[string]*int{"bos": &c.BOS, "eos": &c.EOS, "pad": &c.PAD, "unk": &c.UNK, "image": &c.Image}
	var errs []error
	for _, sp := range specials {
		piece := sp.piece
		if named := t.named[sp.name]; named != "" && named != piece {
			if _, ok := t.ids[named]; ok {
				piece = named
				s.notes = append(s.notes, fmt.Sprintf("the tokenizer's %s token is %s", sp.name, quote.Short(named)))
			} else {
				s.notes = append(s.notes, fmt.Sprintf("the tokenizer's %s token, %s, is not in its vocabulary: %s is used", sp.name, quote.Short(named), piece))
			}
		}
		id, ok := t.ids[piece]
		switch {
		case ok:
		case sp.name == "pad":
			id = c.EOS
		case sp.name == "image":
			errs = append(errs, errors.New("tokenizer.json has no <image> token: use the tokenizer that was saved with the weights"))
		default:
			errs = append(errs, fmt.Errorf("tokenizer.json has no %s token", piece))
		}
		*into[sp.name] = id
	}
	if len(errs) > 0 {
		return c, oneLine(errs)
	}
	if ids := s.bos; len(ids) > 0 && !slices.Contains(ids, c.BOS) {
		s.notes = append(s.notes, fmt.Sprintf("config.json's bos_token_id %d is ignored: prompts begin with the tokenizer's, %d", ids[0], c.BOS))
	}
	c.Stop = s.stopTokens(c.EOS, s.config.Text.Vocab)
	return c, s.checkImage(c.Image)
}

// SetTokenizer writes the keys of a tokenizer.json as Convert does. Ids must be
// below rows.
func SetTokenizer(w *gguf.Writer, data []byte, rows int) error {
	t, err := parseTokenizer(data, rows)
	if err != nil {
		return err
	}
	t.setKeys(w)
	return nil
}

// setKeys writes the tokenizer's keys but for the special ids, which are the
// configuration's.
func (t *tokenizer) setKeys(w *gguf.Writer) {
	w.SetString("tokenizer.ggml.model", "llama")
	w.SetString("tokenizer.ggml.pre", "default")
	w.SetStrings(model.KeyTokens, t.tokens)
	w.SetFloat32s("tokenizer.ggml.scores", t.scores)
	w.SetInt32s(model.KeyTokenTypes, t.types)
	w.SetBool("tokenizer.ggml.add_bos_token", true)
	w.SetBool("tokenizer.ggml.add_eos_token", false)
	w.SetBool("tokenizer.ggml.add_space_prefix", false)
	w.SetString(model.KeyTokenizerJSON, string(t.json))
	if t.compiled != nil {
		t.compiled.SetKeys(w)
	}
}
