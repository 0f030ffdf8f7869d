package adapter

import (
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"paligemma/internal/model"
	"paligemma/internal/quote"
	"paligemma/internal/units"
)

// FileNotes returns the notes, and what a head that becomes a matrix of its own takes in a
// file.
func (r *Resolution) FileNotes() []string {
	if !r.Untied {
		return r.Notes
	}
	n := int64(r.Config.Text.Hidden) * int64(r.Config.Text.Vocab)
	return append(slices.Clone(r.Notes), fmt.Sprintf("the head was the token embedding and becomes a matrix of its own: %s weights more, %s as f16", units.Number(n), units.Bytes(2*n)))
}

// note collects what a user should know of the adapter.
func (r *resolver) note() {
	c, name := r.adapter.config, quote.Line(r.adapter.Name(), quote.Max)
	note := func(format string, args ...any) { r.notes = append(r.notes, fmt.Sprintf(format, args...)) }
	base := path.Base(strings.ReplaceAll(c.base, `\`, "/"))
	if c.base != "" && r.config.Name != "" && !strings.EqualFold(base, r.config.Name) {
		note("the adapter %s was made for %s, and this model is called %s", name, quote.Short(c.base), quote.Short(r.config.Name))
	}
	if len(c.unknown) > 0 {
		note("the adapter %s has settings that are unknown here and ignored: %s", name, few(c.unknown))
	}
	if absent := r.absent(); len(absent) > 0 {
		note("the adapter %s has no tensors of some of its target_modules: %s", name, few(absent))
	}
	if r.scale != 0 && len(r.adapter.updates) > 0 && !r.active {
		note("all low-rank updates of the adapter %s are zero and change nothing: was it saved before it was trained?", name)
	}
	switch stored := slices.ContainsFunc(slices.Collect(maps.Values(r.edits)), func(e *Edit) bool { return e.Stored != nil }); {
	case r.scale == 0:
		note("the adapter %s has the scale 0 and is left out", name)
	case r.scale != 1 && stored:
		note("the scale of the adapter %s is for its low-rank updates: the tensors that it stores whole replace the model's", name)
	}
}

// absent lists the names in target_modules that fit modules of the model, none of which
// has an update.
func (r *resolver) absent() []string {
	if r.adapter.config.pattern {
		return nil
	}
	fits := func(module, target string) bool { return module == target || strings.HasSuffix(module, "."+target) }
	var all []string
	for _, target := range r.adapter.config.targets {
		known, updated := false, false
		for name, spec := range r.specs {
			known = known || spec.Role == model.RoleMatrix && fits(strings.TrimSuffix(name, ".weight"), target)
		}
		for _, u := range r.adapter.updates {
			updated = updated || fits(u.path, target) || fits(u.module, target)
		}
		if known && !updated {
			all = append(all, target)
		}
	}
	return all
}

// few lists at most three names.
func few(names []string) string { return quote.Few(names, quote.Short) }
