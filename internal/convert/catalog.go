package convert

import (
	"cmp"
	"context"
	"fmt"
	"regexp"
	"strings"

	"paligemma/internal/layout"
	"paligemma/internal/quote"
	"paligemma/internal/safetensors"
)

// savedModule finds what PEFT makes of a module that it trains whole: the copy
// that counts and the one that it replaced.
var savedModule = regexp.MustCompile(`\.(modules_to_save\.[^.]+|original_module)\.`)

// catalog holds the tensors of a checkpoint by their canonical names.
type catalog struct {
	files  weights
	named  map[string]safetensors.Entry
	notes  []string
	advice advice
}

// newCatalog sorts the tensors of a checkpoint, those below a prefix if it is not
// "". Two of one name must be equal.
func newCatalog(ctx context.Context, ckpt *safetensors.Checkpoint, below string) (*catalog, error) {
	c := &catalog{files: plainWeights{ckpt}, named: map[string]safetensors.Entry{}, notes: ckpt.Notes(), advice: configAdvice}
	entries, err := c.below(ckpt.Tensors(), below)
	if err != nil {
		return nil, err
	}
	if err := rejectForeign(entries); err != nil {
		return nil, err
	}
	stored := make([]string, len(entries))
	for i, e := range entries {
		stored[i] = e.Name
	}
	prefix := cmp.Or(below, layout.CommonPrefix(stored))
	if prefix != "" && prefix != below {
		c.notes = append(c.notes, fmt.Sprintf("the tensors' names begin with %s, which is left off", quote.Short(prefix)))
	}
	var originals, twice []string
	for _, e := range entries {
		stripped := strings.TrimPrefix(e.Name, prefix)
		name := layout.Canonical(stripped)
		if saved := savedModule.FindStringSubmatch(name); saved != nil {
			if saved[1] == "original_module" {
				originals = append(originals, e.Name)
				continue
			}
			name = savedModule.ReplaceAllString(name, ".")
		}
		if err := c.add(ctx, name, e, &twice); err != nil {
			return nil, err
		}
	}
	for _, a := range ckpt.Aliases() {
		if name := layout.Canonical(strings.TrimPrefix(a.Name, prefix)); strings.HasPrefix(a.Name, below) && !c.has(name) {
			c.named[name] = a.Entry
		}
	}
	c.note(originals, "which modules_to_save replaces, is ignored", "which modules_to_save replaces, are ignored")
	c.note(twice, "stored twice and equal, is used once", "stored twice and equal, are used once")
	return c, nil
}

// add puts a tensor under its name.
func (c *catalog) add(ctx context.Context, name string, e safetensors.Entry, twice *[]string) error {
	other, taken := c.named[name]
	if !taken {
		c.named[name] = e
		return nil
	}
	equal, err := c.files.equal(ctx, other, e)
	if err != nil {
		return err
	}
	if !equal {
		return fmt.Errorf("tensors %s and %s are both %s and differ: delete the one that does not belong to the model", quote.Short(other.Name), quote.Short(e.Name), shown(name))
	}
	*twice = append(*twice, e.Name)
	return nil
}

func (c *catalog) has(name string) bool {
	_, ok := c.named[name]
	return ok
}

// note describes one kind of tensors, if there are any.
func (c *catalog) note(names []string, one, many string) {
	switch len(names) {
	case 0:
	case 1:
		c.notes = append(c.notes, fmt.Sprintf("tensor %s, %s", few(names), one))
	default:
		c.notes = append(c.notes, fmt.Sprintf("%d tensors, %s: %s", len(names), many, few(names)))
	}
}

// shown is a name out of a file in a message.
func shown(name string) string { return quote.Line(name, quote.Max) }

// few lists at most three names.
func few(names []string) string { return quote.Few(names, shown) }
