package model

import (
	"slices"

	"paligemma/internal/ggml"
)

// masked is attention on other devices than the CPU: every token meets the cells [0, n) of
// the one slab, and a mask hides those of others. What differs from one step to the next is
// in four inputs, so that a graph can be computed again for the next step.
//
// llama.cpp calls this a unified cache. Its other form, a dimension of sequences, would do
// without meeting the cells of others, but needs as many tokens of each sequence, and cells
// that lie apart evenly: forks could not share any.
type masked struct {
	*step
	slab  *slab
	index []int64 // the cell that each token's key and value go to
	full  maskRows
	near  maskRows // through the sliding window, where it hides any cells
	at    ggml.Tensor
	n     int64
}

// maskRows are rows of a mask in half precision [n, T], 0 where a token sees a cell and −Inf
// where not; one row where all tokens see the same cells. They are long, and differ in few
// cells from one step to the next.
type maskRows struct {
	values []uint16
	seen   []seenCells // of each row, what values show
	window int

	input ggml.Tensor // the values
	mask  ggml.Tensor // of all tokens
}

// seenCells are the cells of the slab that a token sees: shared ones, and its sequence's
// own. The two do not overlap.
type seenCells [2]ggml.CellRange

const (
	shownCell  = 0
	hiddenCell = 0xfc00 // −Inf in half precision
)

func newMasked(g *ggml.Graph, s *step) *masked {
	k := &masked{step: s, slab: s.parts[0].seq.own.slab, index: make([]int64, s.tokens), n: int64(cellsInUse(s.parts))}
	rows := s.tokens
	if onePrompt(s.parts) {
		rows = 1
	}
	k.full = newMaskRows(rows, k.n, 0)
	if window := s.config.SlidingWindow; slides(s.parts, window) {
		k.near = newMaskRows(rows, k.n, window)
	}
	k.fill()
	k.at = g.Int64s(k.index, s.tokens)
	k.full.upload(g, k.n, s.tokens)
	k.near.upload(g, k.n, s.tokens)
	if s.traced {
		s.parts[0].uploadMasks(g, s.config.SlidingWindow)
	}
	return k
}

// cellsInUse is after which cell of the slab the parts have no more, rounded up.
func cellsInUse(parts []*part) int {
	end := 0
	for _, p := range parts {
		end = max(end, p.end())
	}
	return roundUp(end, ggml.CellUnit)
}

// slides reports whether a sliding window hides cells from any of the parts' tokens: those
// of prompts see all of them, as do the first of texts.
func slides(parts []*part, window int) bool {
	return window > 0 && slices.ContainsFunc(parts, func(p *part) bool {
		return p.seq.length+p.tokens > max(window, p.seq.prompt)
	})
}

// end is after which cell of the slab a part has no more.
func (p *part) end() int {
	s := p.seq
	end := s.own.first + s.length - s.inherited + p.tokens
	if s.shared != nil {
		end = max(end, s.shared.first+s.inherited)
	}
	return end
}

// fill sets the inputs to the parts of a step.
func (k *masked) fill() {
	for _, p := range k.parts {
		first := p.seq.own.first + p.seq.length - p.seq.inherited
		for i := range p.tokens {
			k.index[p.from+i] = int64(first + i)
		}
	}
	k.full.show(k.parts)
	k.near.show(k.parts)
}

// move sets the inputs of a kept graph to another step, whose tokens are as many and whose
// cells lie as far up.
func (k *masked) move(g *ggml.Graph, b batch) {
	k.rotary.Move(b.positions())
	k.parts = b.parts
	k.full.stage(g)
	k.near.stage(g)
	k.fill()
}

// newMaskRows makes rows that hide all of n cells.
func newMaskRows(rows, n int64, window int) maskRows {
	return maskRows{
		values: slices.Repeat([]uint16{hiddenCell}, int(rows*n)),
		seen:   make([]seenCells, rows),
		window: window,
	}
}

// show has the rows show what the tokens of a step see, or the one row what those of a
// prompt do. It writes where that differs from what they show.
func (r *maskRows) show(parts []*part) {
	for _, p := range parts {
		for i := range p.tokens {
			at := p.from + i
			if at >= len(r.seen) {
				return
			}
			n := len(r.values) / len(r.seen)
			seen := p.seq.seen(i, r.window)
			seen.replace(r.seen[at], r.values[at*n:][:n])
			r.seen[at] = seen
		}
	}
}

