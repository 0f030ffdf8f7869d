package task

import "strings"

// Repeats watches what a model writes, token by token, for an object that it has
// written before. The zero value is ready for a text.
//
// An object is what Parse takes for one: four <loc>, then the codes and the
// label after them, blanks around these not counted. It is complete, and compared
// with all that came before, when ';', another <loc> or the end of the text
// follows: a box may well come again with another label.
type Repeats struct {
	seen map[object]bool
	locs int // of the object under way
	object
	start  int // the tokens to keep if it is a repeat
	end    int // the tokens so far, without the separators and blanks at the end
	tokens int // so far
}

// object is what makes one equal to another.
type object struct {
	box  [4]int
	text string // codes and label as the vocabulary spells them
}

// pieceBlanks are blanks as a vocabulary spells them.
const pieceBlanks = blanks + "▁"

// Push takes the next token as the vocabulary spells it, the end token included.
// It reports whether an object that was there before is now complete: the text
// should then end with its first keep tokens, which leave out that object and
// the separator before it.
func (r *Repeats) Push(piece string) (keep int, repeated bool) {
	r.tokens++
	tok, _ := tokenAt(piece, 0)
	isLoc := tok.kind == tokLoc && tok.end == len(piece)
	text, _, ends := strings.Cut(strings.ReplaceAll(piece, "；", ";"), ";")
	if tok.kind == tokSep {
		text, ends = "", true // <eos>, say
	}
	if isLoc && (r.locs == 4 || r.label() != "") {
		repeated = r.complete() // and this is the first <loc> of the next
	}
	keep = r.start
	if isLoc && r.locs == 0 {
		r.start = r.end
	}
	if isLoc {
		r.box[r.locs] = tok.value
		r.locs++
	} else if r.locs > 0 {
		r.text += text
	}
	if strings.Trim(text, pieceBlanks) != "" {
		r.end = r.tokens
	}
	if ends {
		repeated = r.complete()
	}
	return keep, repeated
}

func (r *Repeats) label() string {
	return strings.TrimRight(strings.TrimLeft(r.text, pieceBlanks), pieceBlanks+commas)
}

// complete ends the object under way, and reports whether it is a repeat. One
// with fewer than four <loc> is none.
func (r *Repeats) complete() bool {
	o, whole := object{r.box, r.label()}, r.locs == 4
	r.locs, r.object = 0, object{}
	if !whole {
		return false
	}
	if r.seen == nil {
		r.seen = map[object]bool{}
	}
	again := r.seen[o]
	r.seen[o] = true
	return again
}
