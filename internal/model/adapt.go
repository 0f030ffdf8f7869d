package model

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"paligemma/internal/ggml"
	"paligemma/internal/gguf"
)

// checkChanges compares changes with the tensors of the configuration, which must be
// valid: whatever does not fit or cannot be done to a model in memory is in the one error.
func (c Config) checkChanges(changes []Change) error {
	return checkEach(c, changes, func(change Change) string { return change.Tensor }, Change.check)
}

// CheckExtents reports what of changes cannot be done to a model in memory, as far as that
// is known without their values.
func (c Config) CheckExtents(extents []Extent) error {
	return checkEach(c, extents, func(e Extent) string { return e.Tensor }, Extent.check)
}

// changeable returns the tensors that adapters may change.
func (c Config) changeable() map[string]TensorSpec {
	specs := map[string]TensorSpec{}
	for _, spec := range c.Tensors() {
		specs[spec.Name] = spec
	}
	if c.Tied {
		specs[TensorHead] = specs[TensorEmbedding]
	}
	return specs
}

// checkEach checks each of some changes against the tensor that it is of.
func checkEach[C any](c Config, changes []C, tensor func(C) string, check func(C, TensorSpec) error) error {
	specs, seen := c.changeable(), map[string]bool{}
	var errs []error
	var dora string
	for _, change := range changes {
		name := tensor(change)
		spec, ok := specs[name]
		switch {
		case !ok:
			errs = append(errs, fmt.Errorf("an adapter changes the tensor %s, which is unknown", name))
		case seen[name]:
			errs = append(errs, fmt.Errorf("tensor %s is changed twice", name))
		default:
			if err := check(change, spec); errors.Is(err, errDoRA) {
				dora = name
			} else if err != nil {
				errs = append(errs, fmt.Errorf("tensor %s: %w", name, err))
			}
		}
		seen[name] = true
	}
	if dora != "" { // once, for there are many
		errs = append(errs, fmt.Errorf("tensor %s: %w", dora, errDoRA))
	}
	return joinFirst(errs)
}

var errDoRA = errors.New("an adapter scales its rows to a length (DoRA), which is done in files only: merge it with `paligemma convert CHECKPOINT OUT.gguf --lora DIR`")

// check compares a change with the tensor that it is of.
func (c Change) check(spec TensorSpec) error {
	width, height := spec.matrix()
	in, out := int(width), int(height)
	if c.Values != nil && len(c.Values) != in*out {
		return fmt.Errorf("an adapter replaces %d values by %d", in*out, len(c.Values))
	}
	if len(c.LowRank) > 0 && len(spec.Shape) != 2 {
		return errNoMatrix
	}
	if c.Bias != nil && len(c.Bias) != out {
		return fmt.Errorf("an adapter's bias of %d values does not fit", len(c.Bias))
	}
	for _, u := range c.LowRank {
		if err := u.check(in, out); err != nil {
			return err
		}
	}
	return c.Extent().check(spec)
}

var errNoMatrix = errors.New("an adapter treats it as a matrix, which it is not")

// check compares what is known of a change with the tensor that it is of.
func (e Extent) check(spec TensorSpec) error {
	switch {
	case e.Rank > 0 && len(spec.Shape) != 2:
		return errNoMatrix
	case e.Bias && (spec.Role != RoleMatrix || e.Tensor == TensorEmbedding):
		return errors.New("an adapter's bias does not fit")
	case e.DoRA:
		return errDoRA
	}
	return nil
}

// check compares an update with the matrix [out, in] that it is of.
func (u LowRank) check(in, out int) error {
	switch {
	case u.Rank < 1 || u.Rank > maxDim:
		return fmt.Errorf("an adapter's rank is %d, want 1 to %d", u.Rank, maxDim)
	case len(u.A) != u.Rank*in || len(u.B) != out*u.Rank:
		return fmt.Errorf("an adapter of rank %d has %d and %d values, want %d and %d", u.Rank, len(u.A), len(u.B), u.Rank*in, out*u.Rank)
	case math.IsNaN(float64(u.Scale)) || math.IsInf(float64(u.Scale), 0):
		return fmt.Errorf("an adapter's scale is %v", u.Scale)
	}
	return nil
}

