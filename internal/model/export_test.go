package model

import (
	"context"
	"slices"

	"paligemma/internal/ggml"
)

// Joined is the number of layers whose Q, K and V are one matrix, and of all whose matrices
// could be: those of which the device keeps padding behind the rows cannot.
func (m *Model) Joined() (joined, layers int) {
	for _, w := range m.projections() {
		if !w.Q.tensor.Padded() && !w.K.tensor.Padded() && !w.V.tensor.Padded() {
			layers++
		}
		if w.joined.tensor.Valid() {
			joined++
		}
	}
	return joined, layers
}

// Separate undoes that.
func (m *Model) Separate() {
	for _, w := range m.projections() {
		w.joined = Matrix{}
	}
}

// JoinedBiases is the number of layers of the tower whose biases of Q, K and V are one
// tensor.
func (m *Model) JoinedBiases() (joined int) {
	for i := range m.weights.Vision.Layers {
		if m.weights.Vision.Layers[i].bias.Valid() {
			joined++
		}
	}
	return joined
}

// SeparateBiases undoes that.
func (m *Model) SeparateBiases() {
	for i := range m.weights.Vision.Layers {
		m.weights.Vision.Layers[i].bias = ggml.Tensor{}
	}
}

// Used is the number of cells in use.
func (c *Cache) Used() int {
	n := 0
	for _, s := range c.slabs {
		for _, r := range s.reserved {
			n += r.cells
		}
	}
	return n
}

// SameInCompany reports whether a token has the bits in a step of many that it has alone:
// in exact files, and where attention takes ranges of cells and custom kernels multiply,
// which need the instructions named here. ggml multiplies one row otherwise than several.
func (m *Model) SameInCompany() bool {
	return m.options.Exact || m.backend.Attention(m.options) == ggml.AttentionRanges && slices.Contains([]string{"avx512_vnni", "avx512_bf16"}, ggml.ISA())
}

// Grow makes room for n more tokens of a sequence, as a step does.
func (s *Sequence) Grow(ctx context.Context, n int) error { return s.extend(ctx, n) }

// Steps is the number of graphs that are kept for steps.
func (c *Cache) Steps() (n int) {
	for _, s := range c.slabs {
		s.steps.purge()
		n += len(s.steps.all)
	}
	return n
}

// Prompts is the number of graphs that are kept for prompts.
func (c *Cache) Prompts() (n int) {
	for _, s := range c.slabs {
		s.prompts.purge()
		n += len(s.prompts.all)
	}
	return n
}

// OnDevice reports whether features stay on the device that computed them.
func (m *Model) OnDevice() bool { return m.onDevice }

// Encodings is the number of graphs that are kept for passes of the tower.
func (m *Model) Encodings() int {
	m.encodings.purge()
	return len(m.encodings.all)
}

// Backend returns what the model computes on.
func (m *Model) Backend() *ggml.Backend { return m.backend }

// Astray are weights of which an update lies on another device.
func (a *Adapters) Astray() (weights []ggml.Tensor) {
	for w, u := range a.updates {
		for _, t := range append([]ggml.Tensor{u.A}, u.B...) {
			if b := a.model.backend; b.Place(t) != b.Place(w) {
				weights = append(weights, w)
			}
		}
	}
	return weights
}

// ChangedBytes returns how many bytes what adapters bring takes.
func (m *Model) ChangedBytes() (n int64) {
	if m.changed == nil {
		return 0
	}
	for _, t := range m.changed.Tensors() {
		n += floatSize * t.Elements()
	}
	return n
}

// ZeroBytes returns how many of them are zeros that stand for updates and biases which
// changes lack of one of Q, K and V that are one matrix.
func (m *Model) ZeroBytes(changes []Change) (n int64) {
	updated, biased := map[*Matrix]bool{}, map[*Matrix]bool{}
	for _, c := range changes {
		updated[m.slots[c.Tensor].matrix] = c.Extent().Rank > 0
		biased[m.slots[c.Tensor].matrix] = c.Bias != nil
	}
	for _, w := range m.projections() {
		if !w.joined.tensor.Valid() {
			continue
		}
		parts := []*Matrix{&w.Q, &w.K, &w.V}
		for _, p := range parts {
			if !updated[p] && slices.ContainsFunc(parts, func(o *Matrix) bool { return updated[o] }) {
				n += floatSize * (p.tensor.Dim(0) + p.tensor.Dim(1))
			}
			if !biased[p] && slices.ContainsFunc(parts, func(o *Matrix) bool { return biased[o] }) {
				n += floatSize * p.tensor.Dim(1)
			}
		}
	}
	return n
}
