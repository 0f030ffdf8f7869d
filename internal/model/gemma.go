package model

import (
	"paligemma/internal/ggml"
	"paligemma/internal/gguf"
)

// block is a layer of the language model, in two halves: between those of the
// last layer, rows that nobody asks for are dropped.
type block interface {
	// attend is the attention half on x [h, T], which also appends to the cache.
	attend(g *ggml.Graph, s *step, layer int, x ggml.Tensor) ggml.Tensor
	// mlp is the feed-forward half on x [h, any].
	mlp(g *ggml.Graph, s *step, x ggml.Tensor) ggml.Tensor
	// norm is its first weight, attention its projections, and feedForward what follows them.
	norm() ggml.Tensor
	attention() *Attention
	feedForward() *MLP
}

func (w *Attention) attention() *Attention { return w }
func (w *MLP) feedForward() *MLP           { return w }

// step is what the layers of one forward pass share.
type step struct {
	config  TextConfig
	parts   []*part
	tokens  int64 // T
	rotary  ggml.Rotary
	traced  bool // keep the attention weights
	weights []ggml.Tensor

	cellType     gguf.Type
	longest      int64       // cells of a fork
	out          ggml.Tensor // where parts put their results: [d, heads, T]
	keys, values ggml.Tensor // where the cells of forks are put together
	inside       *part       // whose shared cells are there
	layer        int         // of the layer inside
}

// attend is a pre-norm residual half (https://arxiv.org/abs/2403.08295;
// modeling_gemma.py in transformers).
func (l *GemmaLayer) attend(g *ggml.Graph, s *step, layer int, x ggml.Tensor) ggml.Tensor {
	h := g.RMSNorm(x, l.AttnNorm, s.config.RMSEps, l.QKV.factors()...)
	h = l.Attention.forward(g, s, layer, h, attention{scale: s.config.AttnScale})
	return g.Add(x, h)
}

func (l *GemmaLayer) norm() ggml.Tensor { return l.AttnNorm }

func (l *GemmaLayer) mlp(g *ggml.Graph, s *step, x ggml.Tensor) ggml.Tensor {
	h := g.RMSNorm(x, l.MLPNorm, s.config.RMSEps, factors(l.Gate, l.Up)...)
	return g.Add(x, g.SplitRows(h, l.MLP.forwardRows))
}

// forward projects x [h, T] to queries, keys and values, rotates the first two,
// appends keys and values to the cache, lets every sequence attend to its cells and
// projects back.
func (w *Attention) forward(g *ggml.Graph, s *step, layer int, x ggml.Tensor, a attention) ggml.Tensor {
	q, k, v := w.QKV.Mul(g, x, s.config.HeadDim)
	if g.Cells() {
		return w.Out.Mul(g, s.attendCells(g, layer, q, k, v, a))
	}
	q, k = g.RoPE(q, s.rotary), g.RoPE(k, s.rotary)
	for _, p := range s.parts {
		p.append(g, layer, k, v)
	}
	if len(s.parts) > 1 {
		return w.Out.Mul(g, s.attendParts(g, layer, q, a))
	}
	p := s.parts[0]
	a.mask = p.maskFor(a)
	if !a.mask.Valid() && p.seq.length == 0 && !s.traced && g.Tiles(s.tokens) {
		heads := [4]int{0, 2, 1, 3} // [d, T, heads]
		return w.Out.Mul(g, a.flash(g, q, g.Permute(k, heads), g.Permute(v, heads)))
	}
	k, v = s.cells(g, layer, p)
	out, weights := a.apply(g, q, k, v, s.traced)
	if s.traced {
		s.weights = append(s.weights, weights)
	}
	return w.Out.Mul(g, out)
}

// attendCells is attention in one operation for all parts: q [d, heads, T], k and v
// [d, kv_heads, T] to [d·heads, T].
func (s *step) attendCells(g *ggml.Graph, layer int, q, k, v ggml.Tensor, a attention) ggml.Tensor {
	parts := make([]ggml.CellPart, len(s.parts))
	for i, p := range s.parts {
		parts[i] = ggml.CellPart{Runs: p.runs(g, layer), Seen: p.seenFor(a)}
	}
	cells := g.NewCellParts(parts)
	q, k = g.AppendCells(q, k, v, s.rotary, cells)
	heads := [4]int{0, 2, 1, 3} // [d, T, heads]
	p := s.parts[0]
	switch {
	case s.traced:
		a.mask = p.maskFor(a)
		run := parts[0].Runs[0]
		out, weights := a.apply(g, q, g.Permute(run.Keys, heads), g.Cont(g.Permute(run.Values, [4]int{1, 2, 0, 3})), true)
		s.weights = append(s.weights, weights)
		return out
	case p.whole && g.Tiles(s.tokens):
		return a.flash(g, q, g.Permute(k, heads), g.Permute(v, heads))
	}
	out := g.AttendCells(q, cells, a.scale, a.softcap)
	return g.Reshape(out, out.Dim(0)*out.Dim(1), s.tokens)
}

