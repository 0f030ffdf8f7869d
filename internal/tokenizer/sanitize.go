package tokenizer

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"

	"paligemma/internal/quote"
)

// Check tells whether a tokenizer.json is one that Open takes: what the
// converter asks before it writes one into a model.
func Check(text string) error {
	_, err := sanitize(text)
	return err
}

// sanitize checks a tokenizer.json that comes from outside, before the library
// sees it: a panic in there would end the process. What is known to be
// harmless passes; what the library is not asked for (truncation, padding, the
// post-processor, the decoder) is left out.
func sanitize(text string) ([]byte, error) {
	file, err := parse(text)
	if err != nil {
		return nil, err
	}
	file.Version = json.RawMessage(`"1.0"`)
	file.Truncation, file.Padding, file.Post, file.Decoder = nil, nil, nil, nil
	return encode(file)
}

// tokenizerFile is a tokenizer.json.
type tokenizerFile struct {
	Version    json.RawMessage `json:"version"`
	Truncation json.RawMessage `json:"truncation"`
	Padding    json.RawMessage `json:"padding"`
	Added      []addedToken    `json:"added_tokens"`
	Normalizer json.RawMessage `json:"normalizer"`
	Splitter   json.RawMessage `json:"pre_tokenizer"`
	Post       json.RawMessage `json:"post_processor"`
	Decoder    json.RawMessage `json:"decoder"`
	Model      *bpe            `json:"model"`
}

// parse reads a tokenizer.json and checks the parts that the library is to see.
func parse(text string) (*tokenizerFile, error) {
	if len(text) > math.MaxInt32 {
		return nil, fmt.Errorf("%d bytes are too many", len(text))
	}
	var file tokenizerFile
	if err := json.Unmarshal([]byte(text), &file); err != nil {
		return nil, quote.Error(err)
	}
	if err := file.Model.check(); err != nil {
		return nil, err
	}
	if err := checkPart("normalizer", file.Normalizer, 0); err != nil {
		return nil, err
	}
	if err := checkPart("pre_tokenizer", file.Splitter, 0); err != nil {
		return nil, err
	}
	for _, a := range file.Added {
		if a.Content == "" || a.ID < 0 || a.ID > math.MaxInt32 {
			return nil, fmt.Errorf("the added token %s has the id %d", quote.Short(a.Content), a.ID)
		}
	}
	return &file, nil
}

func encode(v any) ([]byte, error) {
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

type addedToken struct {
	ID         int64  `json:"id"`
	Content    string `json:"content"`
	SingleWord bool   `json:"single_word"`
	Lstrip     bool   `json:"lstrip"`
	Rstrip     bool   `json:"rstrip"`
	Normalized bool   `json:"normalized"`
	Special    bool   `json:"special"`
}

// bpe is the model part of the file, the fields that it must have for a Gemma.
type bpe struct {
	Type         string          `json:"type"`
	Dropout      *float64        `json:"dropout"`
	Unk          *string         `json:"unk_token"`
	Prefix       *string         `json:"continuing_subword_prefix"`
	Suffix       *string         `json:"end_of_word_suffix"`
	FuseUnk      bool            `json:"fuse_unk"`
	ByteFallback bool            `json:"byte_fallback"`
	IgnoreMerges bool            `json:"ignore_merges"`
	Vocab        json.RawMessage `json:"vocab"`
	Merges       json.RawMessage `json:"merges"`
}

func (m *bpe) check() error {
	switch {
	case m == nil:
		return errors.New("there is no model")
	case m.Type != "BPE" && m.Type != "": // older files leave it out
		return fmt.Errorf("the model is %s, want BPE", quote.Short(m.Type))
	case m.Dropout != nil && *m.Dropout != 0:
		return errors.New("dropout is for training")
	case m.Prefix != nil && *m.Prefix != "", m.Suffix != nil && *m.Suffix != "":
		return errors.New("prefixes and suffixes of subwords are not Gemma's")
	case m.Unk == nil || *m.Unk == "":
		return errors.New("unk_token is missing")
	case len(m.Vocab) == 0 || len(m.Merges) == 0:
		return errors.New("vocab or merges are missing")
	case hasNUL(m.Merges):
		// The library's message about a merge that fails becomes a C string.
		return errors.New("a merge has a zero byte")
	}
	m.Type, m.Dropout = "BPE", nil
	return nil
}

// hasNUL finds \u0000 in JSON.
func hasNUL(raw []byte) bool {
	return hasEscape(raw, `\u0000`)
}

// hasEscape finds an escape in JSON: with an even number of backslashes before
// it, for "\\u0000" is six characters of text.
func hasEscape(raw []byte, escape string) bool {
	for {
		i := bytes.Index(raw, []byte(escape))
		if i < 0 {
			return false
		}
		before := 0
		for before < i && raw[i-1-before] == '\\' {
			before++
		}
		if before%2 == 0 {
			return true
		}
		raw = raw[i+1:]
	}
}

// checkPart accepts the normalizers and pre-tokenizers that do no more than
// replace or split at fixed strings, and sequences of them. Regular expressions
// could take forever.
func checkPart(what string, raw json.RawMessage, depth int) error {
	if len(raw) == 0 || string(raw) == "null" {
		return nil
	}
	var part struct {
		Type    string `json:"type"`
		Pattern struct {
			String *string
			Regex  *string
		} `json:"pattern"`
		Content       *string           `json:"content"` // of a Replace
		Normalizers   []json.RawMessage `json:"normalizers"`
		PreTokenizers []json.RawMessage `json:"pretokenizers"`
	}
	if err := json.Unmarshal(raw, &part); err != nil {
		return fmt.Errorf("%s: %w", what, quote.Error(err))
	}
	switch part.Type {
	case "Replace", "Split":
		if part.Pattern.Regex != nil || part.Pattern.String == nil || *part.Pattern.String == "" {
			return fmt.Errorf("%s: %s takes a string as its pattern here", what, part.Type)
		}
		// An added token that became empty would match inside of characters.
		if part.Type == "Replace" && (part.Content == nil || *part.Content == "") {
			return fmt.Errorf("%s: Replace by nothing is not Gemma's", what)
		}
		return nil
	case "Sequence":
		if depth > 4 {
			return fmt.Errorf("%s: sequences are nested too deep", what)
		}
		for _, p := range append(part.Normalizers, part.PreTokenizers...) {
			if err := checkPart(what, p, depth+1); err != nil {
				return err
			}
		}
		return nil
	}
	return fmt.Errorf("%s: %s is not Gemma's", what, quote.Short(part.Type))
}
