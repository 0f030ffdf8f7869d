package model

import "paligemma/internal/ggml"

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
	near  maskRows // through the sliding window, where the model has one
	at    ggml.Tensor
	n     int64
}

// maskRows are rows of a mask in half precision [n, T], 0 where a token sees a cell and −Inf
// where not; one row where all tokens see the same cells.
type maskRows struct {
	values []uint16
	window int
	mask   ggml.Tensor
}

const hiddenCell = 0xfc00 // −Inf in half precision

func newMasked(g *ggml.Graph, s *step) *masked {
	k := &masked{step: s, slab: s.parts[0].seq.own.slab, index: make([]int64, s.tokens), n: int64(cellsInUse(s.parts))}
	rows := s.tokens
	if p := s.parts[0]; len(s.parts) == 1 && p.seq.length == 0 && p.tokens == p.seq.prompt {
		rows = 1 // of a prompt, all of which sees all of it
	}
	k.full.values = make([]uint16, rows*k.n)
	if k.near.window = s.config.SlidingWindow; k.near.window > 0 {
		k.near.values = make([]uint16, rows*k.n)
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
	k.full.fill(k.parts, int(k.n))
	k.near.fill(k.parts, int(k.n))
}

// move sets the inputs of a kept graph to another step, whose tokens are as many and whose
// cells lie as far up.
func (k *masked) move(b batch) {
	k.rotary.Move(b.positions())
	k.parts = b.parts
	k.fill()
}

// fill writes the rows of all tokens, or the one row of a prompt.
func (r *maskRows) fill(parts []*part, n int) {
	rows := len(r.values) / n
	for i := range r.values {
		r.values[i] = hiddenCell
	}
	for _, p := range parts {
		for i := range p.tokens {
			if row := p.from + i; row < rows {
				p.seq.show(r.values[row*n:][:n], i, r.window)
			}
		}
	}
}

// show marks in a row of a mask what the i-th token after the sequence's last sees.
func (s *Sequence) show(row []uint16, i, window int) {
	q := s.cells(s.length+i, 1)[0]
	seen := visibleRange(q, s.prompt, window)
	from, to := int(seen.From), int(seen.To)
	if from < s.inherited {
		clear(row[s.shared.first+from : s.shared.first+min(to, s.inherited)])
	}
	if to > s.inherited {
		clear(row[s.own.first+max(from, s.inherited)-s.inherited : s.own.first+to-s.inherited])
	}
}

// upload makes the rows a mask for so many tokens.
func (r *maskRows) upload(g *ggml.Graph, n, tokens int64) {
	if r.values == nil {
		return
	}
	rows := int64(len(r.values)) / n
	if r.mask = g.Float16s(r.values, n, rows); rows < tokens {
		r.mask = g.Repeat(r.mask, tokens)
		g.Run(r.mask) // here, not where the first layer needs it: that may be another device's
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

// forget closes the graphs of steps.
func (s *slab) forget() {
	for _, p := range s.steps {
		p.graph.Close()
	}
	s.steps = nil
}
