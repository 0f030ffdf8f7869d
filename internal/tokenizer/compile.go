package tokenizer

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"paligemma/internal/quote"
)

// Pipeline names the one way of encoding that this package does itself,
// Gemma's: added tokens are cut out, the longest first, those that are not
// normalized before those that are; a space becomes "▁"; what lies between the
// added tokens is merged as one word, and a character that the vocabulary
// lacks becomes its bytes. Every byte that this can ask for has a token.
const Pipeline = "gemma"

// Compiled is what a tokenizer.json of that pipeline says beyond the pieces, in
// a form that needs no parsing.
type Compiled struct {
	// Merges has four numbers for each merge, in ascending order of the first
	// two: the ids of the left and the right piece, of the piece that they
	// make, and the merge's rank.
	Merges []int32
	// Added has two numbers for each added token: its id and the sum of
	// FlagSpecial and FlagNormalized.
	Added []int32
}

// Flags of an added token in Compiled.Added.
const (
	FlagSpecial    int32 = 1 // plain text unless special tokens are heeded
	FlagNormalized int32 = 2 // looked for after the spaces have become "▁"
	FlagOutside    int32 = 4 // a character that the model's own vocabulary lacks: elsewhere it is bytes
)

// Limits on added tokens: matching takes no more steps per character than a
// token has bytes. Gemma has some 1,500 of up to 93 bytes.
const (
	maxAdded    = 1 << 16
	maxAddedLen = 255
)

// Compile reads a tokenizer.json whose ids have the given pieces. Its error
// says why the file is not of this package's pipeline, in which case the
// library has to encode.
func Compile(text string, pieces []string) (*Compiled, error) {
	if !utf8.ValidString(text) {
		return nil, errors.New("invalid utf-8")
	}
	file, err := parse(text)
	if err != nil {
		return nil, err
	}
	// A surrogate without its other half is an error to the library only.
	if hasEscape([]byte(text), `\ud`) || hasEscape([]byte(text), `\uD`) {
		return nil, errors.New("surrogates")
	}
	m := file.Model
	switch {
	case !isGemmaNormalizer(file.normalizers):
		return nil, errors.New("the normalizer is not Gemma's")
	case !splitsNothing(file.splitters):
		return nil, errors.New("the pre-tokenizer is not Gemma's")
	case !m.ByteFallback:
		return nil, errors.New("byte_fallback is false")
	case m.IgnoreMerges:
		return nil, errors.New("ignore_merges is true")
	}
	vocab, err := m.pieces(pieces)
	if err != nil {
		return nil, err
	}
	c := new(Compiled)
	if c.Merges, err = m.compileMerges(vocab); err != nil {
		return nil, err
	}
	if c.Added, err = compileAdded(file.Added, vocab, pieces); err != nil {
		return nil, err
	}
	// The last word is that of the code which will read it.
	if _, err := newEncoder(c, pieces); err != nil {
		return nil, err
	}
	return c, nil
}

// isGemmaNormalizer reports whether all that normalizers do is to replace " "
// by "▁".
func isGemmaNormalizer(steps []part) bool {
	return len(steps) == 1 && steps[0].Type == "Replace" && *steps[0].Pattern.String == " " && *steps[0].Content == "▁"
}

// splitsNothing reports whether pre-tokenizers leave a text without spaces
// whole: those that split at a space, whatever becomes of it.
func splitsNothing(steps []part) bool {
	return !slices.ContainsFunc(steps, func(p part) bool {
		return p.Type != "Split" || *p.Pattern.String != " " || *p.Invert
	})
}

// pieces reads the vocabulary and makes sure that it says what the list of
// pieces says, and that every byte that may be asked for has a token.
func (m *bpe) pieces(list []string) (map[string]uint32, error) {
	var vocab map[string]uint32
	if err := json.Unmarshal(m.Vocab, &vocab); err != nil {
		return nil, fmt.Errorf("vocab: %w", quote.Error(err))
	}
	for piece, id := range vocab {
		if int64(id) >= int64(len(list)) || list[id] != piece {
			return nil, fmt.Errorf("the piece %s is not token %d", quote.Short(piece), id)
		}
	}
	return vocab, checkBytes(
		func(b byte) bool { _, ok := vocab[byteToken(b)]; return ok },
		func(r rune) bool { _, ok := vocab[string(r)]; return ok })
}

// byteToken is the piece that stands for a byte.
func byteToken(b byte) string { return fmt.Sprintf("<0x%02X>", b) }

// checkBytes refuses a vocabulary in which a byte may be asked for that has no
// token: the library then falls back to the unknown token. Released Gemmas have
// no <0x09>, for they have "\t": an ASCII character with a piece is never cut
// into bytes.
func checkBytes(hasByte func(byte) bool, hasCharacter func(rune) bool) error {
	for i := range 256 {
		b := byte(i)
		if !hasByte(b) && (b >= utf8.RuneSelf || !hasCharacter(rune(b))) {
			return fmt.Errorf("the vocabulary has no %s", byteToken(b))
		}
	}
	return nil
}

