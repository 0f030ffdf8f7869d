package server

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	"paligemma/internal/ask"
	"paligemma/internal/engine"
	"paligemma/internal/quote"
)

// maxDecoders bounds the pictures that are decoded at a time.
const maxDecoders = 2

// models are those that a server offers, opened when they are asked for.
type models struct {
	o Options

	mu     sync.Mutex
	opened map[string]*openModel // by name and adapters
}

// openModel is a model that is open, with some of its adapters.
type openModel struct {
	name   string
	engine *engine.Engine
	masks  *engine.Masks // nil: it has no decoder
	images *ask.Images
	queue  *queue

	opened chan struct{} // closed when the rest is known
	err    error
}

func newModels(o Options) *models { return &models{o: o, opened: map[string]*openModel{}} }

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

// open returns the model of a name with some of its adapters, opened if it is not yet.
// The caller releases it.
func (m *models) open(ctx context.Context, name string, adapters []string) (*openModel, error) {
	model, err := m.find(name)
	if err != nil {
		return nil, err
	}
	key := strings.Join(append([]string{model.Name}, adapters...), "\n")
	m.mu.Lock()
	o, ok := m.opened[key]
	if !ok {
		o = &openModel{name: model.Name, opened: make(chan struct{}), queue: newQueue(m.o.Parallel, m.o.MaxQueue)}
		m.opened[key] = o
	}
	m.mu.Unlock()
	if !ok {
		go m.load(key, o, model, adapters)
	}
	select {
	case <-o.opened:
		return o, o.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// load opens a model.
func (m *models) load(key string, o *openModel, model *Model, adapters []string) {
	defer close(o.opened)
	if o.engine, o.err = model.Open(adapters); o.err == nil {
		if o.masks, o.err = model.Masks(o.engine); o.err != nil {
			o.engine.Close()
		}
	}
	if o.err != nil {
		m.mu.Lock()
		delete(m.opened, key)
		m.mu.Unlock()
		return
	}
	most := max(1, int(m.o.ImageCache/ask.ImageBytes(o.engine)))
	o.images = ask.NewImages(o.engine, most, maxDecoders)
}

// release says that the caller needs the model no more.
func (o *openModel) release() {}

// close closes all models.
func (m *models) close() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, o := range m.opened {
		<-o.opened
		if o.err != nil {
			continue
		}
		if o.masks != nil {
			o.masks.Close()
		}
		o.engine.Close()
	}
	clear(m.opened)
}
