package model

import (
	"slices"

	"paligemma/internal/ggml"
)

// passParts is how many of the parts fit in one graph.
func (m *Model) passParts(parts []*part) int {
	// Tensors that a layer makes: for the pass, for a part, for the own cells of a
	// fork, for those that it shares.
	layer := 80
	if m.updates != nil || adapted(parts) {
		layer += 80
	}
	each, own, shared := 24, 6, 6
	switch m.backend.Attention(m.options) {
	case ggml.AttentionRanges:
		each, own, shared = 2, 2, 0 // views of runs of cells
	case ggml.AttentionMasked:
		each, own, shared = 0, 0, 0
		parts = parts[:maskedParts(parts)]
	}
	room, tensors := ggml.MaxNodes/(m.config.Text.Layers+2)-layer, 0
	for i, p := range parts {
		room -= each
		if p.seq.shared != nil {
			room -= own
			if i == 0 || !p.sharesWith(parts[i-1]) {
				room -= shared
			}
		}
		if i > 0 && p.seq.adapters != parts[i-1].seq.adapters && m.backend.Plain(m.options) {
			room -= plainGroup
			tensors += p.seq.adapters.tensors()
		}
		if room < 0 || tensors > ggml.MaxStored/2 {
			return max(1, i)
		}
	}
	return len(parts)
}

// plainGroup is how many tensors a layer makes for another group of rows with adapters of
// their own, where only ggml's operations are used: of each of seven matrices the group's
// rows, A·x, B transposed and its product with that, and the sum.
const plainGroup = 110

// rowUpdates are the updates of the rows of some parts: of each run of sequences with the
// same adapters. There are none where no sequence has any.
func (m *Model) rowUpdates(parts []*part) (groups []ggml.RowUpdates) {
	if m.updates != nil {
		return m.updatesWith(nil)
	}
	if !adapted(parts) {
		return nil
	}
	for i, p := range parts {
		a, rows := p.seq.adapters, int64(p.tokens)
		if i > 0 && parts[i-1].seq.adapters == a {
			groups[len(groups)-1].Rows += rows
		} else {
			groups = append(groups, ggml.RowUpdates{Rows: rows, Updates: a.all()})
		}
	}
	return groups
}

// adapted reports whether any of the parts has adapters.
func adapted(parts []*part) bool {
	return slices.ContainsFunc(parts, func(p *part) bool { return p.seq.adapters != nil })
}

// updatesWith are the updates of all rows, with adapters or nil.
func (m *Model) updatesWith(a *Adapters) []ggml.RowUpdates {
	updates := m.updates
	if a != nil {
		updates = a.all()
	}
	if updates == nil {
		return nil
	}
	return []ggml.RowUpdates{{Updates: updates}}
}
