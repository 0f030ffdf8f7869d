package server

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"paligemma/internal/adapter"
	"paligemma/internal/ask"
	"paligemma/internal/engine"
	"paligemma/internal/limits"
	"paligemma/internal/quote"
)

// maxDecoders bounds the pictures that are decoded at a time.
const maxDecoders = 2

// maxApart bounds the models that are open with adapters of their own: requests choose the
// combination and the scales, each of which is another model.
const maxApart = 8

// models are those that a server offers. They are opened when they are asked for, and
// closed when nobody has asked for them in a while.
type models struct {
	o        Options
	decoders ask.Decoders // of all models

	mu   sync.Mutex
	held map[string]*openModel // by name and adapters of their own
}

// openModel is a model that is open or being opened. It may have adapters of its own:
// those that change more than Adapters of an engine can.
type openModel struct {
	name     string
	key      string // name and adapters
	queue    *queue
	opened   chan struct{} // closed when the rest is known
	err      error
	engine   *engine.Engine
	masks    *engine.Masks // nil: it has no decoder
	images   *ask.Images
	adapters *adapterSets // that requests may name, unless it has its own

	users  int         // guarded by the lock of models
	idle   time.Time   // since when there are none
	closer *time.Timer // runs while there are none; nil where models stay open
}

func newModels(o Options) *models {
	return &models{o: o, decoders: ask.NewDecoders(maxDecoders), held: map[string]*openModel{}}
}

// find returns the model that a request names. With one model any name is its own.
func (m *models) find(name string) (*Model, error) {
	all := m.o.Models
	if name == "" || len(all) == 1 {
		return &all[0], nil
	}
	i := slices.IndexFunc(all, func(x Model) bool { return x.Name == name })
	if i < 0 {
		return nil, notFound("model", fmt.Sprintf("there is no model %s", quote.Short(name)))
	}
	return &all[i], nil
}

// take returns the model of a name, which may still be being opened, and what to take
// from its adapters of those that a request names. The caller releases the model.
func (m *models) take(name string, lora []string) (*openModel, choice, error) {
	model, err := m.find(name)
	if err != nil {
		return nil, choice{}, err
	}
	chosen, err := model.choose(lora)
	if err != nil {
		return nil, choice{}, err
	}
	key, own := model.Name, choice{}
	if chosen.apart {
		key, own, chosen = key+"\n"+chosen.key, chosen, own
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	o, ok := m.held[key]
	if !ok {
		var instead *openModel
		if own.apart {
			if instead, err = m.makeRoom(); err != nil {
				return nil, choice{}, err
			}
		}
		o = &openModel{name: model.Name, key: key, opened: make(chan struct{}), queue: newQueue(m.o.Parallel, m.o.MaxQueue)}
		m.held[key] = o
		go m.load(o, model, own.specs, instead)
	}
	o.users++
	if o.closer != nil {
		o.closer.Stop()
	}
	return o, chosen, nil
}

// errApart is the error of a request that needs one more model with adapters of its own.
var errApart = &apiError{http.StatusTooManyRequests, "busy", "lora", "too many combinations of adapters are in use already"}

// makeRoom drops a model that has adapters of its own, if there are as many as there may be
// and nobody uses it: the one that was not asked for the longest. The caller closes it. The
// lock is held.
func (m *models) makeRoom() (dropped *openModel, err error) {
	apart := 0
	for _, o := range m.held {
		if o.key == o.name {
			continue
		}
		apart++
		if o.users == 0 && (dropped == nil || o.idle.Before(dropped.idle)) {
			dropped = o
		}
	}
	switch {
	case apart < maxApart:
		return nil, nil
	case dropped == nil:
		return nil, errApart
	}
	m.drop(dropped)
	return dropped, nil
}

// drop forgets a model, which nobody uses. The lock is held, and the caller closes it.
func (m *models) drop(o *openModel) {
	delete(m.held, o.key)
	if o.closer != nil {
		o.closer.Stop()
	}
}

// load opens a model, once the one whose room it takes is closed; nil: none.
func (m *models) load(o *openModel, model *Model, adapters []adapter.Spec, instead *openModel) {
	defer close(o.opened)
	if instead != nil {
		instead.close()
	}
	if o.engine, o.err = model.Open(adapters); o.err == nil {
		if o.masks, o.err = model.Masks(o.engine); o.err != nil {
			o.engine.Close()
		}
	}
	if o.err != nil { // the next request tries again
		m.mu.Lock()
		defer m.mu.Unlock()
		delete(m.held, o.key)
		return
	}
	o.queue.offer(cacheMemory())
	o.adapters = newAdapterSets(o.engine, m.o)
	o.images = ask.NewImages(o.engine, max(1, int(m.o.ImageCache/o.engine.ImageBytes())), m.decoders)
}

// cacheMemory returns how many bytes keys and values of requests may take: half of
// what is free.
func cacheMemory() int64 {
	free := limits.FreeMemory()
	return min(free.Physical, free.Address, free.Data) / 2
}

// wait waits until a model is open.
func (o *openModel) wait(ctx context.Context) error {
	select {
	case <-o.opened:
		return o.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// release says that a caller needs a model no more.
func (m *models) release(o *openModel) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if o.users--; o.users > 0 {
		return
	}
	if o.idle = time.Now(); m.o.KeepAlive <= 0 {
		return
	}
	if o.closer == nil {
		o.closer = time.AfterFunc(m.o.KeepAlive, func() { m.expire(o) })
	} else {
		o.closer.Reset(m.o.KeepAlive)
	}
}

// expire closes a model that nobody uses. Its timer may have run out several times
// before it could: only the first closes it.
func (m *models) expire(o *openModel) {
	m.mu.Lock()
	if o.users > 0 || m.held[o.key] != o {
		m.mu.Unlock()
		return
	}
	m.drop(o)
	m.mu.Unlock()
	o.close()
}

// close frees a model, once it is open.
func (o *openModel) close() {
	<-o.opened
	if o.err != nil {
		return
	}
	o.adapters.close()
	if o.masks != nil {
		o.masks.Close()
	}
	o.engine.Close()
}

// close closes all models. Nobody may use one.
func (m *models) close() {
	m.mu.Lock()
	held := slices.Collect(maps.Values(m.held))
	clear(m.held)
	for _, o := range held {
		if o.closer != nil {
			o.closer.Stop()
		}
	}
	m.mu.Unlock()
	for _, o := range held {
		o.close()
	}
}

// each calls f with the models that are open, by name. They may be closed meanwhile: f
// asks for numbers only.
func (m *models) each(f func(o *openModel)) {
	m.mu.Lock()
	held := slices.SortedFunc(maps.Values(m.held), func(a, b *openModel) int { return strings.Compare(a.name, b.name) })
	m.mu.Unlock()
	for _, o := range held {
		select {
		case <-o.opened:
			if o.err == nil {
				f(o)
			}
		default:
		}
	}
}
