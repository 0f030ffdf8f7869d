package tokenizer

import (
	"errors"
	"fmt"
	"slices"

	"paligemma/internal/quote"
	"paligemma/internal/strictjson"
)

// Limits on a normalizer or a pre-tokenizer: encoding a text takes time and
// memory that are a small multiple of its length. Gemma's normalizer is one step
// that triples a text of spaces.
const (
	maxSteps  = 16
	maxGrowth = 8
	maxNested = 4
)

// stepKind is one of the two lists of steps that a file may have.
type stepKind struct {
	field    string // of the file
	typ      string // the one type of step accepted, besides Sequence
	sequence string // the field of a Sequence that lists its steps
}

var (
	normalizers = stepKind{"normalizer", "Replace", "normalizers"}
	splitters   = stepKind{"pre_tokenizer", "Split", "pretokenizers"}
)

// step is a Replace of a normalizer or a Split of a pre-tokenizer, as the
// library reads it.
type step struct {
	Type     string  `json:"type"`
	Pattern  pattern `json:"pattern"`
	Content  string  `json:"content,omitempty"`  // of a Replace
	Behavior string  `json:"behavior,omitempty"` // of a Split
	Invert   *bool   `json:"invert,omitempty"`   // of a Split
}

// pattern is the string that a step looks for.
type pattern struct{ String string }

// splitBehaviors are what a Split may do with what it finds.
var splitBehaviors = []string{"Removed", "Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous"}

// readSteps flattens a normalizer or a pre-tokenizer. It accepts those that only
// replace or split at fixed strings, and sequences of them. Regular expressions
// could take forever.
func readSteps(kind stepKind, raw strictjson.Raw) ([]step, error) {
	steps, err := kind.flatten(nil, raw, 0)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", kind.field, err)
	}
	return steps, nil
}

// flatten appends the steps of a value, at a depth of sequences.
func (k stepKind) flatten(steps []step, raw strictjson.Raw, depth int) ([]step, error) {
	if raw == nil {
		return steps, nil
	}
	var members []strictjson.Raw
	s, err := k.read(string(raw), &members)
	switch {
	case err != nil:
		return nil, err
	case s.Type == k.typ:
		if len(steps) == maxSteps {
			return nil, fmt.Errorf("more than %d steps", maxSteps)
		}
		return append(steps, s), s.check()
	case s.Type != "Sequence":
		return nil, fmt.Errorf("%s is not Gemma's", quote.Short(s.Type))
	case depth == maxNested:
		return nil, fmt.Errorf("sequences are nested more than %d deep", maxNested)
	case members == nil:
		return nil, fmt.Errorf("%s is missing", k.sequence)
	}
	for _, member := range members {
		if steps, err = k.flatten(steps, member, depth+1); err != nil {
			return nil, err
		}
	}
	return steps, nil
}

// read reads one step, and of a Sequence its members.
func (k stepKind) read(text string, members *[]strictjson.Raw) (s step, err error) {
	r, err := strictjson.NewReader(text)
	if err != nil {
		return s, err
	}
	return s, r.Fields(map[string]any{
		"type": &s.Type, "content": &s.Content, "behavior": &s.Behavior,
		"invert": func() error {
			invert, err := r.Bool()
			s.Invert = &invert
			return err
		},
		"pattern": func() error {
			return r.Fields(map[string]any{
				"String": &s.Pattern.String,
				"Regex":  func() error { return errors.New("regular expressions are not Gemma's") },
			})
		},
		k.sequence: func() error {
			*members = []strictjson.Raw{}
			return r.List(func() error {
				member, err := r.Raw()
				*members = append(*members, member)
				return err
			})
		},
	})
}

// check refuses a step that lacks what the library wants of it.
func (s step) check() error {
	switch {
	case s.Pattern.String == "":
		return fmt.Errorf("%s takes a string as its pattern here", s.Type)
	case s.Type == splitters.typ && (s.Invert == nil || !slices.Contains(splitBehaviors, s.Behavior)):
		return fmt.Errorf("%s lacks a behavior that is known, or invert", s.Type)
	case s.Type == normalizers.typ && s.Content == "":
		// An added token that became empty would match inside of characters.
		return fmt.Errorf("%s by nothing is not Gemma's", s.Type)
	}
	return nil
}

// checkGrowth refuses normalizers that could make a text much longer.
func checkGrowth(steps []step) error {
	growth := 1.0
	for _, s := range steps {
		growth *= max(1, float64(len(s.Content))/float64(len(s.Pattern.String)))
	}
	if growth > maxGrowth {
		return fmt.Errorf("normalizer: it can make a text %.3g times as long, want at most %d times", growth, maxGrowth)
	}
	return nil
}

// encode returns steps as the library reads them: null, a step or a Sequence.
func (k stepKind) encode(steps []step) any {
	switch len(steps) {
	case 0:
		return nil
	case 1:
		return steps[0]
	}
	return map[string]any{"type": "Sequence", k.sequence: steps}
}
