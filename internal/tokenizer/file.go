package tokenizer

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"

	"paligemma/internal/quote"
	"paligemma/internal/strictjson"
)

// File is a parsed tokenizer.json of byte-pair encoding whose normalizers and
// pre-tokenizers only replace or split at fixed strings. Every Gemma is saved
// as one, in several layouts.
type File struct {
	Added  []AddedToken   // added_tokens; nil if the field is missing
	Vocab  map[string]int // model.vocab: the id of each piece
	Merges []Merge        // model.merges, by rank
	Unk    string         // model.unk_token

	text                   string
	vocab, merges          string // of model, as written
	byteFallback           bool
	ignoreMerges           bool
	fuseUnk                bool
	normalizers, splitters []step // of normalizer and of pre_tokenizer
}

// AddedToken is an entry of added_tokens.
type AddedToken struct {
	ID         int    `json:"id"`
	Content    string `json:"content"`
	SingleWord bool   `json:"single_word"`
	LStrip     bool   `json:"lstrip"`
	RStrip     bool   `json:"rstrip"`
	Normalized bool   `json:"normalized"`
	Special    bool   `json:"special"`
}

// Merge is the two pieces that a merge joins.
type Merge struct{ Left, Right string }

// ParseFile reads a tokenizer.json. It checks each value by itself; ids are
// compared with each other by CheckIDs, and with a model's by Compile.
func ParseFile(text string) (*File, error) {
	if len(text) > math.MaxInt32 {
		return nil, fmt.Errorf("%d bytes are too many", len(text))
	}
	r, err := strictjson.NewReader(text)
	if err != nil {
		return nil, err
	}
	f := &File{text: text}
	var m *fileModel
	var normalizer, splitter strictjson.Raw
	err = r.Fields(map[string]any{
		"added_tokens":  func() error { return f.readAdded(r) },
		"normalizer":    &normalizer,
		"pre_tokenizer": &splitter,
		"model": func() (err error) {
			m, err = f.readModel(r)
			return err
		},
	})
	if err != nil {
		return nil, err
	}
	if err := r.End(); err != nil {
		return nil, err
	}
	if err := f.setModel(m); err != nil {
		return nil, err
	}
	if f.normalizers, err = readSteps(normalizers, normalizer); err != nil {
		return nil, err
	}
	if f.splitters, err = readSteps(splitters, splitter); err != nil {
		return nil, err
	}
	return f, checkGrowth(f.normalizers)
}

// readAdded reads added_tokens.
func (f *File) readAdded(r *strictjson.Reader) error {
	f.Added = []AddedToken{}
	return r.List(func() error {
		if len(f.Added) == maxAdded {
			return fmt.Errorf("more than %d added tokens", maxAdded)
		}
		a := AddedToken{ID: -1}
		err := r.Fields(map[string]any{
			"id": func() error {
				id, err := r.Int(0, math.MaxInt32)
				a.ID = int(id)
				return err
			},
			"content": &a.Content, "single_word": &a.SingleWord, "lstrip": &a.LStrip, "rstrip": &a.RStrip,
			"normalized": &a.Normalized, "special": &a.Special,
		})
		if err == nil && (a.ID < 0 || a.Content == "") {
			err = errors.New("an added token lacks its id or content")
		}
		f.Added = append(f.Added, a)
		return err
	})
}

// fileModel is the model part of a file, as far as it may differ among Gemmas.
type fileModel struct {
	kind                  string // the oldest files leave it out
	unk, prefix, suffix   string
	dropout               float64
	fuseUnk, byteFallback bool
	ignoreMerges          bool
	vocab, merges         string
}

// readModel reads the model part, the vocabulary and the merges into f. Those of
// another kind, as other models have them, are left to setModel.
func (f *File) readModel(r *strictjson.Reader) (*fileModel, error) {
	m := new(fileModel)
	return m, r.Fields(map[string]any{
		"type": &m.kind, "dropout": &m.dropout, "unk_token": &m.unk,
		"continuing_subword_prefix": &m.prefix, "end_of_word_suffix": &m.suffix,
		"fuse_unk": &m.fuseUnk, "byte_fallback": &m.byteFallback, "ignore_merges": &m.ignoreMerges,
		"vocab": func() (err error) {
			m.vocab, err = r.Text(func() error { return f.readVocab(r) })
			return err
		},
		"merges": func() (err error) {
			m.merges, err = r.Text(func() error { return f.readMerges(r) })
			return err
		},
	})
}

