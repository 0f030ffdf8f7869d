package model

import (
	"context"
	"slices"

	"paligemma/internal/ggml"
)

// recording is a graph with its inputs and results.
type recording interface {
	comparable
	recorded() *ggml.Graph
}

// recordings are graphs that are kept, by what those have in common that one of them does
// for. The latest used is the last. Each has memory of its own.
type recordings[K comparable, R recording] struct {
	keys []K
	all  []R
}

// find returns the one that is kept for a key, if any, and makes it the latest.
func (s *recordings[K, R]) find(key K) (r R, ok bool) {
	s.purge()
	i := slices.Index(s.keys, key)
	if i < 0 {
		return r, false
	}
	r = s.all[i]
	s.drop(r)
	s.add(key, r)
	return r, true
}

// keep keeps r, which is not computed yet and was not found. The oldest beyond most is closed.
func (s *recordings[K, R]) keep(key K, r R, most int) {
	r.recorded().Keep()
	if s.add(key, r); len(s.all) > most {
		oldest := s.all[0]
		s.drop(oldest)
		oldest.recorded().Close()
	}
}

func (s *recordings[K, R]) add(key K, r R) { s.keys, s.all = append(s.keys, key), append(s.all, r) }

// drop keeps r, one of all, no longer.
func (s *recordings[K, R]) drop(r R) {
	i := slices.Index(s.all, r)
	s.keys, s.all = slices.Delete(s.keys, i, i+1), slices.Delete(s.all, i, i+1)
}

// forget closes all.
func (s *recordings[K, R]) forget() {
	for _, r := range s.all {
		r.recorded().Close()
	}
	s.keys, s.all = nil, nil
}

// purge drops those that were closed: after errors, or to make room for something else.
func (s *recordings[K, R]) purge() {
	for _, r := range slices.Clone(s.all) {
		if r.recorded().Closed() {
			s.drop(r)
		}
	}
}

// keptRoom is how many bytes a device has to have left before a graph of a prompt or of a pass
// of the tower is kept. The plan of a model does not count their memory, and CUDA ends the
// process where kernels find no memory for themselves.
const keptRoom = 1 << 30

// computeRecorded computes what record returns, which may be kept. Where the devices have no
// memory for it, even without the graphs that are kept, what record returns for false is
// computed in its place: that is not kept.
func computeRecorded[R recording](ctx context.Context, b *ggml.Backend, record func(keep bool) R) (r R, err error) {
	keep := true
	err = b.MakeRoom(func() error {
		if !keep {
			r.recorded().Close()
		}
		r = record(keep)
		keep = false
		return r.recorded().Compute(ctx)
	})
	return r, err
}
