package engine

import "sync"

// Stats are numbers on what an engine has done since it was opened, and does.
type Stats struct {
	Sequences int   // decoded together at the moment
	Steps     int64 // of decoding
	Tokens    int64 // that these gave: a token of each sequence a step
	Groups    int64 // of sequences with the same adapters that these had: one a step, where all have the same

	CacheBytes int64 // of keys and values, used or not

	Prefixes                 int   // prompts that are kept,
	PrefixBytes              int64 // what they take,
	PrefixHits, PrefixMisses int64 // and how often one came again, or did not
	PrefixTokens             int64 // of all that came,
	PrefixHitTokens          int64 // and of those that came again

	AdapterSets  int   // that LoadAdapters has in memory, and
	AdapterBytes int64 // what they take
}

// stats are guarded: the owner of the model writes them, anybody reads them.
type stats struct {
	mu sync.Mutex
	Stats
}

// Stats returns numbers on the engine.
func (e *Engine) Stats() Stats {
	e.stats.mu.Lock()
	defer e.stats.mu.Unlock()
	return e.stats.Stats
}

// change changes the numbers.
func (s *stats) change(f func(*Stats)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f(&s.Stats)
}

// count notes what there is after a computation.
func (o *owner) count() {
	o.stats.change(func(s *Stats) {
		s.Sequences = len(o.active)
		if o.cache != nil {
			s.CacheBytes = o.cache.Bytes()
		}
		if o.prefixes != nil {
			s.Prefixes, s.PrefixBytes = o.prefixes.recent.Len(), o.prefixes.bytes
		}
	})
}

// countStep notes a step of some generations.
func (o *owner) countStep(of []*generation) {
	groups := int64(1)
	for i := range of[1:] {
		if of[i].adapters != of[i+1].adapters {
			groups++
		}
	}
	o.stats.change(func(s *Stats) { s.Steps, s.Tokens, s.Groups = s.Steps+1, s.Tokens+int64(len(of)), s.Groups+groups })
}

// countPrefix notes whether a prompt was there already.
func (o *owner) countPrefix(tokens int, hit bool) {
	o.stats.change(func(s *Stats) {
		s.PrefixTokens += int64(tokens)
		if hit {
			s.PrefixHits++
			s.PrefixHitTokens += int64(tokens)
		} else {
			s.PrefixMisses++
		}
	})
}
