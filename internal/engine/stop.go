package engine

import (
	"strings"

	"paligemma/internal/model"
)

// stopFinder looks for stop strings in a text that comes in pieces. It holds back the
// end of the text that may begin one of them.
type stopFinder struct {
	stops []string
	held  string
	found bool
}

// push takes the next piece and returns what is known to come before any stop string.
// Once one is found, nothing more comes.
func (f *stopFinder) push(text string) string {
	if f.found {
		return ""
	}
	text, f.held = f.held+text, ""
	if at := firstOf(text, f.stops); at >= 0 {
		f.found = true
		return text[:at]
	}
	begun := 0
	for _, stop := range f.stops {
		for n := min(len(stop)-1, len(text)); n > begun; n-- {
			if strings.HasSuffix(text, stop[:n]) {
				begun = n
			}
		}
	}
	at := len(text) - begun
	f.held = text[at:]
	return text[:at]
}

// flush takes the last piece and returns the rest of the text.
func (f *stopFinder) flush(text string) string {
	text = f.push(text) + f.held
	f.held = ""
	return text
}

// firstOf returns where in a text the first of some strings begins, -1 where none is in it.
func firstOf(text string, stops []string) int {
	first := -1
	for _, stop := range stops {
		if at := strings.Index(text, stop); at >= 0 && (first < 0 || at < first) {
			first = at
		}
	}
	return first
}

// cutAtStop ends a text before the first stop string in it.
func (e *Engine) cutAtStop(r *Result, stops []string) {
	at := firstOf(r.Text, stops)
	if at < 0 {
		return
	}
	keep := 0
	for i, span := range e.tok.Spans(r.Tokens) {
		if span.Start < at {
			keep = i + 1
		}
	}
	r.Text, r.FinishReason = r.Text[:at], model.FinishStop
	r.Cut(keep)
}
