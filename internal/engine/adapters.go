package engine

import (
	"context"

	"paligemma/internal/adapter"
	"paligemma/internal/model"
)

// Adapters are LoRA adapters in memory, for the requests that ask for them
// (Prompt.Adapters). Requests with different ones, or with none, are decoded together: the
// model's weights are read once for all of them.
type Adapters struct {
	engine *Engine
	model  *model.Adapters
	bytes  int64
	notes  []string
}

// CheckAdapters makes sure that adapters, which are added up in this order, can be added to a
// model of a configuration, as far as the headers of their files say, and returns what they
// change.
func CheckAdapters(c model.Config, specs []adapter.Spec) ([]model.Extent, error) {
	loaded, err := adapter.OpenAll(specs)
	if err != nil {
		return nil, err
	}
	defer adapter.CloseAll(loaded)
	extents, err := adapter.Extents(c, loaded)
	if err == nil {
		err = c.CheckExtents(extents)
	}
	return extents, err
}

// LoadAdapters reads adapters, which are added up in this order, into memory. Each must be
// one that does nothing but add products of low rank (adapter.Adapter.LowRankOnly), and the
// engine must have none of its own. The caller releases what it gets.
func (e *Engine) LoadAdapters(ctx context.Context, specs []adapter.Spec) (*Adapters, error) {
	leave, err := e.enter()
	if err != nil {
		return nil, err
	}
	defer leave()
	loaded, err := adapter.OpenAll(specs)
	if err != nil {
		return nil, &ModelError{err}
	}
	defer adapter.CloseAll(loaded)
	if err := e.checkFree(adapterMemory(loaded), "adapters"); err != nil {
		return nil, err
	}
	changes, notes, err := adapter.Changes(e.config, loaded)
	if err != nil {
		return nil, &ModelError{err}
	}
	a := &Adapters{engine: e, notes: notes}
	if a.model, err = e.model.NewAdapters(changes); err != nil {
		return nil, &ModelError{err}
	}
	a.bytes = a.model.Bytes()
	if err := e.compute(ctx, func(context.Context) error { return a.model.Place() }); err != nil {
		return nil, err
	}
	e.stats.change(func(s *Stats) { s.AdapterSets, s.AdapterBytes = s.AdapterSets+1, s.AdapterBytes+a.bytes })
	return a, nil
}

// Release frees the adapters, and the prompts that are kept of them. No request may use
// them any more.
func (a *Adapters) Release() {
	leave, err := a.engine.enter()
	if err != nil {
		return // they go with the engine
	}
	defer leave()
	err = a.engine.compute(context.Background(), func(context.Context) error {
		if a.engine.prefixes != nil {
			a.engine.prefixes.dropWith(a)
		}
		a.model.Close()
		return nil
	})
	if err == nil {
		a.engine.stats.change(func(s *Stats) { s.AdapterSets, s.AdapterBytes = s.AdapterSets-1, s.AdapterBytes-a.bytes })
	}
}

// Bytes returns the memory that the adapters take, or took before Release.
func (a *Adapters) Bytes() int64 { return a.bytes }

// Notes returns what a user should know of the adapters.
func (a *Adapters) Notes() []string { return a.notes }

// Vision returns what distinguishes the features of images with these adapters from those
// with others; "", as for nil: they are those of the model itself.
func (a *Adapters) Vision() string { return a.inModel().Vision() }

// inModel are the adapters as the model knows them.
func (a *Adapters) inModel() *model.Adapters {
	if a == nil {
		return nil
	}
	return a.model
}

// ofVision are those that an image is encoded with.
func (a *Adapters) ofVision() *model.Adapters {
	if a.Vision() == "" {
		return nil
	}
	return a.model
}
