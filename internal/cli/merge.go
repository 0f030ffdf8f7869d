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

// adapterSpecs reads what --lora names.
func adapterSpecs(names []string) (specs []adapter.Spec, err error) {
	for _, name := range names {
		spec, err := adapter.ParseSpec(name)
		if err != nil {
			return nil, usageError{fmt.Errorf("--lora %w", err)}
		}
		specs = append(specs, spec)
	}
	return specs, nil
}

// openAdapters opens what --lora names.
func openAdapters(names []string) ([]adapter.Loaded, error) {
	specs, err := adapterSpecs(names)
	if err != nil {
		return nil, err
	}
	all, err := adapter.OpenAll(specs)
	if err != nil {
		return nil, &engine.ModelError{Err: err}
	}
	return all, nil
}
