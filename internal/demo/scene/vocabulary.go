package scene

import (
	"slices"
	"strings"
)

// functionWords are the words of prompts and questions that name nothing.
var functionWords = strings.Fields(`
caption en es detect segment ocr
what color colour is the shape how many shapes are there where a an larger smaller than or which more sign yes no and
y letrero un una 0 1 2 3 4
`)

// Vocabulary lists all words of prompts and answers, sorted, without blanks and
// punctuation (which is "?", "," and ";"), <locNNNN> and <segNNN>.
func Vocabulary() []string { return sorted(slices.Concat(promptWords(), SignWords)) }

// promptWords are all words but those of signs.
func promptWords() []string {
	all := slices.Concat(functionWords, Colors, Shapes, Sizes)
	for _, v := range Shapes {
		all = append(all, Plural(v))
	}
	for _, v := range slices.Concat(Positions, Relations) {
		all = append(all, strings.Fields(v)...)
	}
	for _, v := range spanishRelations {
		all = append(all, strings.Fields(v)...)
	}
	for w := range words {
		all = append(all, w)
	}
	return all
}

func sorted(words []string) []string {
	slices.Sort(words)
	return slices.Compact(words)
}
