package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"paligemma/internal/adapter"
	"paligemma/internal/engine"
	"paligemma/internal/quote"
)

// Adapter is an adapter that a model offers.
type Adapter struct {
	Name string
	adapter.Spec
	Apart bool // it does more than add products of low rank: texts with it have an engine of their own
}

// adapterNames lists the names of a model's adapters.
func (m *Model) adapterNames() (names []string) {
	for _, a := range m.Adapters {
		names = append(names, a.Name)
	}
	return names
}

// choice is some of the adapters of a model, in the order in which it offers them: a set
// of them is added up in this order, whatever the order in which a request names them.
type choice struct {
	specs []adapter.Spec
	key   string // what distinguishes it; "": none
	apart bool   // one of them is
}

// choose finds the adapters that a request names: NAME or NAME:SCALE, a scale that takes the
// place of the one that is offered.
func (m *Model) choose(lora []string) (c choice, err error) {
	scales := make([]float64, len(m.Adapters))
	named := make([]bool, len(m.Adapters))
	for _, text := range lora {
		i, scale, err := m.findAdapter(text)
		switch {
		case i < 0:
			return c, notFound("lora", fmt.Sprintf("the model %s has no adapter %s", quote.Short(m.Name), quote.Short(text)))
		case err != nil:
			return c, invalid("lora", fmt.Sprintf("lora: the scale in %s is not a number in range: want NAME:SCALE, such as %s:0.5", quote.Short(text), quote.Short(m.Adapters[i].Name)))
		case named[i]:
			return c, invalid("lora", fmt.Sprintf("lora: the adapter %s is there twice", quote.Short(m.Adapters[i].Name)))
		}
		named[i], scales[i] = true, scale
	}
	var key []string
	for i, a := range m.Adapters {
		if scales[i] == 0 { // nothing is added
			continue
		}
		c.specs = append(c.specs, adapter.Spec{Path: a.Path, Scale: scales[i]})
		c.apart = c.apart || a.Apart
		key = append(key, fmt.Sprintf("%d:%v", i, scales[i]))
	}
	c.key = strings.Join(key, " ")
	return c, nil
}

// findAdapter returns the number of an adapter, -1 where there is none, and its scale. A name
// counts as a whole, colons in it or not.
func (m *Model) findAdapter(text string) (i int, scale float64, err error) {
	find := func(name string) int {
		return slices.IndexFunc(m.Adapters, func(a Adapter) bool { return a.Name == name })
	}
	if i = find(text); i >= 0 {
		return i, m.Adapters[i].Scale, nil
	}
	at := strings.LastIndexByte(text, ':')
	if at < 0 {
		return -1, 0, nil
	}
	scale, err = adapter.ParseScale(text[at+1:])
	return find(text[:at]), scale, err
}

// adapterSets are the sets of adapters that an open model has in memory: those that
// requests use, and as many of the others as there is room for, until nobody has asked for
// them in a while.
type adapterSets struct {
	engine *engine.Engine
	log    *slog.Logger
	most   int64         // bytes of all
	keep   time.Duration // 0: until others need the room

	reading sync.Mutex // held while a set is read, which takes several times its memory

	mu   sync.Mutex
	held map[string]*adapterSet
}

// adapterSet is a set of adapters that is in memory or being read. The one of no adapters
// is always there.
type adapterSet struct {
	key      string
	ready    chan struct{} // closed when the rest is known
	adapters *engine.Adapters
	err      error

	users  int         // guarded by the lock of adapterSets
	idle   time.Time   // since when there are none
	closer *time.Timer // runs while there are none; nil before
}

func newAdapterSets(e *engine.Engine, o Options) *adapterSets {
	return &adapterSets{engine: e, log: o.Log, most: o.AdapterCache, keep: o.KeepAlive, held: map[string]*adapterSet{}}
}

// take returns a set of adapters, once it is in memory. The caller releases it.
func (a *adapterSets) take(ctx context.Context, c choice) (*adapterSet, error) {
	if c.key == "" {
		return &adapterSet{}, nil
	}
	a.mu.Lock()
	s, ok := a.held[c.key]
	if !ok {
		s = &adapterSet{key: c.key, ready: make(chan struct{})}
		a.held[c.key] = s
		go a.load(s, c.specs)
	}
	s.users++
	if s.closer != nil {
		s.closer.Stop()
	}
	a.mu.Unlock()
	var err error
	select {
	case <-s.ready:
		err = s.err
	case <-ctx.Done():
		err = ctx.Err()
	}
	if err != nil {
		a.release(s)
		return nil, err
	}
	return s, nil
}

