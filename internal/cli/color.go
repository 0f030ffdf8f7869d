package cli

import (
	"os"
	"slices"
	"strings"

	"paligemma/internal/quote"
)

// Styles of text on a terminal.
const (
	styleError = "\x1b[1;31m"
	styleDim   = "\x1b[2m"
	styleBold  = "\x1b[1m"
	styleEnd   = "\x1b[0m"
)

// colored reports whether a stream is written with colors: one that is a terminal
// which has them, or any with CLICOLOR_FORCE; none with NO_COLOR.
func colored(tty bool) bool {
	if os.Getenv("NO_COLOR") != "" {
		return false
	}
	if force := os.Getenv("CLICOLOR_FORCE"); force != "" && force != "0" {
		return true
	}
	return tty && os.Getenv("TERM") != "dumb"
}

// styled returns foreign text in a style, unable to steer a terminal otherwise.
func styled(style, text string) string { return style + quote.Terminal(text) + styleEnd }

// boldLines sets the lines of a table that begin with one of the words in bold type.
// Everything else is made unable to steer a terminal.
func boldLines(table string, words ...string) string {
	var b strings.Builder
	for line := range strings.Lines(table) {
		text := strings.TrimSuffix(line, "\n")
		if first, _, _ := strings.Cut(text, " "); slices.Contains(words, first) {
			b.WriteString(styled(styleBold, text) + line[len(text):])
		} else {
			b.WriteString(quote.Terminal(line))
		}
	}
	return b.String()
}

// writeTable writes a table to standard output, in colors with the lines in bold that
// begin with one of the words.
func (a *app) writeTable(table string, headers ...string) error {
	if colored(a.OutTTY) {
		_, err := a.plain.WriteString(boldLines(table, headers...))
		return err
	}
	return a.newPrinter(layout{}).write(table)
}
