package model

import "paligemma/internal/ggml"

// step is what the layers of one forward pass share.
type step struct {
	config TextConfig
	parts  []*part
	tokens int64 // T
	rotary ggml.Rotary
	cells  attender

	traced  bool // keep the attention weights
	weights []ggml.Tensor
}

// attender is how the tokens of a pass attend to the cells of their sequences.
type attender interface {
	// attend rotates queries q [d, heads, T] and keys k [d, kv_heads, T], appends keys and
	// values v [d, kv_heads, T] to the cache and lets each token attend to the cells that
	// it sees: [d·heads, T].
	attend(g *ggml.Graph, layer int, q, k, v ggml.Tensor, a attention) ggml.Tensor
}

// newStep uploads what all layers share.
func (m *Model) newStep(g *ggml.Graph, b batch, traced bool) *step {
	t := m.config.Text
	s := &step{config: t, parts: b.parts, tokens: int64(b.tokens()), traced: traced}
	s.rotary = g.NewRotary(b.positions(), t.HeadDim, t.RopeTheta)
	switch m.backend.Attention(m.options) {
	case ggml.AttentionRanges:
		s.cells = newRanged(g, s)
	case ggml.AttentionMasked:
		s.cells = newMasked(g, s)
	default:
		s.cells = newWritten(g, s, m.options.CellType())
	}
	return s
}

// positions are those of the tokens of a batch, whose parts it tells where they begin.
func (b batch) positions() []int32 {
	var positions []int32
	for _, p := range b.parts {
		p.from = len(positions)
		for i := range p.tokens {
			positions = append(positions, int32(p.seq.length+i+1))
		}
	}
	return positions
}

// cells are the part's tokens as the attention mask sees them, and the cells of its
// sequence, theirs included.
func (p *part) cells() (queries, cells []cell) {
	cells = p.seq.cells(0, p.seq.length+p.tokens)
	return cells[p.seq.length:], cells
}

// uploadMasks makes the part's masks.
func (p *part) uploadMasks(g *ggml.Graph, window int) {
	queries, cells := p.cells()
	p.mask = uploadMask(g, queries, cells, 0)
	if window > 0 {
		p.window = uploadMask(g, queries, cells, window)
	}
}

// uploadMask is the mask of a part, or the zero Tensor where it would hide nothing.
func uploadMask(g *ggml.Graph, queries, keys []cell, window int) ggml.Tensor {
	if allVisible(queries, keys, window) {
		return ggml.Tensor{}
	}
	return g.Float32s(attentionMask(queries, keys, window), int64(len(keys)), int64(len(queries)))
}

// trace attends as the one part of a step does to keys and values [d, n, kv_heads], and
// keeps the weights: q [d, heads, T] to [d·heads, T].
func (s *step) trace(g *ggml.Graph, q, keys, values ggml.Tensor, a attention) ggml.Tensor {
	a.mask = s.parts[0].maskFor(a)
	out, weights := a.apply(g, q, keys, g.Cont(g.Transpose(values)), true)
	s.weights = append(s.weights, weights)
	return out
}
