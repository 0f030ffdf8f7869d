package cli

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"paligemma/internal/nearest"
	"paligemma/internal/quote"
)

// printUsage prints what follows the message of a usage error.
func printUsage(w io.Writer, cmd *cobra.Command) {
	help := cmd.Root().Name() + " help"
	if cmd.HasParent() {
		help += " " + cmd.Name()
	}
	fmt.Fprintf(w, "usage: %s\nsee `%s`\n", cmd.UseLine(), help)
}

// flagError says what is wrong with a flag, and which one may be meant.
func flagError(cmd *cobra.Command, err error) error {
	var (
		missing *pflag.NotExistError
		empty   *pflag.ValueRequiredError
		invalid *pflag.InvalidValueError
	)
	switch {
	case errors.As(err, &missing):
		err = unknownFlag(cmd, missing)
	case errors.As(err, &empty):
		what, _ := pflag.UnquoteUsage(empty.GetFlag())
		err = fmt.Errorf("--%s needs a value: --%[1]s %s", empty.GetFlag().Name, what)
	case errors.As(err, &invalid) && invalid.GetFlag().Value == refusedFlag{}:
		err = fmt.Errorf("unknown flag --%s", invalid.GetFlag().Name)
	case errors.As(err, &invalid):
		err = fmt.Errorf("--%s %s: %s", invalid.GetFlag().Name, quote.Short(invalid.GetValue()), wantedValue(invalid.GetFlag(), err))
	default:
		err = errors.New(quote.Line(err.Error(), quote.Max))
	}
	return usageError{err}
}

// wantedValue says what a flag takes, of which err is the complaint.
func wantedValue(flag *pflag.Flag, err error) string {
	switch kind := flag.Value.Type(); {
	case strings.HasPrefix(kind, "float"):
		return "want a number, such as 0.7"
	case kind == "bool":
		return "want true or false"
	case kind == "intSlice":
		return "want whole numbers with commas between them"
	case strings.HasPrefix(kind, "uint"):
		return "want a whole number, 0 or more"
	case (kind == "int" || kind == "int64") && valueType(flag) != "":
		return "want a whole number"
	case kind == "duration":
		return "want a time, such as 30s or 10m"
	}
	return valueError(err).Error()
}

// valueType returns the type of a flag whose value is pflag's own; that of a custom
// value, which words its errors itself, is "".
func valueType(flag *pflag.Flag) string {
	if _, custom := flag.Value.(*positive); custom {
		return ""
	}
	return flag.Value.Type()
}

func unknownFlag(cmd *cobra.Command, missing *pflag.NotExistError) error {
	names := []string{}
	add := func(f *pflag.Flag) {
		if !f.Hidden {
			names = append(names, f.Name)
		}
	}
	cmd.Flags().VisitAll(add)
	cmd.InheritedFlags().VisitAll(add)
	name := missing.GetSpecifiedName()
	if group := missing.GetSpecifiedShortnames(); group != "" { // -json
		word, _, _ := strings.Cut(group, "=")
		like := ""
		if len(word) > 1 && slices.Contains(names, word) {
			like = "--" + word
		}
		return fmt.Errorf("unknown flag -%s%s", quote.Line(group, quote.Max), nearest.DidYouMean(like))
	}
	like := nearest.Word(name, names)
	if like != "" {
		like = "--" + like
	}
	return fmt.Errorf("unknown flag --%s%s", quote.Line(name, quote.Max), nearest.DidYouMean(like))
}

// unknownCommand says which command may be meant. A picture in its place is most
// likely to be captioned.
func unknownCommand(cmd *cobra.Command, name string) error {
	if info, err := os.Stat(name); err == nil && (info.IsDir() || namedAsPicture(name)) {
		return usageError{fmt.Errorf("a command is missing: try `paligemma caption %s`", quote.Line(name, quote.Max))}
	}
	var names []string
	for _, c := range cmd.Root().Commands() {
		if c.IsAvailableCommand() {
			names = append(names, c.Name())
		}
	}
	like := nearest.Word(name, names)
	if more := cmd.Root().SuggestionsFor(name); like == "" && len(more) > 0 {
		like = strings.Join(more, " or ")
	}
	return usageError{fmt.Errorf("unknown command %s%s", quote.Short(name), nearest.DidYouMean(like))}
}
