package task

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"paligemma/internal/quote"
)

// Object is one thing the model located: a box, perhaps a mask code, a label.
type Object struct {
	Label      string     // trimmed; "" if the model named nothing
	Box        [4]float64 // x0, y0, x1, y1 in pixels of the upright image
	Normalized [4]float64 // the same between 0 and 1
	Codes      []int      // nil, or the 16 values, 0..127, of a mask in reading order
	Start, End int        // of the object in the parsed text, in bytes: from its first <loc> to the end of its label
}

// Inverted reports that the box ends before it begins in one direction. Parse
// keeps such a box as the model wrote it; big_vision's evaluator counts it as an
// invalid prediction and its demos draw it as it is. Its mask is empty.
func (o Object) Inverted() bool { return o.Box[2] < o.Box[0] || o.Box[3] < o.Box[1] }

// Note is a piece of the text that Parse left out, or kept with a doubt.
type Note struct {
	Offset  int    // of Text in the parsed text, in bytes
	Text    string // the piece concerned
	Problem string // lower case, no full stop
}

// String returns one line for humans: the problem, the place, the beginning of
// the text.
func (n Note) String() string {
	return fmt.Sprintf("%s at byte %d: %s", n.Problem, n.Offset, quote.Short(n.Text))
}

// cut returns the first n bytes of text, without half a character, and an
// ellipsis if there is more.
func cut(text string, n int) string {
	if len(text) <= n {
		return text
	}
	for n > 0 && !utf8.RuneStart(text[n]) {
		n--
	}
	return text[:n] + "…"
}

const (
	maxNotes = 64 // of a kind, kept in a Result
	numCodes = 16 // <segNNN> of one mask
	maxSeg   = 127
)

// Result is what Parse read.
type Result struct {
	Objects      []Object
	Doubts       []Note // the first 64 pieces that were kept although something is wrong with them
	Dropped      []Note // the first 64 pieces that were left out
	DroppedCount int    // all pieces that were left out
}

// Parse reads the objects in text that a PaliGemma wrote about an image W wide
// and H high: groups
//
//	<locY0><locX0><locY1><locX1> [16 × <segNNN>] label
//
// joined by " ; ". A coordinate is value/1023 of the side (the other way round
// from BoxTokens). A <locNNNN> has exactly four digits and at most 1023, a
// <segNNN> three and at most 127: whatever else looks like one is text. Blanks
// between the tokens of a group are allowed, as some programs print them, but a
// group without blanks is one whatever is before it. A
// label ends at ';' (or the fullwidth '；'), at the next token and at <eos>,
// <bos> or <pad>; blanks around it and commas after it are trimmed. A group
// without a label has the label "". The ';' of an HTML entity (&lt;) is text.
//
// Broken text is not an error. What makes no object is left out and listed in
// Dropped: fewer than four <loc> (with the label after them), <seg> that are not
// 16 after a box (the box stays; of more than 16 the first 16 count), text
// outside of objects, such as a label written before its box. Of five <loc> in a
// row the first four are a box, as in big_vision. An inverted box stays as it is
// written, and is among the Doubts.
//
// The time is linear in len(text). Objects and notes refer to text's memory.
func Parse(text string, W, H int) Result {
	p := parser{text: text, w: float64(max(W, 0)), h: float64(max(H, 0))}
	for p.next(); p.tok.kind != tokEnd; {
		switch p.tok.kind {
		case tokLoc:
			p.object()
		case tokSeg:
			start := p.tok.start
			_, end := p.run(tokSeg, nil)
			p.drop(start, end, "<seg> tokens without a box")
		case tokText:
			start, end := trim(text, p.tok.start, p.tok.end)
			if start < trimCommas(text, start, end) {
				p.drop(start, end, doubt(text[start:end], "text without a box"))
			}
			p.next()
		default: // a separator with nothing before it
			p.next()
		}
	}
	return p.res
}

type tokKind int

const (
	tokEnd  tokKind = iota
	tokText         // a stretch of text without tokens and separators
	tokSep          // ';', '；' or a special token that ends a text
	tokLoc
	tokSeg
)

