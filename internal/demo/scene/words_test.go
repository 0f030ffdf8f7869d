package scene

import (
	"strings"
	"unicode"
)

// splitWords splits a prompt or an answer into words and punctuation marks; a tag in
// angle brackets is a word.
func splitWords(text string) []string {
	var out []string
	for len(text) > 0 {
		end := 0
		switch c := text[0]; {
		case c == ' ' || c == '\n':
			text = text[1:]
			continue
		case c == '<':
			end = strings.IndexByte(text, '>') + 1
		case strings.IndexByte("?,;", c) >= 0:
			end = 1
		default:
			end = strings.IndexFunc(text, func(r rune) bool { return unicode.IsSpace(r) || strings.ContainsRune("?,;<", r) })
		}
		if end <= 0 {
			end = len(text)
		}
		out = append(out, text[:end])
		text = text[end:]
	}
	return out
}
