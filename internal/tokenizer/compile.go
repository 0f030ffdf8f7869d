package tokenizer

import (
	"cmp"
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
	// flagSpecial and flagNormalized.
	Added []int32
}

// Flags of an added token in Compiled.Added.
const (
	flagSpecial    int32 = 1 // plain text unless special tokens are heeded
	flagNormalized int32 = 2 // looked for after the spaces have become "▁"
	flagOutside    int32 = 4 // a character that the model's own vocabulary lacks: elsewhere it is bytes
)

// Limits on added tokens: matching takes no more steps per character than a
// token has bytes. Gemma has some 1,500 of up to 93 bytes.
const (
	maxAdded    = 1 << 16
	maxAddedLen = 255
)

// compile compiles a tokenizer.json whose ids have the given pieces.
func compile(text string, pieces []string) (*Compiled, error) {
	f, err := ParseFile(text)
	if err != nil {
		return nil, err
	}
	return f.compile(pieces)
}

// compile's error says why the file is not of this package's pipeline, in which
// case the library has to encode.
func (f *File) compile(pieces []string) (*Compiled, error) {
	switch {
	// A surrogate without its other half is an error to the library only.
	case hasEscape(f.text, `\ud`) || hasEscape(f.text, `\uD`):
		return nil, errors.New("surrogates")
	case !isGemmaNormalizer(f.normalizers):
		return nil, errors.New("the normalizer is not Gemma's")
	case !splitsNothing(f.splitters):
		return nil, errors.New("the pre-tokenizer is not Gemma's")
	case !f.byteFallback:
		return nil, errors.New("byte_fallback is false")
	case f.ignoreMerges:
		return nil, errors.New("ignore_merges is true")
	}
	if err := f.checkVocab(pieces); err != nil {
		return nil, err
	}
	c := new(Compiled)
	var err error
	if c.Merges, err = f.compileMerges(); err != nil {
		return nil, err
	}
	if c.Added, err = f.compileAdded(pieces); err != nil {
		return nil, err
	}
	// The last word is that of the code which will read it.
	if _, err := newEncoder(c, pieces); err != nil {
		return nil, err
	}
	return c, nil
}

// hasEscape reports whether JSON has an escape: with an even number of
// backslashes before it, for "\\ud" is four characters of text.
func hasEscape(text, escape string) bool {
	for {
		i := strings.Index(text, escape)
		if i < 0 {
			return false
		}
		before := 0
		for before < i && text[i-1-before] == '\\' {
			before++
		}
		if before%2 == 0 {
			return true
		}
		text = text[i+1:]
	}
}

// isGemmaNormalizer reports whether all that normalizers do is to replace " "
// by "▁".
func isGemmaNormalizer(steps []step) bool {
	return len(steps) == 1 && steps[0].Pattern.String == " " && steps[0].Content == "▁"
}

// splitsNothing reports whether pre-tokenizers leave a text without spaces
// whole: those that split at a space, whatever becomes of it.
func splitsNothing(steps []step) bool {
	return !slices.ContainsFunc(steps, func(s step) bool { return s.Pattern.String != " " || *s.Invert })
}

// checkVocab checks that the vocabulary says what the list of pieces says, and
// that every byte that may be asked for has a token.
func (f *File) checkVocab(pieces []string) error {
	for piece, id := range f.Vocab {
		if id >= len(pieces) || pieces[id] != piece {
			return fmt.Errorf("the piece %s is not token %d", quote.Short(piece), id)
		}
	}
	return checkBytes(
		func(b byte) bool { _, ok := f.Vocab[ByteToken(b)]; return ok },
		func(r rune) bool { _, ok := f.Vocab[string(r)]; return ok })
}

// ByteToken returns the piece that stands for a byte.
func ByteToken(b byte) string { return fmt.Sprintf("<0x%02X>", b) }

// checkBytes refuses a vocabulary in which a byte may be asked for that has no
// token: the library then falls back to the unknown token. Released Gemmas have
// no <0x09>, for they have "\t": an ASCII character with a piece is never cut
// into bytes.
func checkBytes(hasByte func(byte) bool, hasCharacter func(rune) bool) error {
	for i := range 256 {
		b := byte(i)
		if !hasByte(b) && (b >= utf8.RuneSelf || !hasCharacter(rune(b))) {
			return fmt.Errorf("the vocabulary has no %s", ByteToken(b))
		}
	}
	return nil
}

// compileMerges returns Compiled.Merges. Of a merge that is there twice the last
// counts.
func (f *File) compileMerges() ([]int32, error) {
	all := make([][4]int32, len(f.Merges))
	for rank, m := range f.Merges {
		left, ok1 := f.Vocab[m.Left]
		right, ok2 := f.Vocab[m.Right]
		made, ok3 := f.Vocab[m.Left+m.Right]
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

// compileAdded returns Compiled.Added. It checks that the added tokens are plain
// strings and have the ids that the library gives them.
func (f *File) compileAdded(pieces []string) ([]int32, error) {
	if err := f.CheckIDs(); err != nil {
		return nil, err
	}
	flat := make([]int32, 0, 2*len(f.Added))
	seen := make(map[string]bool, len(f.Added))
	for _, a := range f.Added {
		switch {
		case seen[a.Content]:
			return nil, fmt.Errorf("the added token %s is there twice", quote.Short(a.Content))
		case a.ID >= len(pieces) || pieces[a.ID] != a.Content:
			return nil, fmt.Errorf("the added token %s is not token %d", quote.Short(a.Content), a.ID)
		case a.SingleWord || a.LStrip || a.RStrip:
			return nil, fmt.Errorf("the added token %s depends on the text around it (single_word, lstrip or rstrip)", quote.Short(a.Content))
		}
		seen[a.Content] = true
		flags := int32(0)
		if a.Special {
			flags |= flagSpecial
		}
		if a.Normalized {
			flags |= flagNormalized
		}
		if _, known := f.Vocab[a.Content]; !known && utf8.RuneCountInString(a.Content) == 1 {
			flags |= flagOutside
		}
		flat = append(flat, int32(a.ID), flags)
	}
	return flat, nil
}

// Verify checks that the compiled form is made of the tokenizer.json, or, where
// there is none, that the library can read that.
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
		lib.close()
		return nil
	}
	want, err := compile(text, s.Pieces)
	if err != nil {
		return fmt.Errorf("tokenizer.json is not what was compiled: %w", err)
	}
	if !slices.Equal(have.Merges, want.Merges) || !slices.Equal(have.Added, want.Added) {
		return errors.New("the compiled tokenizer differs from tokenizer.json")
	}
	return nil
}