type token struct {
	kind       tokKind
	start, end int // of the text
	value      int // of a <loc> or <seg>
}

type parser struct {
	text string
	w, h float64
	tok  token // the current one
	res  Result
}

// object reads the group that starts at the current <loc>.
func (p *parser) object() {
	start := p.tok.start
	var locs [4]int
	n, end := p.run(tokLoc, locs[:])
	if n < 4 {
		if _, _, labelEnd := p.label(); labelEnd > end {
			end = labelEnd
		}
		p.drop(start, end, fmt.Sprintf("%d of 4 <loc> tokens", n))
		return
	}
	o := Object{Start: start, Normalized: [4]float64{norm(locs[1]), norm(locs[0]), norm(locs[3]), norm(locs[2])}}
	for i, size := range [4]float64{p.w, p.h, p.w, p.h} {
		o.Box[i] = o.Normalized[i] * size
	}
	if o.Inverted() {
		p.doubt(start, end, "inverted box")
	}
	o.End = end
	p.codes(&o)
	if start, end, _ := p.label(); start < end {
		o.Label, o.End = p.text[start:end], end
		if problem := doubt(o.Label, ""); problem != "" {
			p.doubt(start, end, problem+" in a label")
		}
	}
	p.res.Objects = append(p.res.Objects, o)
}

// codes reads the mask of an object, if it has one.
func (p *parser) codes(o *Object) {
	if p.tok.kind != tokSeg {
		return
	}
	start := p.tok.start
	var codes [numCodes]int
	n, end := p.run(tokSeg, codes[:])
	if n == numCodes {
		o.Codes, o.End = append([]int(nil), codes[:]...), end
	} else {
		p.drop(start, end, fmt.Sprintf("%d of 16 <seg> tokens", n))
	}
	if p.tok.kind == tokSeg {
		start := p.tok.start
		_, end := p.run(tokSeg, nil)
		p.drop(start, end, "<seg> tokens after the 16 of a mask")
	}
}

// norm is a location as a fraction of the side.
func norm(loc int) float64 { return float64(loc) / maxLoc }

// run reads tokens of one kind, with blanks between and after them: up to
// len(dst) of them into dst, or all there are if dst is nil. It returns how many
// and where the last one ends. After a blank it leaves four <loc> that lie side
// by side to the next object.
func (p *parser) run(kind tokKind, dst []int) (n, end int) {
	for p.tok.kind == kind && (dst == nil || n < len(dst)) {
		if dst != nil {
			dst[n] = p.tok.value
		}
		n++
		end = p.tok.end
		p.next()
		if p.tok.kind == tokText {
			if a, b := trim(p.text, p.tok.start, p.tok.end); a == b {
				p.next()
				if kind == tokLoc && p.atBox() {
					break
				}
			}
		}
	}
	return n, end
}

// atBox reports whether four <loc> without anything between them begin at the
// current token.
func (p *parser) atBox() bool {
	for t, n := p.tok, 0; n < 4; n++ {
		if t.kind != tokLoc {
			return false
		}
		if n < 3 {
			t, _ = tokenAt(p.text, t.end)
		}
	}
	return true
}

// label reads the text up to the end of the object, if there is any, and the
// separator after it. It returns where the trimmed label lies and where reading
// stopped.
func (p *parser) label() (start, end, stop int) {
	if p.tok.kind == tokText {
		start, stop = trim(p.text, p.tok.start, p.tok.end)
		end = trimCommas(p.text, start, stop)
		p.next()
	}
	if p.tok.kind == tokSep {
		p.next()
	}
	return start, end, stop
}

// drop lists a piece that is left out.
func (p *parser) drop(start, end int, problem string) {
	p.res.DroppedCount++
	p.res.Dropped = p.note(p.res.Dropped, start, end, problem)
}

// doubt lists a piece that is kept.
func (p *parser) doubt(start, end int, problem string) {
	p.res.Doubts = p.note(p.res.Doubts, start, end, problem)
}

