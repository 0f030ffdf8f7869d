// Package nearest finds what a misspelled word was meant to be.
package nearest

import (
	"strings"

	"paligemma/internal/quote"
)

// maxCompared bounds the words that are compared, in bytes.
const maxCompared = 64

// Word returns the word that typed is most likely a misspelling of, "" if it
// resembles none.
func Word(typed string, words []string) string {
	if len(typed) == 0 || len(typed) > maxCompared {
		return ""
	}
	best, least := "", min(max(1, len(typed)/3), 3)+1
	for _, word := range words {
		if d := editDistance(strings.ToLower(typed), strings.ToLower(word)); d < least {
			best, least = word, d
		}
	}
	if best != "" || len(typed) < 3 {
		return best
	}
	for _, word := range words {
		if strings.HasPrefix(strings.ToLower(word), strings.ToLower(typed)) {
			return word
		}
	}
	return ""
}

// editDistance returns how many bytes are to be inserted, removed, replaced or
// exchanged with their neighbor to make b of a.
func editDistance(a, b string) int {
	var before []int // the row before last
	last := make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row := make([]int, len(b)+1)
		row[0] = i
		for j := 1; j <= len(b); j++ {
			row[j] = min(last[j]+1, row[j-1]+1)
			if a[i-1] == b[j-1] {
				row[j] = min(row[j], last[j-1])
			} else {
				row[j] = min(row[j], last[j-1]+1)
			}
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last = last, row
	}
	return last[len(b)]
}

// DidYouMean returns the part of a message that proposes a word; "" without one.
func DidYouMean(word string) string {
	if word == "" {
		return ""
	}
	return " (did you mean " + quote.Line(word, quote.Max) + "?)"
}
