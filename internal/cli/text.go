package cli

import (
	"strings"
	"unicode"

	"paligemma/internal/atomicfile"
)

// printable strips what could steer a terminal from text that is not ours: all
// control characters but tab and newline, and bytes that are no UTF-8.
func printable(text string) string {
	text = strings.ToValidUTF8(text, "\uFFFD")
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) && r != '\n' && r != '\t' {
			return -1
		}
		return r
	}, text)
}

// oneLine makes a message safe and one line long, whatever names it quotes.
func oneLine(text string) string {
	return strings.Map(func(r rune) rune {
		if r == '\n' || r == '\t' {
			return ' '
		}
		return r
	}, printable(text))
}

// escapes keep a result on its line, in a way that can be undone.
var (
	escapeText = strings.NewReplacer(`\`, `\\`, "\n", `\n`, "\r", `\r`)
	escapePath = strings.NewReplacer(`\`, `\\`, "\n", `\n`, "\r", `\r`, "\t", `\t`)
)

// cause drops what a message already says from an error of package os.
var cause = atomicfile.Cause