// adaption puts what adapters change into a model.
type adaption struct {
	model    *Model
	specs    []ggml.Spec
	place    []func(ggml.Tensor) // each puts the tensor of a spec where it belongs
	replaced map[*Matrix]bool
	updates  map[*Matrix][]LowRank // of scale 1, one for each part of a matrix
	biases   map[*Matrix][]float32
	placed   map[*Matrix]*ggml.LowRank // what becomes of updates
}

func (m *Model) newAdaption() *adaption {
	return &adaption{
		model: m, replaced: map[*Matrix]bool{}, updates: map[*Matrix][]LowRank{}, biases: map[*Matrix][]float32{}, placed: map[*Matrix]*ggml.LowRank{},
	}
}

// adapt applies changes to the tensors in their slots, which are bound to a file. What the
// file brings stays where it is; what adapters bring is placed next to it.
func (m *Model) adapt(f *gguf.File, changes []Change) error {
	if len(changes) == 0 {
		return nil
	}
	if err := m.config.checkChanges(changes); err != nil {
		return err
	}
	a := m.newAdaption()
	if m.config.Tied && slices.ContainsFunc(changes, func(c Change) bool { return c.Tensor == TensorHead }) {
		m.weights.Head, m.config.Tied = m.weights.Embedding, false
		m.slots[TensorHead] = slot{&m.weights.Head.tensor, &m.weights.Head, m.slots[TensorEmbedding].shape}
	}
	for _, c := range changes {
		if c.Tensor == TensorEmbedding {
			m.embedding.change(c)
			if !m.config.Tied {
				continue // only rows of it are looked up
			}
		}
		if err := a.change(f, c, m.slots[c.Tensor]); err != nil {
			return fmt.Errorf("tensor %s: %w", c.Tensor, err)
		}
	}
	a.arrange()
	for w, bias := range a.biases {
		a.add(w.tensor, bias, func(t ggml.Tensor) { w.bias = t }, len(bias))
	}
	var err error
	m.changed, m.updates, err = a.finish()
	return err
}

// arrange places updates so that those of matrices that multiply the same rows share an A.
func (a *adaption) arrange() {
	for _, w := range a.model.projections() {
		a.join(w)
		a.share(&w.Q, &w.K, &w.V)
	}
	for _, b := range a.model.blocks {
		w := b.feedForward()
		a.share(&w.Gate, &w.Up)
	}
	for w := range a.updates {
		a.share(w)
	}
}

// change notes what is done to the tensor in a slot.
func (a *adaption) change(f *gguf.File, c Change, s slot) error {
	if s.matrix == nil { // its values are few
		values, err := updated(f, c)
		if err != nil {
			return err
		}
		a.add(*s.tensor, values, func(t ggml.Tensor) { *s.tensor = t }, s.shape...)
		return nil
	}
	if c.Values != nil {
		a.add(*s.tensor, c.Values, func(t ggml.Tensor) { *s.tensor = t }, s.shape...)
		a.replaced[s.matrix] = true
	}
	if c.Bias != nil {
		a.biases[s.matrix] = c.Bias
	}
	if u := stack(active(c.LowRank)); u.Rank > 0 {
		a.updates[s.matrix] = []LowRank{u}
	}
	return nil
}

// updated returns the values of an F32 tensor after a change.
func updated(f *gguf.File, c Change) ([]float32, error) {
	t, _ := f.Lookup(c.Tensor)
	width := int(t.Shape[0])
	values := slices.Clone(c.Values)
	if values == nil {
		values = make([]float32, len(f.Data(t))/4)
		if err := ggml.Dequantize(t.Type, values, f.Data(t), width); err != nil {
			return nil, err
		}
	}
	for _, u := range active(c.LowRank) {
		if err := ggml.AddLowRank(values, width, u.A, u.B, u.Scale); err != nil {
			return nil, err
		}
	}
	return values, nil
}

// stack makes one update of several, of the summed rank and scale 1.
func stack(updates []LowRank) LowRank {
	sum := LowRank{Scale: 1}
	for _, u := range updates {
		sum.Rank += u.Rank
		sum.A = append(sum.A, u.A...)
	}
	at := 0
	for _, u := range updates {
		out := len(u.B) / u.Rank
		if sum.B == nil {
			sum.B = make([]float32, out*sum.Rank)
		}
		for i := range out {
			for r, b := range u.B[i*u.Rank:][:u.Rank] {
				sum.B[i*sum.Rank+at+r] = u.Scale * b
			}
		}
		at += u.Rank
	}
	return sum
}

