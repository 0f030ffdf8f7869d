package cli

import (
	"encoding/csv"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"paligemma/internal/ggml"
	"paligemma/internal/nearest"
	"paligemma/internal/quote"
)

// Annotations of flags.
const (
	fromEnv    = "paligemma_from_env" // the value comes from the environment
	excludedBy = "paligemma_excluded" // these flags
	needsOneOf = "paligemma_needs"    // these flags
	noVariable = "paligemma_typed"    // the flag counts on the command line only

	// listVariable says that a variable holds several values of a flag that may be
	// repeated. Without it the whole of a variable is one, as of prompts.
	listVariable = "paligemma_list"
)

// envPrefix begins the names of the program's variables.
const envPrefix = "PALIGEMMA_"

// envName returns the environment variable that stands for a flag.
func envName(flag string) string {
	return envPrefix + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

// applyEnv sets flags that are not on the command line from the environment.
// An empty variable counts as unset.
func applyEnv(f *pflag.FlagSet, lookup func(string) (string, bool)) error {
	var first error
	f.VisitAll(func(flag *pflag.Flag) {
		value, ok := lookup(envName(flag.Name))
		if !ok || value == "" || flag.Changed || !applies(f, flag, lookup) {
			return
		}
		if err := setFromVariable(f, flag, value); err != nil && first == nil {
			first = dataError{fmt.Errorf("%s=%s: %w", envName(flag.Name), quote.Short(value), valueError(err))}
		}
		annotate(f, flag.Name, fromEnv)
	})
	return first
}

// setFromVariable sets a flag to what its variable holds.
func setFromVariable(f *pflag.FlagSet, flag *pflag.Flag, value string) error {
	if _, list := flag.Annotations[listVariable]; !list {
		return f.Set(flag.Name, value)
	}
	values, err := splitList(value)
	if err != nil {
		return err
	}
	for _, v := range values {
		if err := f.Set(flag.Name, v); err != nil {
			return err
		}
	}
	return nil
}

// splitList splits a variable at commas and line ends, but not within double quotes.
// Spaces around values and empty values do not count.
func splitList(text string) ([]string, error) {
	r := csv.NewReader(strings.NewReader(text))
	r.FieldsPerRecord, r.TrimLeadingSpace = -1, true
	lines, err := r.ReadAll()
	if err != nil {
		return nil, errors.New(`want values with commas between them; one with a comma or a quote in it stands in double quotes ("a,b")`)
	}
	var all []string
	for _, v := range slices.Concat(lines...) {
		if v = strings.TrimSpace(v); v != "" {
			all = append(all, v)
		}
	}
	return all, nil
}

// maxISA is the variable that rules out custom kernels, for those who look for a fault
// of them. There is no flag of this name.
const maxISA = "MAX_ISA"

// limitKernels keeps custom kernels to the instruction set that the environment names.
func limitKernels(lookup func(string) (string, bool)) error {
	value, ok := lookup(envPrefix + maxISA)
	if !ok || value == "" {
		return nil
	}
	if err := ggml.LimitISA(value); err != nil {
		return dataError{fmt.Errorf("%s=%s: %w", envPrefix+maxISA, quote.Short(value), err)}
	}
	return nil
}

// noteVariables notes variables that are most likely misspelled.
func (a *app) noteVariables(root *cobra.Command, environ []string) {
	known, unknown := []string{envPrefix + maxISA, ggml.PluginFolders, ggml.TF32Variable}, []string(nil)
	for _, cmd := range append(root.Commands(), root) {
		add := func(flag *pflag.Flag) { known = append(known, envName(flag.Name)) }
		cmd.LocalFlags().VisitAll(add)
	}
	for _, v := range environ {
		if name, value, _ := strings.Cut(v, "="); value != "" && strings.HasPrefix(name, envPrefix) && !slices.Contains(known, name) {
			unknown = append(unknown, name)
		}
	}
	for i := range known {
		known[i] = strings.TrimPrefix(known[i], envPrefix)
	}
	for _, name := range unknown {
		if like := nearest.Word(strings.TrimPrefix(name, envPrefix), known); like != "" {
			a.note("the variable %s means nothing%s", quote.Line(name, quote.Max), nearest.DidYouMean(envPrefix+like))
		}
	}
}

// valueError returns what is wrong with a flag's value, without the value.
func valueError(err error) error {
	if inner := errors.Unwrap(err); inner != nil {
		err = inner
	}
	var number *strconv.NumError
	if errors.As(err, &number) {
		err = number.Err
	}
	return quote.Error(err)
}

// hasVariable reports whether a variable stands for a flag.
func hasVariable(flag *pflag.Flag) bool {
	_, typed := flag.Annotations[noVariable]
	return !typed && flag.Name != "help" && flag.Name != "version"
}

// applies reports whether a variable means something to a command line: not where
// the flag has none, a flag on it excludes the variable's, or where another is missing.
func applies(f *pflag.FlagSet, flag *pflag.Flag, lookup func(string) (string, bool)) bool {
	if !hasVariable(flag) {
		return false
	}
	for _, other := range flag.Annotations[excludedBy] {
		if typed(f, other) {
			return false
		}
	}
	return len(flag.Annotations[needsOneOf]) == 0 || slices.ContainsFunc(flag.Annotations[needsOneOf], func(other string) bool {
		value, _ := lookup(envName(other))
		return typed(f, other) || value != ""
	})
}

// annotate adds values to an annotation of a flag.
func annotate(f *pflag.FlagSet, name, annotation string, values ...string) {
	flag := f.Lookup(name)
	_ = f.SetAnnotation(name, annotation, append(flag.Annotations[annotation], values...))
}

// exclude says that a flag and others exclude each other: of the others, only those
// on the command line are in its way, and the other way round.
func exclude(f *pflag.FlagSet, name string, others ...string) {
	annotate(f, name, excludedBy, others...)
	for _, other := range others {
		annotate(f, other, excludedBy, name)
	}
}

// needs says that a flag means nothing without one of others. On the command line
// that is for the command to tell.
func needs(f *pflag.FlagSet, name string, others ...string) { annotate(f, name, needsOneOf, others...) }

// typed reports whether a flag is on the command line. A variable is for every
// command that has the flag, and may mean nothing to this one.
func typed(f *pflag.FlagSet, name string) bool {
	flag := f.Lookup(name)
	if flag == nil {
		return false
	}
	_, env := flag.Annotations[fromEnv]
	return flag.Changed && !env
}