func (p *parser) note(notes []Note, start, end int, problem string) []Note {
	if len(notes) == maxNotes {
		return notes
	}
	return append(notes, Note{Offset: start, Text: p.text[start:end], Problem: problem})
}

// doubt names what a text is that was not taken out of its wrapping, and is
// otherwise the problem given.
func doubt(text, problem string) string {
	for _, escaped := range [...]string{"&lt;loc", "&lt;seg", "&#60;loc"} {
		if strings.Contains(text, escaped) {
			return "HTML-escaped tokens (unescape the text first)"
		}
	}
	for _, escaped := range [...]string{`\u003cloc`, `\u003Cloc`, `\u003cseg`, `\u003Cseg`} {
		if strings.Contains(text, escaped) {
			return "JSON-escaped tokens (decode the JSON first)"
		}
	}
	for _, begin := range [...]string{`{"`, `{'`, "[{", `["`, "{\n", "[\n", "```json"} {
		if strings.HasPrefix(text, begin) {
			return "text that looks like JSON (decode it first)"
		}
	}
	return problem
}

// next moves to the token after the current one.
func (p *parser) next() {
	pos := p.tok.end
	if t, ok := tokenAt(p.text, pos); ok {
		p.tok = t
		return
	}
	end := pos
	for end < len(p.text) {
		i := strings.IndexAny(p.text[end:], "<;；")
		if i < 0 {
			end = len(p.text)
			break
		}
		end += i
		if _, ok := tokenAt(p.text, end); ok {
			break
		}
		end++
	}
	p.tok = token{kind: tokText, start: pos, end: end}
	if pos == len(p.text) {
		p.tok.kind = tokEnd
	}
}

// tokenAt returns the token or separator that begins at pos, if one does.
func tokenAt(text string, pos int) (token, bool) {
	rest := text[pos:]
	if rest == "" {
		return token{}, false
	}
	if rest[0] == ';' && endsEntity(text[:pos]) {
		return token{}, false
	}
	for _, special := range [...]string{";", "；", "<eos>", "<bos>", "<pad>"} {
		if strings.HasPrefix(rest, special) {
			return token{kind: tokSep, start: pos, end: pos + len(special)}, true
		}
	}
	if v, ok := number(rest, "<loc", 4); ok && v <= maxLoc {
		return token{kind: tokLoc, start: pos, end: pos + len("<loc0000>"), value: v}, true
	}
	if v, ok := number(rest, "<seg", 3); ok && v <= maxSeg {
		return token{kind: tokSeg, start: pos, end: pos + len("<seg000>"), value: v}, true
	}
	return token{}, false
}

// number reads prefix, the given number of digits and '>' at the start of s.
func number(s, prefix string, digits int) (v int, ok bool) {
	n := len(prefix) + digits
	if len(s) <= n || s[:len(prefix)] != prefix || s[n] != '>' {
		return 0, false
	}
	for _, c := range []byte(s[len(prefix):n]) {
		if c < '0' || c > '9' {
			return 0, false
		}
		v = 10*v + int(c-'0')
	}
	return v, true
}

// endsEntity reports whether a ';' after text would end an HTML entity.
func endsEntity(text string) bool {
	text = text[max(0, len(text)-len("&quot")):]
	at := strings.LastIndexByte(text, '&')
	if at < 0 {
		return false
	}
	switch text[at+1:] {
	case "lt", "gt", "amp", "quot", "apos", "nbsp", "#60", "#62", "#34", "#39":
		return true
	}
	return false
}

// blanks are what is trimmed around labels.
const (
	blanks = " \t\r\n\v\f\u00a0\u3000"
	commas = ",，、"
)

// trim narrows text[start:end] by the blanks at both ends.
func trim(text string, start, end int) (int, int) {
	s := strings.TrimLeft(text[start:end], blanks)
	start = end - len(s)
	return start, start + len(strings.TrimRight(s, blanks))
}

// trimCommas returns the end of text[start:end] without the commas at its end.
func trimCommas(text string, start, end int) int {
	return start + len(strings.TrimRight(text[start:end], blanks+commas))
}