// seen are the cells that the i-th token after the sequence's last sees.
func (s *Sequence) seen(i, window int) (seen seenCells) {
	r := visibleRange(s.cell(s.length+i), s.prompt, window)
	inherited := int32(s.inherited)
	if r.From < inherited {
		first := int32(s.shared.first)
		seen[0] = ggml.CellRange{From: first + r.From, To: first + min(r.To, inherited)}
	}
	first := int32(s.own.first) - inherited // of the token itself, too
	seen[1] = ggml.CellRange{From: first + max(r.From, inherited), To: first + r.To}
	return seen
}

// replace has a row show what is seen, where it showed what was seen before. Cells are
// shown after others are hidden: a sequence may have been given those of another.
func (seen seenCells) replace(before seenCells, row []uint16) {
	for i := range seen {
		markOutside(row, before[i], seen[i], hiddenCell)
	}
	for i := range seen {
		markOutside(row, seen[i], before[i], shownCell)
	}
}

// markOutside marks the cells of a range that are outside another.
func markOutside(row []uint16, cells, other ggml.CellRange, mark uint16) {
	for i := cells.From; i < min(cells.To, other.From); i++ {
		row[i] = mark
	}
	for i := max(cells.From, other.To); i < cells.To; i++ {
		row[i] = mark
	}
}

// upload makes the rows a mask of some tokens.
func (r *maskRows) upload(g *ggml.Graph, n, tokens int64) {
	if r.values == nil {
		return
	}
	rows := int64(len(r.seen))
	r.input = g.Float16s(r.values, n, rows)
	if r.mask = r.input; rows < tokens {
		r.mask = g.Repeat(r.mask, tokens)
		g.Run(r.mask) // here, not where the first layer needs it: that may be another device's
	}
}

// stage has the rows of a kept graph written where a device fetches them from.
func (r *maskRows) stage(g *ggml.Graph) {
	if r.values != nil {
		r.values = g.StagedFloat16s(r.input)
	}
}

// attend writes keys and values to their cells before the cells are read. The order is
// one that devices take as one operation: RoPE, a view, the writing of rows.
func (k *masked) attend(g *ggml.Graph, layer int, q, keys, values ggml.Tensor, a attention) ggml.Tensor {
	q = g.RoPE(q, k.rotary)
	g.Run(q)
	g.Run(g.WriteRows(g.RoPE(keys, k.rotary), k.slab.keys[layer], k.at))
	g.Run(g.WriteRows(values, k.slab.values[layer], k.at))
	d := q.Dim(0)
	if k.traced {
		own, n := int64(k.parts[0].seq.own.first), k.tokens
		return k.trace(g, q, g.Heads(k.slab.keys[layer], d, own, n), g.Heads(k.slab.values[layer], d, own, n), a)
	}
	keys, values = g.Heads(k.slab.keys[layer], d, 0, k.n), g.Heads(k.slab.values[layer], d, 0, k.n)
	if a.mask = k.full.mask; a.sliding && k.near.mask.Valid() {
		a.mask = k.near.mask
	}
	return a.fused(g, q, keys, values)
}

// maskedParts is for how many parts a mask is of moderate size.
func maskedParts(parts []*part) int {
	const most = 32 << 20 // values
	tokens, end := 0, 0
	for i, p := range parts {
		tokens, end = tokens+p.tokens, max(end, p.end())
		if i > 0 && tokens*roundUp(end, ggml.CellUnit) > most {
			return i
		}
	}
	return len(parts)
}

// spoil notes that cells of the pass may hold values that are not numbers. Hidden cells
// count 0 times, and 0 times NaN is NaN: those who are given them next, or lie near, would
// be spoiled, too. Released, they are cleared. Other kinds of attention read no hidden cells.
func (p *pass) spoil() {
	if _, ok := p.step.cells.(*masked); !ok {
		return
	}
	for _, part := range p.step.parts {
		part.seq.own.spoiled = true
	}
}

// clear sets the cells of a span to zeros.
func (s *span) clear() {
	for layer := range s.slab.keys {
		s.slab.keys[layer].ClearRows(int64(s.first), int64(s.cells))
		s.slab.values[layer].ClearRows(int64(s.first), int64(s.cells))
	}
}
