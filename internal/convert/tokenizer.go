package convert

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"

	"paligemma/internal/gguf"
	"paligemma/internal/model"
	"paligemma/internal/quote"
	reader "paligemma/internal/tokenizer"
)

// tokenizer is a tokenizer.json as the file needs it.
type tokenizer struct {
	json   string // compact
	tokens []string
	scores []float32
	types  []int32
	ids    map[string]int    // by piece, the added tokens included
	named  map[string]string // pieces of bos and eos other than specials'
	file   string            // the name of the file that it comes from, for messages

	compiled *reader.Compiled // nil if only the library can encode
	encoding reader.Encoding
}

// specials are the pieces with a meaning of their own, and their names in
// config.json.
var specials = []struct{ name, piece string }{
	{"bos", "<bos>"}, {"eos", "<eos>"}, {"pad", "<pad>"}, {"unk", "<unk>"}, {"image", imagePiece},
}

// readTokenizer reads the tokenizer of a checkpoint's folder, or else the one
// that is named, and the files that may complete it.
func readTokenizer(dir, named string, s *settings) (*tokenizer, error) {
	source, err := openTokenizer(dir, named)
	if err != nil {
		return nil, err
	}
	file, err := s.complete(source)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", source.path, err)
	}
	t, err := newTokenizer(file, s.config.Text.Vocab)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", source.path, err)
	}
	t.file, t.named = source.name, source.files.special
	return t, nil
}

// useAnother is what to do about a tokenizer that is broken or another model's.
const useAnother = "use the tokenizer that was saved with the weights (--tokenizer names one elsewhere)"

// parseTokenizer parses a checkpoint's tokenizer.json.
func parseTokenizer(b []byte) (*reader.File, error) {
	file, err := reader.ParseFile(string(b))
	if err == nil && file.Added == nil {
		err = errors.New("added_tokens is missing")
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %s", err, useAnother)
	}
	return file, nil
}

// newTokenizer makes what a model file needs of a tokenizer.json. Ids must be
// below rows, the number of rows of the token embedding, but for <image>, which
// may be the next one.
func newTokenizer(file *reader.File, rows int) (*tokenizer, error) {
	t := &tokenizer{ids: maps.Clone(file.Vocab)}
	for _, a := range file.Added {
		if id, ok := t.ids[a.Content]; ok && id != a.ID {
			return nil, fmt.Errorf("the added token %s has the id %d, and %d in the vocabulary: %s", quote.Short(a.Content), a.ID, id, useAnother)
		}
		t.ids[a.Content] = a.ID
	}
	n, err := t.count(rows)
	if err != nil {
		return nil, err
	}
	if err := t.fill(file, n); err != nil {
		return nil, fmt.Errorf("%w: %s", err, useAnother)
	}
	if t.json, err = file.Compact(); err != nil {
		return nil, err
	}
	t.compiled, t.encoding = file.Compile(t.tokens)
	return t, nil
}

// count returns the number of ids that pieces have, or are between them.
func (t *tokenizer) count(rows int) (n int, err error) {
	for piece, id := range t.ids {
		if id >= rows && (id > rows || piece != imagePiece) {
			return 0, fmt.Errorf("token %s has the id %d, but the token embedding has %d rows: "+
				"use the base model's tokenizer, or resize_token_embeddings() and save again", quote.Short(piece), id, rows)
		}
		n = max(n, id+1)
	}
	return n, nil
}

// fill sets what the file says of n ids. Its errors are a file's that
// contradicts itself.
func (t *tokenizer) fill(file *reader.File, n int) error {
	if err := t.place(n); err != nil {
		return err
	}
	t.classify(file)
	if err := t.score(file.Merges); err != nil {
		return err
	}
	if _, ok := file.Vocab[file.Unk]; !ok {
		return fmt.Errorf("model.unk_token %s is not in the vocabulary", quote.Short(file.Unk))
	}
	return file.CheckIDs()
}

