package cli

import (
	"errors"
	"fmt"
	"strings"

	"paligemma/internal/atomicfile"
	"paligemma/internal/quote"
)

// Bytes of a line on standard error, without its end: messages are cut in their
// middle, details that -v asks for may quote a model's text.
const (
	maxMessage = 499
	maxDetail  = 64 << 10
)

// oneLine returns a message as one short line that is safe to print, whatever it quotes.
func oneLine(text string) string { return quote.Line(text, maxMessage-len(prefix)) }

// escapes keep a result on its line, in a way that can be undone.
var (
	escapeText = strings.NewReplacer(`\`, `\\`, "\n", `\n`, "\r", `\r`)
	escapePath = strings.NewReplacer(`\`, `\\`, "\n", `\n`, "\r", `\r`, "\t", `\t`)
)

// cause drops what a message already says from an error of package os.
var cause = atomicfile.Cause

// errEmpty says that an argument is "", as an unset variable of a shell is.
var errEmpty = errors.New("an argument is empty: want the name of a file")

// pathError puts a path before an error of package os about it.
func pathError(path string, err error) error {
	if path == "" {
		return errEmpty
	}
	return fmt.Errorf("%s: %w", path, cause(err))
}
