package tokenizer

import (
	"fmt"
	"slices"
	"sort"
	"strings"

	"paligemma/internal/quote"
)

// addedSet finds added tokens in a text.
type addedSet struct {
	tokens []added      // by their bytes
	first  [256 + 1]int // index of the first token that begins with this byte, or a greater one
}

type added struct {
	text    string
	id      int
	special bool
}

// newAddedSet sorts tokens. Two of the same text are an error.
func newAddedSet(tokens []added) (*addedSet, error) {
	slices.SortFunc(tokens, func(a, b added) int { return strings.Compare(a.text, b.text) })
	for i := 1; i < len(tokens); i++ {
		if tokens[i].text == tokens[i-1].text {
			return nil, fmt.Errorf("two added tokens are %s", quote.Short(tokens[i].text))
		}
	}
	s := &addedSet{tokens: tokens}
	i := 0
	for b := range s.first {
		for i < len(tokens) && int(tokens[i].text[0]) < b {
			i++
		}
		s.first[b] = i
	}
	return s, nil
}

// next finds the first place in text with a token, and the longest one there.
// With plain, special tokens are passed over as a whole: none begins inside of
// them. Without any match, start is the text's length and token nil.
func (s *addedSet) next(text string, plain bool) (start int, token *added) {
	for i := 0; i < len(text); i++ {
		b := text[i]
		if s.first[b] == s.first[int(b)+1] {
			continue
		}
		t := s.longest(text[i:])
		switch {
		case t == nil:
		case plain && t.special:
			i += len(t.text) - 1
		default:
			return i, t
		}
	}
	return len(text), nil
}

// longest is the longest token that text begins with. It narrows the sorted
// list by a byte at a time; a token that ends there is the first of the rest.
func (s *addedSet) longest(text string) (found *added) {
	rest := s.tokens[s.first[text[0]]:s.first[int(text[0])+1]]
	for n := 1; len(rest) > 0; n++ {
		if len(rest[0].text) == n {
			found = &rest[0]
			rest = rest[1:]
		}
		if n == len(text) {
			break
		}
		b := text[n]
		low := sort.Search(len(rest), func(i int) bool { return rest[i].text[n] >= b })
		high := low + sort.Search(len(rest)-low, func(i int) bool { return rest[low+i].text[n] > b })
		rest = rest[low:high]
	}
	return found
}
