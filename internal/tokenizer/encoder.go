package tokenizer

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// encoder encodes texts with the pipeline that Pipeline describes, to the same
// ids as the library. Nothing of it changes once it is made.
type encoder struct {
	merges []int32 // as in Compiled
	rows   []int32 // of each id: the number of its first merge as the left piece

	low   []int32        // of the runes below len(low): the id of the character, plus one
	high  map[rune]int32 // the same of all others
	bytes [256]int32     // the tokens of bytes

	raw, normal *addedSet // added tokens to find before and after normalizing
}

// newEncoder checks the compiled form against the pieces and makes the indexes
// that it lacks: one pass over the merges and one over the pieces.
func newEncoder(c *Compiled, pieces []string) (*encoder, error) {
	e := &encoder{merges: c.Merges}
	if err := e.indexMerges(len(pieces)); err != nil {
		return nil, err
	}
	if err := e.indexPieces(pieces); err != nil {
		return nil, err
	}
	return e, e.indexAdded(c.Added, pieces)
}

func (e *encoder) indexMerges(pieces int) error {
	m := e.merges
	if len(m)%4 != 0 {
		return fmt.Errorf("merges: %d numbers are not four for each", len(m))
	}
	e.rows = make([]int32, pieces+1)
	left, right := int32(0), int32(-1)
	for i := 0; i < len(m); i += 4 {
		q := m[i : i+4 : i+4]
		if q[0] < left || (q[0] == left && q[1] <= right) {
			return fmt.Errorf("merges: number %d is out of order", i/4)
		}
		if int(q[0]) >= pieces || uint(q[1]) >= uint(pieces) || uint(q[2]) >= uint(pieces) || q[3] < 0 {
			return fmt.Errorf("merges: number %d is %d, of %d pieces", i/4, q, pieces)
		}
		for ; left < q[0]; left++ {
			e.rows[left+1] = int32(i / 4)
		}
		right = q[1]
	}
	for ; int(left) < pieces; left++ {
		e.rows[left+1] = int32(len(m) / 4)
	}
	return nil
}

// merge returns what two pieces make, and its rank: a search among the merges of
// the left one.
func (e *encoder) merge(left, right int32) (made, rank int32, ok bool) {
	low, high := e.rows[left], e.rows[left+1]
	for low < high {
		mid := int32(uint32(low+high) / 2)
		q := e.merges[4*int(mid) : 4*int(mid)+4]
		switch {
		case q[1] == right:
			return q[2], q[3], true
		case q[1] < right:
			low = mid + 1
		default:
			high = mid
		}
	}
	return 0, 0, false
}

// indexPieces finds the tokens of characters and bytes among the pieces.
func (e *encoder) indexPieces(pieces []string) error {
	e.low = make([]int32, 0x10000)
	e.high = make(map[rune]int32)
	seen := [256]bool{}
	for id, piece := range pieces {
		if r, ok := character(piece); ok {
			e.setSymbol(r, int32(id)+1)
		} else if b, ok := byteOf(piece); ok && piece == ByteToken(b) {
			e.bytes[b], seen[b] = int32(id), true
		}
	}
	return checkBytes(
		func(b byte) bool { return seen[b] },
		func(r rune) bool { return e.low[r] > 0 })
}

// character returns the one character that a piece is.
func character(piece string) (rune, bool) {
	if piece == "" || len(piece) > utf8.UTFMax {
		return 0, false
	}
	r, size := utf8.DecodeRuneInString(piece)
	return r, size == len(piece) && (r != utf8.RuneError || size > 1)
}

// setSymbol sets the token of a character: its id plus one, or 0 for none.
func (e *encoder) setSymbol(r rune, value int32) {
	if int(r) < len(e.low) {
		e.low[r] = value
	} else {
		e.high[r] = value
	}
}

func (e *encoder) indexAdded(flat []int32, pieces []string) error {
	if len(flat)%2 != 0 || len(flat)/2 > maxAdded {
		return fmt.Errorf("added tokens: %d numbers", len(flat))
	}
	var raw, normal []added
	for pair := range slices.Chunk(flat, 2) {
		id, flags := int(pair[0]), pair[1]
		if id < 0 || id >= len(pieces) || flags&^(flagSpecial|flagNormalized|flagOutside) != 0 {
			return fmt.Errorf("added tokens: %d with flags %d, of %d pieces", id, flags, len(pieces))
		}
		if r, ok := character(pieces[id]); ok && flags&flagOutside != 0 {
			e.setSymbol(r, 0)
		}
		a := added{pieces[id], id, flags&flagSpecial != 0}
		if flags&flagNormalized != 0 {
			a.text = normalize(a.text)
			normal = append(normal, a)
		} else {
			raw = append(raw, a)
		}
		if a.text == "" || len(a.text) > maxAddedLen {
			return fmt.Errorf("added tokens: %d is %d bytes long", id, len(a.text))
		}
	}
	var err1, err2 error
	e.raw, err1 = newAddedSet(raw)
	e.normal, err2 = newAddedSet(normal)
	return errors.Join(err1, err2)
}

// normalize is the pipeline's normalizer.
func normalize(text string) string { return strings.ReplaceAll(text, " ", "▁") }

// encode appends the ids of a text. With plain, special tokens in it are text.
func (e *encoder) encode(ids []int, text string, plain bool) []int {
	text = validUTF8(text)
	for {
		start, token := e.raw.next(text, plain)
		ids = e.encodeNormal(ids, normalize(text[:start]), plain)
		if token == nil {
			return ids
		}
		ids = append(ids, token.id)
		text = text[start+len(token.text):]
	}
}

// encodeNormal appends the ids of a normalized text.
func (e *encoder) encodeNormal(ids []int, text string, plain bool) []int {
	for {
		start, token := e.normal.next(text, plain)
		ids = e.encodeWord(ids, text[:start])
		if token == nil {
			return ids
		}
		ids = append(ids, token.id)
		text = text[start+len(token.text):]
	}
}

// symbol is the id of a character, or of a byte of one that the vocabulary
// lacks.
func (e *encoder) symbol(r rune) (id int32, ok bool) {
	if int(r) < len(e.low) {
		id = e.low[r]
	} else {
		id = e.high[r]
	}
	return id - 1, id > 0
}

// validUTF8 makes a text valid as Rust's String::from_utf8_lossy does: each
// longest piece of invalid bytes that could begin a character is one U+FFFD.
func validUTF8(text string) string {
	if utf8.ValidString(text) {
		return text
	}
	var b strings.Builder
	for i := 0; i < len(text); {
		r, size := utf8.DecodeRuneInString(text[i:])
		if r == utf8.RuneError && size == 1 {
			for i+size < len(text) && !utf8.FullRuneInString(text[i:i+size+1]) {
				size++
			}
		}
		b.WriteRune(r)
		i += size
	}
	return b.String()
}
