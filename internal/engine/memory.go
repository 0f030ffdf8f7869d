package engine

import (
	"cmp"
	"fmt"

	"paligemma/internal/adapter"
	"paligemma/internal/ggml"
	"paligemma/internal/gguf"
	"paligemma/internal/limits"
	"paligemma/internal/model"
	"paligemma/internal/units"
)

// MemoryError says that a model or a prompt does not fit into memory.
type MemoryError struct {
	Needs, Has int64  // bytes
	Device     string // whose memory it is; "": the machine's
	Adapters   int64  // of the bytes that a device needs
}

// Error is the rest of a sentence that names the model.
func (e *MemoryError) Error() string {
	if e.Device != "" {
		adapters := ""
		if e.Adapters > 0 {
			adapters = fmt.Sprintf(" (%s of it for adapters)", units.Bytes(e.Adapters))
		}
		return fmt.Sprintf("not enough memory on %s: needs %s%s, has %s: put fewer layers on it (--split, --gpu-layers), or take a smaller --type (--force tries anyway)",
			e.Device, units.Bytes(e.Needs), adapters, units.Bytes(e.Has))
	}
	return fmt.Sprintf("not enough memory: needs %s, has %s (--force tries anyway)", units.Bytes(e.Needs), units.Bytes(e.Has))
}

const (
	promptTokens    = 64      // of text, where the prompt is not known yet
	answerTokens    = 128     // of an answer
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
			return &MemoryError{Needs: c.needs, Has: c.has}
		}
	}
	return nil
}

// Plan places a model, and the adapters that are added to it, on the devices that the
// options name. It reads headers only. What does not fit is not an error.
func (o Options) Plan(h *gguf.Header) (model.Plan, error) {
	c, err := model.ReadConfig(h)
	if err == nil {
		err = c.CheckTensors(h)
	}
	if err != nil {
		return model.Plan{}, err
	}
	extents, err := CheckAdapters(c, o.Adapters)
	if err != nil {
		return model.Plan{}, err
	}
	return o.place(c, h, extents)
}

// place is Plan for a header that was checked, and for adapters of some extents.
func (o Options) place(c model.Config, h *gguf.Header, extents []model.Extent) (model.Plan, error) {
	devices, err := ggml.FindDevices(o.Device)
	if err != nil {
		return model.Plan{}, err
	}
	places := make([]model.Place, len(devices))
	for i, d := range devices {
		places[i] = model.Place{Name: d.Name, Host: d.Kind == ggml.KindCPU}
		if places[i].Host {
			places[i].Free = limits.FreeMemory().Physical
		} else {
			places[i].Free, _ = d.Memory()
		}
	}
	prompt := c.Vision.ImageTokens + promptTokens
	room := model.Room{Prompt: prompt, Cells: o.parallel() * (prompt + answerTokens), Adapters: extents, Most: o.OfferedBytes}
	for _, spec := range o.Offered {
		if extents, err := CheckAdapters(c, []adapter.Spec{spec}); err == nil { // what is wrong is told to who asks for it
			room.Offered = append(room.Offered, extents)
		}
	}
	return c.Plan(h.Lookup, places, o.Split, room)
}

// parallel is how many texts are decoded together, at most.
func (o Options) parallel() int { return cmp.Or(max(0, o.Parallel), DefaultParallel) }

// plan is Plan for a file that is about to be mapped or read, with adapters. It makes sure
// that each device has the memory for its share.
func (o Options) plan(h *gguf.Header, size int64, adapters []adapter.Loaded) (model.Plan, error) {
	c, err := model.ReadConfig(h)
	if err != nil { // a bad file is told later, with all that is wrong
		return model.Plan{}, nil
	}
	if c.CheckTensors(h) != nil {
		if o.Force {
			return model.Plan{}, nil
		}
		return model.Plan{}, o.checkHost(c, model.Plan{}, size, adapters)
	}
	extents, _ := adapter.Extents(c, adapters) // what is wrong with them is told when they are read
	plan, err := o.place(c, h, extents)
	if err != nil || o.Force {
		return plan, err
	}
	if s, ok := plan.Short(); ok {
		return plan, &MemoryError{Needs: s.Needs(), Has: s.Free, Device: s.Device, Adapters: s.Adapters}
	}
	return plan, o.checkHost(c, plan, size, adapters)
}

// checkHost makes sure that the machine has the memory for what is not on other devices.
func (o Options) checkHost(c model.Config, plan model.Plan, size int64, adapters []adapter.Loaded) error {
	n := need{own: c.WorkingMemory(c.Vision.ImageTokens+promptTokens, 0) + adapterMemory(adapters)}
	for _, s := range plan.Shares {
		if s.Host {
			n.mapped = s.Weights
		}
	}
	if len(plan.Shares) == 0 || len(plan.Shares) == 1 && plan.Shares[0].Host {
		n.mapped = size
	}
	if o.NoMmap {
		n = need{own: size + n.own}
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
	if !e.plan.Host() {
		return nil
	}
	return e.checkFree(e.config.WorkingMemory(prompt, generated), "a prompt of %d tokens", prompt)
}

// checkFree makes sure that bytes more of memory are free for something, which what and
// its arguments name.
func (e *Engine) checkFree(bytes int64, what string, arguments ...any) error {
	if e.force {
		return nil
	}
	free := limits.FreeMemory()
	free.Address = limits.Unlimited // the engine has reserved its part, and allocations are tried
	if err := (need{own: bytes}).check(free); err != nil {
		return fmt.Errorf("%s: %s: %w", e.file.Path(), fmt.Sprintf(what, arguments...), err)
	}
	return nil
}