// place puts every piece at its id. An id without a piece gets a made-up name,
// as in llama.cpp's files.
func (t *tokenizer) place(n int) error {
	t.tokens = make([]string, n)
	t.types = slices.Repeat([]int32{reader.TypeUnused}, n)
	for piece, id := range t.ids {
		if t.types[id] != reader.TypeUnused {
			return fmt.Errorf("tokens %s and %s both have the id %d", quote.Short(min(piece, t.tokens[id])), quote.Short(max(piece, t.tokens[id])), id)
		}
		t.tokens[id], t.types[id] = piece, reader.TypeNormal
	}
	t.nameUnused()
	return nil
}

// nameUnused names the ids without a piece.
func (t *tokenizer) nameUnused() {
	for id, kind := range t.types {
		if kind == reader.TypeUnused {
			t.tokens[id] = fmt.Sprintf("[PAD%d]", id)
		}
	}
}

// classify sets the types of bytes, of added tokens and of <unk>.
func (t *tokenizer) classify(file *reader.File) {
	for b := range 256 {
		if id, ok := t.ids[reader.ByteToken(byte(b))]; ok {
			t.types[id] = reader.TypeByte
		}
	}
	for _, a := range file.Added {
		t.types[a.ID] = reader.TypeUserDefined
		if a.Special {
			t.types[a.ID] = reader.TypeControl
		}
	}
	if id, ok := t.ids[file.Unk]; ok {
		t.types[id] = reader.TypeUnknown
	}
}

// score derives sentencepiece's scores from the merges: the piece that merge r
// makes first has −r, so that "best score first" is "lowest rank first". Single
// characters, bytes and added tokens are never made by a merge and have 0; a
// longer piece without a merge comes after all others.
func (t *tokenizer) score(merges []reader.Merge) error {
	t.scores = make([]float32, len(t.tokens))
	made := make([]bool, len(t.tokens))
	for r, m := range merges {
		for _, piece := range []string{m.Left, m.Right, m.Left + m.Right} {
			if _, ok := t.ids[piece]; !ok {
				return fmt.Errorf("merge %d: %s is not in the vocabulary", r, quote.Short(piece))
			}
		}
		if id := t.ids[m.Left+m.Right]; !made[id] {
			made[id] = true
			t.scores[id] = -float32(r)
		}
	}
	for id, kind := range t.types {
		if kind == reader.TypeNormal && !made[id] && utf8.RuneCountInString(t.tokens[id]) > 1 {
			t.scores[id] = -float32(len(merges))
		}
	}
	return nil
}

// special gives the ids with a meaning of their own. Where config.json names
// others only that of <image> matters; padding takes no part in inference.
func (t *tokenizer) special(s *settings) (model.TokenConfig, error) {
	c := model.TokenConfig{Pieces: len(t.tokens)}
	into := map[string]*int{"bos": &c.BOS, "eos": &c.EOS, "pad": &c.PAD, "unk": &c.UNK, "image": &c.Image}
	var missing []string
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
		default:
			missing = append(missing, piece)
		}
		*into[sp.name] = id
	}
	if len(missing) > 0 {
		return c, fmt.Errorf("%s has no %s token: %s", t.file, strings.Join(missing, ", no "), useAnother)
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
	file, err := parseTokenizer(data)
	if err != nil {
		return err
	}
	t, err := newTokenizer(file, rows)
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
	w.SetStrings(gguf.KeyTokens, t.tokens)
	w.SetFloat32s("tokenizer.ggml.scores", t.scores)
	w.SetInt32s(gguf.KeyTokenTypes, t.types)
	w.SetBool("tokenizer.ggml.add_bos_token", true)
	w.SetBool("tokenizer.ggml.add_eos_token", false)
	w.SetBool("tokenizer.ggml.add_space_prefix", false)
	w.SetString(reader.KeyJSON, t.json)
	if t.compiled != nil {
		t.compiled.SetKeys(w)
	}
}