// runs are the cells of a part's sequence, those of its tokens included: the shared
// ones first.
func (p *part) runs(g *ggml.Graph, layer int) []ggml.CellRun {
	own := p.seq.own.run(g, layer, p.seq.length-p.seq.inherited+p.tokens)
	if p.seq.inherited == 0 {
		return []ggml.CellRun{own}
	}
	return []ggml.CellRun{p.seq.shared.run(g, layer, p.seq.inherited), own}
}

// attendParts computes attention for each part by itself: q [d, heads, T] to
// [d·heads, T].
func (s *step) attendParts(g *ggml.Graph, layer int, q ggml.Tensor, a attention) ggml.Tensor {
	for _, p := range s.parts {
		from, n := int64(p.from), int64(p.tokens)
		a.mask = p.maskFor(a)
		k, v := s.cells(g, layer, p)
		out, _ := a.heads(g, g.Permute(g.Slice(q, 2, from, n), [4]int{0, 2, 1, 3}), k, v)
		g.Run(g.Copy(out, g.Slice(s.out, 2, from, n)))
	}
	return g.Reshape(s.out, s.out.Dim(0)*s.out.Dim(1), s.tokens)
}

// append writes the part's rows of keys and values [d, kv_heads, T] to its cells.
func (p *part) append(g *ggml.Graph, layer int, k, v ggml.Tensor) {
	at, n := p.seq.length-p.seq.inherited, int64(p.tokens)
	if n < k.Dim(2) {
		k, v = g.Slice(k, 2, int64(p.from), n), g.Slice(v, 2, int64(p.from), n)
	}
	g.Run(g.Copy(k, p.seq.own.keys(g, layer, at, p.tokens)))
	g.Run(g.Copy(g.Permute(v, [4]int{1, 2, 0, 3}), p.seq.own.values(g, layer, at, p.tokens)))
}

// sharesWith reports whether two forks share the same cells.
func (p *part) sharesWith(q *part) bool {
	return p.seq.shared == q.seq.shared && p.seq.inherited == q.seq.inherited
}

// cells are all keys [d, n, kv_heads] and values [n, d, kv_heads] that a part sees
// or that are masked. Those of a fork are put together in one place, since ggml's
// operations take them in a row: first the shared ones, which stay there for the
// other forks of the same cells, then its own.
func (s *step) cells(g *ggml.Graph, layer int, p *part) (k, v ggml.Tensor) {
	shared, own := p.seq.inherited, p.seq.length-p.seq.inherited+p.tokens
	heads := [4]int{0, 2, 1, 3}
	if shared == 0 {
		return g.Permute(p.seq.own.keys(g, layer, 0, own), heads), p.seq.own.values(g, layer, 0, own)
	}
	put := func(from *span, at, n int) {
		g.Run(g.Copy(from.keys(g, layer, 0, n), g.Slice(s.keys, 2, int64(at), int64(n))))
		g.Run(g.Copy(from.values(g, layer, 0, n), g.Slice(s.values, 0, int64(at), int64(n))))
	}
	if s.inside == nil || s.layer != layer || !p.sharesWith(s.inside) {
		put(p.seq.shared, 0, shared)
	}
	s.inside, s.layer = p, layer
	put(p.seq.own, shared, own)
	n := int64(shared + own)
	return g.Permute(g.Slice(s.keys, 2, 0, n), heads), g.Slice(s.values, 0, 0, n)
}

// forwardRows is Down(GELU(Gate·x)·Up·x) for rows x.
func (w *MLP) forwardRows(g *ggml.Graph, x ggml.Tensor) ggml.Tensor {
	return w.Down.Mul(g, g.Geglu(w.Gate.Mul(g, x), w.Up.Mul(g, x), factors(w.Down)...))
}
