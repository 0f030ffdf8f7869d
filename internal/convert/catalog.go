package convert

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"paligemma/internal/quote"
	"paligemma/internal/safetensors"
)

// Prefixes that every tensor of the model has in a catalog, whatever the writer
// of the checkpoint put before its names:
//
//	language_model.model.  vision_tower.vision_model.  the releases of 2024
//	model.language_model.  model.vision_tower.vision_model.  transformers 4.52 to 4.57
//	model.language_model.  model.vision_tower.  the module tree of version 5
//	language_model.model.  vision_tower.  save_pretrained of version 5
const (
	textPrefix      = "language_model.model."
	visionPrefix    = "vision_tower."
	projectorPrefix = "multi_modal_projector."
	headName        = "lm_head.weight"
	embeddingName   = textPrefix + "embed_tokens.weight"
)

// wrappers are parts of names that trainers put anywhere: DataParallel and
// DeepSpeed, torch.compile, FSDP, activation checkpointing, Lightning.
var wrappers = []string{"module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module", "_forward_module"}

// leading are parts that only come before the model's own name: PEFT, TRL,
// transformers' classes that hold a model.
var leading = []string{"base_model", "pretrained_model", "model"}

// anchor finds a part of the model behind a prefix of any kind.
var anchor = regexp.MustCompile(`^(.+?\.)(?:language_model|vision_tower|multi_modal_projector)\.`)

// savedModule finds what PEFT makes of a module that it trains whole: the copy
// that counts and the one that it replaced.
var savedModule = regexp.MustCompile(`\.(modules_to_save\.[^.]+|original_module)\.`)

// catalog holds the tensors of a checkpoint by the names that canonicalName
// gives them.
type catalog struct {
	ckpt  *safetensors.Checkpoint
	named map[string]safetensors.Entry
	notes []string
}

// newCatalog sorts the tensors of a checkpoint. Two of one name must be equal.
func newCatalog(ctx context.Context, ckpt *safetensors.Checkpoint) (*catalog, error) {
	c := &catalog{ckpt: ckpt, named: map[string]safetensors.Entry{}, notes: ckpt.Notes()}
	entries := ckpt.Tensors()
	prefix := commonPrefix(entries)
	if prefix != "" {
		c.notes = append(c.notes, fmt.Sprintf("the tensors' names begin with %s, which is left off", quote.Short(prefix)))
	}
	var originals, twice []string
	for _, e := range entries {
		stripped := strings.TrimPrefix(e.Name, prefix)
		name := canonicalName(stripped)
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
		if name := canonicalName(strings.TrimPrefix(a.Name, prefix)); !c.has(name) {
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
	equal, err := equalTensors(ctx, c.ckpt, other, e)
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

// canonicalName is a tensor's name without what trainers add to it.
func canonicalName(name string) string {
	parts := slices.DeleteFunc(strings.Split(name, "."), func(p string) bool { return slices.Contains(wrappers, p) })
	for len(parts) > 1 && slices.Contains(leading, parts[0]) {
		parts = parts[1:]
	}
	rest := strings.Join(parts, ".")
	if text, ok := strings.CutPrefix(rest, "language_model."); ok {
		if text = trimAll(text, "model."); text == headName {
			return headName
		}
		return textPrefix + text
	}
	if tower, ok := strings.CutPrefix(rest, visionPrefix); ok {
		return visionPrefix + trimAll(tower, "vision_model.")
	}
	return rest
}

// trimAll removes a prefix as often as it is there.
func trimAll(s, prefix string) string {
	for {
		rest, ok := strings.CutPrefix(s, prefix)
		if !ok {
			return s
		}
		s = rest
	}
}

// commonPrefix is an unknown prefix that all tensors of the model share; ""
// where some have none.
func commonPrefix(entries []safetensors.Entry) string {
	common := ""
	for _, e := range entries {
		name := canonicalName(e.Name)
		if strings.HasPrefix(name, textPrefix) || strings.HasPrefix(name, visionPrefix) || strings.HasPrefix(name, projectorPrefix) {
			return ""
		}
		m := anchor.FindStringSubmatch(e.Name)
		if m == nil {
			continue
		}
		prefix := m[1]
		for strings.HasSuffix(prefix, ".model.") {
			prefix = strings.TrimSuffix(prefix, "model.")
		}
		if common != "" && common != prefix {
			return ""
		}
		common = prefix
	}
	return common
}

// shown is a name out of a file in a message.
func shown(name string) string { return quote.Line(name, quote.Max) }

// few lists at most three names.
func few(names []string) string {
	const most = 3
	var b strings.Builder
	for i, n := range names[:min(len(names), most)] {
		if i > 0 {
			b.WriteString(", ")
		}
		fmt.Fprintf(&b, "%s", shown(n))
	}
	if more := len(names) - most; more > 0 {
		fmt.Fprintf(&b, " … and %d more", more)
	}
	return b.String()
}