// join makes one update, and one bias, of those of queries, keys and values that are one
// matrix. Where one of the three was replaced, they are apart.
func (a *adaption) join(w *QKV) {
	parts := []*Matrix{&w.Q, &w.K, &w.V}
	if slices.ContainsFunc(parts, func(p *Matrix) bool { return a.replaced[p] }) {
		w.joined = Matrix{}
	}
	if !w.joined.tensor.Valid() {
		return
	}
	width := 0 // of the updates; 0: there are none
	for _, p := range parts {
		for _, u := range a.updates[p] {
			width = len(u.A) / u.Rank
		}
	}
	var updates []LowRank
	var bias []float32
	biased := false
	for _, p := range parts {
		out := int(p.tensor.Dim(1))
		u, ok := a.updates[p]
		if !ok { // zeros
			u = []LowRank{{Rank: 1, A: make([]float32, width), B: make([]float32, out)}}
		}
		b, ok := a.biases[p]
		if !ok {
			b = make([]float32, out)
		}
		updates, bias, biased = append(updates, u...), append(bias, b...), biased || ok
		delete(a.updates, p)
		delete(a.biases, p)
	}
	if width > 0 {
		a.updates[&w.joined] = updates
	}
	if biased {
		a.biases[&w.joined] = bias
	}
}

// share adds the updates of those of some matrices that have any, with one A for all:
// they multiply the same rows, which are then read once.
func (a *adaption) share(matrices ...*Matrix) {
	var stacked []float32
	var sharing []*Matrix
	rank := 0
	for _, w := range matrices {
		parts, ok := a.updates[w]
		if !ok {
			continue
		}
		a.placed[w] = &ggml.LowRank{First: int64(rank)}
		for _, u := range parts {
			stacked, rank = append(stacked, u.A...), rank+u.Rank
		}
		sharing = append(sharing, w)
		a.addColumns(w, parts)
		delete(a.updates, w)
	}
	if rank > 0 {
		a.add(sharing[0].tensor, stacked, func(t ggml.Tensor) {
			for _, w := range sharing {
				a.placed[w].A = t
			}
		}, len(stacked)/rank, rank)
	}
}

// addColumns adds the columns of B of the parts that a matrix consists of.
func (a *adaption) addColumns(w *Matrix, parts []LowRank) {
	placed := a.placed[w]
	placed.B = make([]ggml.Tensor, len(parts))
	for i, u := range parts {
		a.add(w.tensor, columns(u.B, u.Rank), func(t ggml.Tensor) { placed.B[i] = t }, len(u.B)/u.Rank, u.Rank)
	}
}

// columns are the columns of b, which has rows of n values.
func columns(b []float32, n int) []float32 {
	out := make([]float32, 0, len(b))
	for c := range n {
		for i := c; i < len(b); i += n {
			out = append(out, b[i])
		}
	}
	return out
}

// add takes values of a shape, innermost dimension first, that lie where a tensor of the
// file does.
func (a *adaption) add(near ggml.Tensor, values []float32, place func(ggml.Tensor), shape ...int) {
	spec := ggml.NewSpec("of an adapter", values, shape...)
	spec.Place = a.model.backend.Place(near)
	a.specs = append(a.specs, spec)
	a.place = append(a.place, place)
}

// finish places all that was added. The store is nil where that is nothing.
func (a *adaption) finish() (*ggml.Store, ggml.Updates, error) {
	if n := len(a.model.store.Tensors()) + len(a.specs); n > ggml.MaxStored {
		return nil, nil, fmt.Errorf("%d tensors with those of adapters, at most %d can be used", n, ggml.MaxStored)
	}
	if len(a.specs) == 0 {
		return nil, nil, nil
	}
	store, err := a.model.backend.NewWeights(a.specs, nil)
	if err != nil {
		return nil, nil, err
	}
	for i, t := range store.Tensors() {
		a.place[i](t)
	}
	updates := ggml.Updates{}
	for w, u := range a.placed {
		updates[w.tensor] = *u
	}
	return store, updates, nil
}