// setModel checks the model part and takes it over.
func (f *File) setModel(m *fileModel) error {
	switch {
	case m == nil:
		return errors.New("model is missing")
	case m.kind != "BPE" && m.kind != "":
		return fmt.Errorf("model.type is %s, want BPE", quote.Short(m.kind))
	case m.dropout != 0:
		return errors.New("model: dropout is for training")
	case m.prefix != "" || m.suffix != "":
		return errors.New("prefixes and suffixes of subwords are not Gemma's")
	case m.unk == "":
		return errors.New("model: unk_token is missing")
	case m.vocab == "":
		return errors.New("model: vocab is missing")
	case m.merges == "":
		return errors.New("model: merges is missing")
	case f.Vocab == nil:
		return errors.New("model: vocab is not an object")
	case f.Merges == nil:
		return errors.New("model: merges is not a list")
	}
	f.Unk, f.vocab, f.merges = m.unk, m.vocab, m.merges
	f.byteFallback, f.ignoreMerges, f.fuseUnk = m.byteFallback, m.ignoreMerges, m.fuseUnk
	return nil
}

// readVocab reads the ids of pieces. Vocab stays nil if they are not an object.
func (f *File) readVocab(r *strictjson.Reader) error {
	if r.Kind() != strictjson.Object {
		return r.Skip()
	}
	f.Vocab = map[string]int{}
	return r.Object(func(piece string) error {
		id, err := r.Int(0, math.MaxInt32)
		if err != nil {
			return fmt.Errorf("%s: %w", quote.Short(piece), err)
		}
		f.Vocab[piece] = int(id)
		return nil
	})
}

// readMerges reads merges in either of their forms, [["a","b"]] or ["a b"].
// Merges stays nil if they are not a list.
func (f *File) readMerges(r *strictjson.Reader) error {
	if r.Kind() != strictjson.List {
		return r.Skip()
	}
	f.Merges = []Merge{}
	kind := strictjson.Invalid // of all merges
	return r.List(func() error {
		if next := r.Kind(); len(f.Merges) > 0 && next != kind {
			return fmt.Errorf("merge %d is not of the form of those before", len(f.Merges))
		} else {
			kind = next
		}
		m, err := readMerge(r)
		if err != nil {
			return fmt.Errorf("merge %d: %w", len(f.Merges), err)
		}
		f.Merges = append(f.Merges, m)
		return nil
	})
}

// readMerge reads ["a","b"] or "a b".
func readMerge(r *strictjson.Reader) (Merge, error) {
	var pair []string
	if r.Kind() == strictjson.String {
		line, err := r.String()
		if err != nil {
			return Merge{}, err
		}
		if strings.HasPrefix(line, "#version") { // a comment to the library
			return Merge{}, errors.New("it begins with #version")
		}
		pair = strings.Split(line, " ")
	} else {
		err := r.List(func() error {
			piece, err := r.String()
			pair = append(pair, piece)
			return err
		})
		if err != nil {
			return Merge{}, err
		}
	}
	switch {
	case len(pair) != 2 || pair[0] == "" || pair[1] == "":
		return Merge{}, fmt.Errorf("%s are not two pieces", quote.Line(fmt.Sprintf("%q", pair), quote.Max))
	case strings.ContainsRune(pair[0]+pair[1], 0):
		// The library's message about a merge that fails becomes a C string.
		return Merge{}, errors.New("it has a zero byte")
	}
	return Merge{pair[0], pair[1]}, nil
}

// Compact returns the file's JSON without white space between its values.
func (f *File) Compact() (string, error) {
	var out bytes.Buffer
	err := json.Compact(&out, []byte(f.text))
	return out.String(), err
}

// WithAdded returns the file with more added tokens.
func (f *File) WithAdded(tokens []AddedToken) (*File, error) {
	r, err := strictjson.NewReader(f.text)
	if err != nil {
		return nil, err
	}
	fields := map[string]strictjson.Raw{}
	err = r.Object(func(key string) (err error) {
		fields[key], err = r.Raw()
		return err
	})
	if err != nil {
		return nil, err
	}
	if fields["added_tokens"], err = encode(append(f.Added[:len(f.Added):len(f.Added)], tokens...)); err != nil {
		return nil, err
	}
	text, err := encode(fields)
	if err != nil {
		return nil, err
	}
	return ParseFile(string(text))
}

// CheckIDs refuses added tokens whose ids are not those that the library gives
// them, whatever the file says: those of the vocabulary, or else the next free
// one (added_vocabulary.rs, add_tokens).
func (f *File) CheckIDs() error {
	given := make(map[string]int, len(f.Added))
	next := len(f.Vocab)
	for _, a := range f.Added {
		id, again := given[a.Content]
		if known, ok := f.Vocab[a.Content]; ok {
			id = known
		} else if !again {
			id = next
		}
		if a.ID != id {
			return fmt.Errorf("the added token %s has the id %d, but tokenizers would give it %d", quote.Short(a.Content), a.ID, id)
		}
		given[a.Content] = id
		next = max(next, id+1)
	}
	return nil
}

// encode is json.Marshal that leaves < > & as they are.
func encode(v any) ([]byte, error) {
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}
