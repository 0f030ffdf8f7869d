package model

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"paligemma/internal/ggml"
)

// Adapters are updates of low rank in memory next to a model's weights, for the texts and
// images that ask for them. Texts with different ones are decoded together.
type Adapters struct {
	model   *Model
	adapted *adaption // before they are placed
	store   *ggml.Store
	updates ggml.Updates
	vision  string
	bytes   int64
}

var errAdapters = errors.New("the adapters were closed, or are another model's")

// errMore says that a change is more than Adapters can be.
var errMore = errors.New("an adapter changes more than products with its rows")

// NewAdapters prepares what changes do to the products of a model: each is of low rank, and
// of a matrix other than the token embedding and a head that is tied to it. It may be
// called while the model computes. Place must follow, and the caller closes what it gets.
func (m *Model) NewAdapters(changes []Change) (*Adapters, error) {
	if m.changed != nil || m.embedding.changed {
		return nil, errors.New("the model has adapters of its own")
	}
	if err := m.config.checkChanges(changes); err != nil {
		return nil, err
	}
	a := m.newAdaption()
	for _, c := range changes {
		s := m.slots[c.Tensor]
		if s.matrix == nil || c.Tensor == TensorEmbedding || c.Values != nil || c.Bias != nil {
			return nil, fmt.Errorf("tensor %s: %w", c.Tensor, errMore)
		}
		if u := stack(active(c.LowRank)); u.Rank > 0 {
			a.updates[s.matrix] = []LowRank{u}
		}
	}
	a.arrange()
	out := &Adapters{model: m, adapted: a, vision: visionKey(changes)}
	for _, spec := range a.specs {
		out.bytes += int64(len(spec.Data))
	}
	return out, nil
}

// Place puts the updates where the model computes.
func (a *Adapters) Place() (err error) {
	if a.store, a.updates, err = a.adapted.finish(); err != nil {
		return err
	}
	a.adapted = nil
	a.model.adapters[a] = struct{}{}
	return nil
}

// Close frees the updates. Texts with them cannot go on.
func (a *Adapters) Close() {
	if a.model == nil {
		return
	}
	delete(a.model.adapters, a)
	if a.store != nil {
		a.store.Close()
	}
	*a = Adapters{vision: a.vision}
}

// Bytes returns the memory that the updates take.
func (a *Adapters) Bytes() int64 { return a.bytes }

// Vision returns what distinguishes the features of images with these adapters from those
// with others; "": they are those of the model itself. It may be called on nil.
func (a *Adapters) Vision() string {
	if a == nil {
		return ""
	}
	return a.vision
}

// check reports why nothing can be computed with the adapters, or nil, by m.
func (a *Adapters) check(m *Model) error {
	if a != nil && (a.model != m || a.adapted != nil) {
		return errAdapters
	}
	return nil
}

// all are the updates of adapters, or of nil.
func (a *Adapters) all() ggml.Updates {
	if a == nil {
		return nil
	}
	return a.updates
}

// tensors is how many tensors the updates of adapters, or of nil, consist of.
func (a *Adapters) tensors() int {
	if a == nil || a.store == nil {
		return 0
	}
	return len(a.store.Tensors())
}

// visionKey is a hash of what changes do to the vision tower and the projector, "" where
// that is nothing.
func visionKey(changes []Change) string {
	h, any := sha256.New(), false
	number := func(v uint64) { h.Write(binary.LittleEndian.AppendUint64(nil, v)) }
	for _, c := range changes {
		if !(TensorSpec{Name: c.Tensor}).vision() {
			continue
		}
		for _, u := range active(c.LowRank) {
			any = true
			fmt.Fprintf(h, "%s\n", c.Tensor)
			number(uint64(u.Rank))
			number(uint64(math.Float32bits(u.Scale)))
			for _, values := range [][]float32{u.A, u.B} {
				h.Write(ggml.NewSpec(c.Tensor, values, len(values)).Data)
			}
		}
	}
	if !any {
		return ""
	}
	return string(h.Sum(nil))
}
