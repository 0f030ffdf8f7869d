package model

import (
	"paligemma/internal/ggml"
	"paligemma/internal/gguf"
)

// written is attention in ggml's operations, which want the cells of a sequence in a row:
// each part by itself. It is for exact files on the CPU.
type written struct {
	*step
	out          ggml.Tensor // where parts put their results: [d, heads, T]
	keys, values ggml.Tensor // where the cells of forks are put together
	inside       *part       // whose shared cells are there
	layer        int         // of the layer inside
}

func newWritten(g *ggml.Graph, s *step, cells gguf.Type) *written {
	w := &written{step: s}
	longest := 0
	for _, p := range s.parts {
		p.uploadMasks(g, s.config.SlidingWindow)
		if p.seq.shared != nil {
			longest = max(longest, p.seq.length+p.tokens)
		}
	}
	d, kv := int64(s.config.HeadDim), int64(s.config.KVHeads)
	if longest > 0 {
		w.keys = g.Scratch(cells, d, kv, int64(longest))
		w.values = g.Scratch(cells, int64(longest), d, kv)
	}
	if len(s.parts) > 1 {
		w.out = g.Scratch(gguf.TypeF32, d, int64(s.config.Heads), s.tokens)
	}
	return w
}

func (w *written) attend(g *ggml.Graph, layer int, q, k, v ggml.Tensor, a attention) ggml.Tensor {
	q, k = g.RoPE(q, w.rotary), g.RoPE(k, w.rotary)
	for _, p := range w.parts {
		p.append(g, layer, k, v)
	}
	if len(w.parts) > 1 {
		return w.attendParts(g, layer, q, a)
	}
	p := w.parts[0]
	a.mask = p.maskFor(a)
	if !a.mask.Valid() && p.seq.length == 0 && !w.traced && g.Tiles(w.tokens) {
		heads := [4]int{0, 2, 1, 3} // [d, T, heads]
		return a.flash(g, q, g.Permute(k, heads), g.Permute(v, heads))
	}
	k, v = w.together(g, layer, p)
	out, weights := a.apply(g, q, k, v, w.traced)
	if w.traced {
		w.weights = append(w.weights, weights)
	}
	return out
}

// attendParts computes attention for each part by itself: q [d, heads, T] to
// [d·heads, T].
func (w *written) attendParts(g *ggml.Graph, layer int, q ggml.Tensor, a attention) ggml.Tensor {
	for _, p := range w.parts {
		from, n := int64(p.from), int64(p.tokens)
		a.mask = p.maskFor(a)
		k, v := w.together(g, layer, p)
		out, _ := a.heads(g, g.Permute(g.Slice(q, 2, from, n), [4]int{0, 2, 1, 3}), k, v)
		g.Run(g.Copy(out, g.Slice(w.out, 2, from, n)))
	}
	return g.Reshape(w.out, w.out.Dim(0)*w.out.Dim(1), w.tokens)
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

// together are all keys [d, n, kv_heads] and values [n, d, kv_heads] that a part sees
// or that are masked. Those of a fork are put together in one place: first the shared
// ones, which stay there for the other forks of the same cells, then its own.
func (w *written) together(g *ggml.Graph, layer int, p *part) (k, v ggml.Tensor) {
	shared, own := p.seq.inherited, p.seq.length-p.seq.inherited+p.tokens
	heads := [4]int{0, 2, 1, 3}
	if shared == 0 {
		return g.Permute(p.seq.own.keys(g, layer, 0, own), heads), p.seq.own.values(g, layer, 0, own)
	}
	put := func(from *span, at, n int) {
		g.Run(g.Copy(from.keys(g, layer, 0, n), g.Slice(w.keys, 2, int64(at), int64(n))))
		g.Run(g.Copy(from.values(g, layer, 0, n), g.Slice(w.values, 0, int64(at), int64(n))))
	}
	if w.inside == nil || w.layer != layer || !p.sharesWith(w.inside) {
		put(p.seq.shared, 0, shared)
	}
	w.inside, w.layer = p, layer
	put(p.seq.own, shared, own)
	n := int64(shared + own)
	return g.Permute(g.Slice(w.keys, 2, 0, n), heads), g.Slice(w.values, 0, 0, n)
}