// compileMerges reads merges in either of their forms, [["a","b"]] or ["a b"].
// Of a merge that is there twice the last counts.
func (m *bpe) compileMerges(vocab map[string]uint32) ([]int32, error) {
	var pairs [][]string
	if err := json.Unmarshal(m.Merges, &pairs); err != nil {
		var lines []string
		if err := json.Unmarshal(m.Merges, &lines); err != nil {
			return nil, fmt.Errorf("merges: %w", quote.Error(err))
		}
		pairs = make([][]string, len(lines))
		for i, line := range lines {
			if strings.HasPrefix(line, "#version") { // a comment to the library
				return nil, errors.New("merges: a line begins with #version")
			}
			pairs[i] = strings.Split(line, " ")
		}
	}
	if pairs == nil {
		return nil, errors.New("merges: null")
	}
	all := make([][4]int32, len(pairs))
	for rank, pair := range pairs {
		if len(pair) != 2 || pair[0] == "" || pair[1] == "" {
			return nil, fmt.Errorf("merge %d is not of two pieces", rank)
		}
		left, ok1 := vocab[pair[0]]
		right, ok2 := vocab[pair[1]]
		made, ok3 := vocab[pair[0]+pair[1]]
		if !ok1 || !ok2 || !ok3 {
			return nil, fmt.Errorf("merge %d is of pieces that the vocabulary lacks", rank)
		}
		all[rank] = [4]int32{int32(left), int32(right), int32(made), int32(rank)}
	}
	slices.SortFunc(all, func(a, b [4]int32) int {
		return cmp.Or(cmp.Compare(a[0], b[0]), cmp.Compare(a[1], b[1]), cmp.Compare(a[3], b[3]))
	})
	flat := make([]int32, 0, 4*len(all))
	for i, q := range all {
		if i+1 == len(all) || q[0] != all[i+1][0] || q[1] != all[i+1][1] {
			flat = append(flat, q[:]...)
		}
	}
	return flat, nil
}

// compileAdded checks that the added tokens are plain strings and have the ids
// that the library gives them.
func compileAdded(added []addedToken, vocab map[string]uint32, pieces []string) ([]int32, error) {
	if err := checkAddedIDs(added, vocab); err != nil {
		return nil, err
	}
	flat := make([]int32, 0, 2*len(added))
	seen := make(map[string]bool, len(added))
	for _, a := range added {
		switch {
		case seen[a.Content]:
			return nil, fmt.Errorf("the added token %s is there twice", quote.Short(a.Content))
		case a.ID >= int64(len(pieces)) || pieces[a.ID] != a.Content:
			return nil, fmt.Errorf("the added token %s is not token %d", quote.Short(a.Content), a.ID)
		case a.SingleWord || a.Lstrip || a.Rstrip:
			return nil, fmt.Errorf("the added token %s depends on the text around it (single_word, lstrip or rstrip)", quote.Short(a.Content))
		}
		seen[a.Content] = true
		flags := int32(0)
		if a.Special {
			flags |= FlagSpecial
		}
		if a.Normalized {
			flags |= FlagNormalized
		}
		if _, known := vocab[a.Content]; !known && utf8.RuneCountInString(a.Content) == 1 {
			flags |= FlagOutside
		}
		flat = append(flat, int32(a.ID), flags)
	}
	return flat, nil
}

// checkAddedIDs refuses added tokens whose ids are not those that the library
// gives them, whatever the file says: those of the vocabulary, or else the next
// free one (added_vocabulary.rs, add_tokens).
func checkAddedIDs(added []addedToken, vocab map[string]uint32) error {
	given := make(map[string]int64, len(added))
	next := int64(len(vocab))
	for _, a := range added {
		id, again := given[a.Content]
		if known, ok := vocab[a.Content]; ok {
			id = int64(known)
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

// Verify makes sure that the compiled form is made of the tokenizer.json, or,
// where there is none, that the library can read that.
func (s Source) Verify() error {
	text, err := s.json()
	if err != nil {
		return err
	}
	have, err := s.compiled()
	if err != nil {
		return err
	}
	if have == nil {
		lib, err := loadLibrary(text, false)
		if err != nil {
			return err
		}
		return lib.Close()
	}
	want, err := Compile(text, s.Pieces)
	if err != nil {
		return fmt.Errorf("tokenizer.json is not what was compiled: %w", err)
	}
	if !slices.Equal(have.Merges, want.Merges) || !slices.Equal(have.Added, want.Added) {
		return errors.New("the compiled tokenizer differs from tokenizer.json")
	}
	return nil
}
