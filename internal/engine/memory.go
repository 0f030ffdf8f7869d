package engine

import (
	"fmt"

	"paligemma/internal/adapter"
	"paligemma/internal/gguf"
	"paligemma/internal/limits"
	"paligemma/internal/model"
	"paligemma/internal/units"
)

// MemoryError says that a model or a prompt does not fit into memory.
type MemoryError struct{ Needs, Has int64 } // bytes

// Error is the rest of a sentence that names the model.
func (e *MemoryError) Error() string {
	return fmt.Sprintf("not enough memory: needs %s, has %s (--force tries anyway)", units.Bytes(e.Needs), units.Bytes(e.Has))
}

const (
	promptTokens    = 64      // of text, where the prompt is not known yet
	reservedAddress = 1 << 30 // address space that ggml and the C library take and hardly use
)

// need is the memory that something takes.
type need struct {
	mapped int64 // of a file: read again when it was dropped, but slow if dropped often
	own    int64
}

// check compares a need with what there is. A mapped model that does not fit into
// memory would be read from the disk again for every token: that is refused, too.
func (n need) check(free limits.Memory) error {
	for _, c := range []struct{ needs, has int64 }{
		{n.mapped + n.own, free.Physical},
		{n.mapped + n.own + reservedAddress, free.Address},
		{n.own, free.Data},
	} {
		if c.needs > c.has {
			return &MemoryError{c.needs, c.has}
		}
	}
	return nil
}

// checkModel makes sure that a model and adapters fit before their bytes are mapped or
// read.
func (o Options) checkModel(h *gguf.Header, size int64, adapters []adapter.Loaded) error {
	c, err := model.ReadConfig(h)
	if o.Force || err != nil { // a bad file is told later, with all that is wrong
		return nil
	}
	n := need{mapped: size, own: c.WorkingMemory(c.Vision.ImageTokens+promptTokens, 0) + adapterMemory(adapters)}
	if o.NoMmap {
		n = need{own: n.mapped + n.own}
	}
	return n.check(limits.FreeMemory())
}

// adapterMemory is what adapters take while they are loaded, in bytes: their values in
// F32, as read and as placed, and those of updates twice in between, where they are scaled
// and put in order.
func adapterMemory(adapters []adapter.Loaded) int64 {
	const size = 4
	n := int64(0)
	for _, a := range adapters {
		updates, stored := a.Weights()
		n += size * (4*updates + 2*stored)
	}
	return n
}

// SequenceMemory returns how many bytes the keys and values of some tokens take that
// follow each other, or those that a beam or a choice adds to its prompt.
func (e *Engine) SequenceMemory(tokens int) int64 { return e.model.SequenceMemory(tokens) }

// ImageBytes returns how many bytes an image takes: pixels and features.
func (e *Engine) ImageBytes() int64 {
	size, tokens, width := int64(e.config.Vision.ImageSize), int64(e.config.Vision.ImageTokens), int64(e.config.Text.Hidden)
	return 4 * (3*size*size + tokens*width)
}

// checkPrompt makes sure that there is memory for a prompt and what follows it,
// before it is allocated; the weights are there already.
func (e *Engine) checkPrompt(prompt, generated int) error {
	if e.force {
		return nil
	}
	n := need{own: e.config.WorkingMemory(prompt, generated)}
	free := limits.FreeMemory()
	free.Address = limits.Unlimited // the engine has reserved its part, and allocations are tried
	if err := n.check(free); err != nil {
		return fmt.Errorf("%s: a prompt of %d tokens: %w", e.file.Path(), prompt, err)
	}
	return nil
}
