package cli

import (
	"fmt"

	"github.com/spf13/pflag"

	"paligemma/internal/adapter"
	"paligemma/internal/engine"
)

// addMergeFlag adds --lora to a command that writes a model. It has no variable: one
// that is set for the commands that ask would be merged here, and then applied again.
func addMergeFlag(f *pflag.FlagSet, to *[]string) {
	f.StringArrayVar(to, "lora", nil, "merge the adapter in `DIR[:SCALE]`; may be repeated")
	annotate(f, "lora", noVariable)
}

// openAdapters opens what --lora names.
func openAdapters(names []string) ([]adapter.Loaded, error) {
	var specs []adapter.Spec
	for _, name := range names {
		spec, err := adapter.ParseSpec(name)
		if err != nil {
			return nil, usageError{fmt.Errorf("--lora %w", err)}
		}
		specs = append(specs, spec)
	}
	all, err := adapter.OpenAll(specs)
	if err != nil {
		return nil, &engine.ModelError{Err: err}
	}
	return all, nil
}