// load reads a set.
func (a *adapterSets) load(s *adapterSet, specs []adapter.Spec) {
	adapters, err := a.read(specs)
	a.mu.Lock()
	defer a.mu.Unlock()
	s.adapters, s.err = adapters, err
	close(s.ready)
	switch {
	case err != nil: // the next request tries again
		delete(a.held, s.key)
	case s.users == 0: // who asked for it is gone
		a.rest(s)
	}
}

// read reads adapters. What nobody uses makes room where there is too little memory.
func (a *adapterSets) read(specs []adapter.Spec) (*engine.Adapters, error) {
	a.reading.Lock()
	defer a.reading.Unlock()
	adapters, err := a.engine.LoadAdapters(context.Background(), specs)
	if tooLittle := (*engine.MemoryError)(nil); errors.As(err, &tooLittle) || errors.Is(err, engine.ErrMemory) {
		free(a.evict(0))
		adapters, err = a.engine.LoadAdapters(context.Background(), specs)
	}
	if err != nil {
		return nil, err
	}
	for _, note := range adapters.Notes() {
		a.log.Info("adapter", "note", note)
	}
	return adapters, nil
}

// release says that a caller needs a set no more.
func (a *adapterSets) release(s *adapterSet) {
	if s.key == "" {
		return
	}
	a.mu.Lock()
	if s.users--; s.users == 0 && s.loaded() {
		a.rest(s)
	}
	a.mu.Unlock()
	if gone := a.evict(a.most); len(gone) > 0 {
		go free(gone) // which waits for the model
	}
}

// rest notes that nobody uses a set. The lock is held.
func (a *adapterSets) rest(s *adapterSet) {
	s.idle = time.Now()
	if s.closer != nil {
		s.closer.Reset(a.keep)
	} else if a.keep > 0 {
		s.closer = time.AfterFunc(a.keep, func() { a.expire(s) })
	}
}

// expire frees a set that nobody uses.
func (a *adapterSets) expire(s *adapterSet) {
	a.mu.Lock()
	gone := a.drop(s)
	a.mu.Unlock()
	if gone {
		free([]*adapterSet{s})
	}
}

// free frees sets that were dropped.
func free(gone []*adapterSet) {
	for _, s := range gone {
		s.adapters.Release()
	}
}

// evict drops sets that nobody uses until all take no more than some bytes, first those
// that were not asked for the longest. The caller frees them.
func (a *adapterSets) evict(most int64) (gone []*adapterSet) {
	a.mu.Lock()
	defer a.mu.Unlock()
	var bytes int64
	var idle []*adapterSet
	for _, s := range a.held {
		if !s.loaded() {
			continue
		}
		if bytes += s.adapters.Bytes(); s.users == 0 {
			idle = append(idle, s)
		}
	}
	slices.SortFunc(idle, func(x, y *adapterSet) int { return x.idle.Compare(y.idle) })
	for _, s := range idle {
		if bytes > most && a.drop(s) {
			bytes -= s.adapters.Bytes()
			gone = append(gone, s)
		}
	}
	return gone
}

// loaded reports whether a set is in memory.
func (s *adapterSet) loaded() bool {
	select {
	case <-s.ready:
		return s.err == nil
	default:
		return false
	}
}

// drop forgets a set, unless somebody uses it, and reports whether it did. The lock is
// held, and the caller frees the set.
func (a *adapterSets) drop(s *adapterSet) bool {
	if s.users > 0 || a.held[s.key] != s || !s.loaded() {
		return false
	}
	delete(a.held, s.key)
	if s.closer != nil {
		s.closer.Stop()
	}
	return true
}

// close stops the clocks: the sets go with the engine.
func (a *adapterSets) close() {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, s := range a.held {
		if s.closer != nil {
			s.closer.Stop()
		}
	}
	clear(a.held)
}
