package tokenizer

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"

	"paligemma/internal/quote"
)

// Check refuses a tokenizer.json that Open does not take, or whose added tokens
// would get other ids than it says: what the converter asks before it writes one
// into a model.
func Check(text string) error {
	file, err := parse(text)
	if err != nil {
		return err
	}
	var vocab map[string]uint32
	if err := json.Unmarshal(file.Model.Vocab, &vocab); err != nil {
		return fmt.Errorf("vocab: %w", quote.Error(err))
	}
	return checkAddedIDs(file.Added, vocab)
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
	if err := checkLibraryAdded(file.Added); err != nil {
		return nil, err
	}
	file.Version = json.RawMessage(`"1.0"`)
	file.Truncation, file.Padding, file.Post, file.Decoder = nil, nil, nil, nil
	if file.Normalizer, err = sequence("normalizers", file.normalizers); err != nil {
		return nil, err
	}
	if file.Splitter, err = sequence("pretokenizers", file.splitters); err != nil {
		return nil, err
	}
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

	normalizers, splitters []part // the steps of Normalizer and of Splitter
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
	var err error
	if file.normalizers, err = steps("normalizer", file.Normalizer, 0); err != nil {
		return nil, err
	}
	if err := checkGrowth(file.normalizers); err != nil {
		return nil, err
	}
	if file.splitters, err = steps("pre_tokenizer", file.Splitter, 0); err != nil {
		return nil, err
	}
	if file.Added == nil {
		file.Added = []addedToken{} // null is an error to the library
	}
	if len(file.Added) > maxAdded {
		return nil, fmt.Errorf("%d added tokens, more than %d", len(file.Added), maxAdded)
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

// Limits on a normalizer or a pre-tokenizer: encoding a text takes time and
// memory that are a small multiple of its length. Gemma's normalizer is one step
// that triples a text of spaces.
const (
	maxSteps  = 16
	maxGrowth = 8
	maxNested = 4
)

// Limits on added tokens where the library reads them. It compares each with all
// others: 65,000 take it two minutes. One token of 100,000 times the same letter
// takes it more than a minute, and each byte of many some sixty bytes of memory.
const (
	maxLibraryAdded      = 1 << 14
	maxLibraryAddedLen   = 1 << 10
	maxLibraryAddedBytes = 1 << 20 // of all together
)

// checkLibraryAdded refuses added tokens that the library would read too slowly.
func checkLibraryAdded(added []addedToken) error {
	const slow = "which the tokenizers library would read too slowly: the limit is %d"
	if len(added) > maxLibraryAdded {
		return fmt.Errorf("%d added tokens, "+slow, len(added), maxLibraryAdded)
	}
	total := 0
	for _, a := range added {
		if len(a.Content) > maxLibraryAddedLen {
			return fmt.Errorf("the added token %s has %d bytes, "+slow, quote.Short(a.Content), len(a.Content), maxLibraryAddedLen)
		}
		total += len(a.Content)
	}
	if total > maxLibraryAddedBytes {
		return fmt.Errorf("added tokens of %d bytes, "+slow, total, maxLibraryAddedBytes)
	}
	return nil
}

// part is a step of a normalizer (Replace) or of a pre-tokenizer (Split), or a
// Sequence of them.
type part struct {
	Type    string `json:"type"`
	Pattern struct {
		String *string
		Regex  *string `json:",omitempty"`
	} `json:"pattern"`
	Content  *string `json:"content,omitempty"`  // of a Replace
	Behavior *string `json:"behavior,omitempty"` // of a Split
	Invert   *bool   `json:"invert,omitempty"`   // of a Split
}

// splitBehaviors are what a Split may do with what it finds.
var splitBehaviors = []string{"Removed", "Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous"}

// steps flattens what, a normalizer or a pre-tokenizer. It accepts those that do
// no more than replace or split at fixed strings, and sequences of them. Regular
// expressions could take forever.
func steps(what string, raw json.RawMessage, depth int) ([]part, error) {
	if len(raw) == 0 || string(raw) == "null" {
		return nil, nil
	}
	var p part
	if err := json.Unmarshal(raw, &p); err != nil {
		return nil, fmt.Errorf("%s: %w", what, quote.Error(err))
	}
	own, list := "Replace", "normalizers"
	if what == "pre_tokenizer" {
		own, list = "Split", "pretokenizers"
	}
	switch p.Type {
	case own:
		return []part{p}, p.check(what)
	case "Sequence":
		return nested(what, list, raw, depth)
	}
	return nil, fmt.Errorf("%s: %s is not Gemma's", what, quote.Short(p.Type))
}

// nested flattens a Sequence, whose steps are in the field list.
func nested(what, list string, raw json.RawMessage, depth int) ([]part, error) {
	if depth >= maxNested {
		return nil, fmt.Errorf("%s: sequences are nested more than %d deep", what, maxNested)
	}
	var sequence map[string]json.RawMessage
	var members []json.RawMessage
	if err := json.Unmarshal(raw, &sequence); err != nil {
		return nil, fmt.Errorf("%s: %w", what, quote.Error(err))
	}
	if err := json.Unmarshal(sequence[list], &members); err != nil {
		return nil, fmt.Errorf("%s: %s: %w", what, list, quote.Error(err))
	}
	var all []part
	for _, member := range members {
		more, err := steps(what, member, depth+1)
		if err != nil {
			return nil, err
		}
		if all = append(all, more...); len(all) > maxSteps {
			return nil, fmt.Errorf("%s: more than %d steps", what, maxSteps)
		}
	}
	return all, nil
}

// check refuses a step that lacks what the library wants of it.
func (p part) check(what string) error {
	switch {
	case p.Pattern.Regex != nil || p.Pattern.String == nil || *p.Pattern.String == "":
		return fmt.Errorf("%s: %s takes a string as its pattern here", what, p.Type)
	case p.Type == "Split" && (p.Behavior == nil || p.Invert == nil || !slices.Contains(splitBehaviors, *p.Behavior)):
		return fmt.Errorf("%s: Split lacks a behavior that is known, or invert", what)
	case p.Type == "Replace" && (p.Content == nil || *p.Content == ""):
		// An added token that became empty would match inside of characters.
		return fmt.Errorf("%s: Replace by nothing is not Gemma's", what)
	}
	return nil
}

// checkGrowth refuses normalizers that could make a text much longer.
func checkGrowth(steps []part) error {
	growth := 1.0
	for _, p := range steps {
		growth *= max(1, float64(len(*p.Content))/float64(len(*p.Pattern.String)))
	}
	if growth > maxGrowth {
		return fmt.Errorf("normalizer: it can make a text %.3g times as long, want at most %d times", growth, maxGrowth)
	}
	return nil
}

// sequence writes steps as the library reads them.
func sequence(list string, steps []part) (json.RawMessage, error) {
	if len(steps) == 0 {
		return nil, nil
	}
	if len(steps) == 1 {
		return encode(steps[0])
	}
	return encode(map[string]any{"type": "Sequence", list: steps})
}
