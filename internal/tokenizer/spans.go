package tokenizer

import (
	"strings"
	"unicode/utf8"
)

// Span is a part of a text, in bytes.
type Span struct{ Start, End int }

// Spans returns where in Decode(ids) the text of each id lies. An id without a
// text, such as a special token, has an empty span.
func (t *Tokenizer) Spans(ids []int) []Span {
	spans := make([]Span, len(ids))
	s := t.NewStream()
	at := 0
	var run []int // of ids: byte tokens, whose text depends on what follows
	flush := func(bytes []byte) {
		size := len("\uFFFD")
		if utf8.Valid(bytes) {
			size = 1
		}
		for _, i := range run {
			spans[i] = Span{at, at + size}
			at += size
		}
		run = run[:0]
	}
	for i, id := range ids {
		bytes := s.run
		text := s.Push(id)
		switch {
		case len(s.run) > len(bytes):
			run = append(run, i)
			continue
		case len(s.run) < len(bytes):
			flush(bytes)
		case text == "":
			spans[i] = Span{at, at}
			continue
		}
		spans[i] = Span{at, at + len(strings.ReplaceAll(t.Piece(id), "▁", " "))}
		at = spans[i].End
	}
	flush(s.run)
	return spans
}
