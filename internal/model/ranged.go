package model

import "paligemma/internal/ggml"

// ranged is attention by the CPU's kernels, which read the cells of each sequence where
// they are. A token sees a range of them.
type ranged struct{ *step }

func newRanged(g *ggml.Graph, s *step) ranged {
	window := s.config.SlidingWindow
	for _, p := range s.parts {
		queries, cells := p.cells()
		p.seen = visibleRanges(queries, p.seq.prompt, 0)
		p.near = visibleRanges(queries, p.seq.prompt, window)
		p.whole = p.seq.length == 0 && allVisible(queries, cells, window)
		if s.traced {
			p.uploadMasks(g, window)
		}
	}
	return ranged{s}
}

// attend is one operation for all parts, after the one that writes their cells.
func (s ranged) attend(g *ggml.Graph, layer int, q, k, v ggml.Tensor, a attention) ggml.Tensor {
	parts := make([]ggml.CellPart, len(s.parts))
	for i, p := range s.parts {
		parts[i] = ggml.CellPart{Runs: p.runs(g, layer), Seen: p.seenFor(a)}
	}
	cells := g.NewCellParts(parts)
	q, k = g.AppendCells(q, k, v, s.rotary, cells)
	heads := [4]int{0, 2, 1, 3} // [d, T, heads]
	switch {
	case s.traced:
		run := parts[0].Runs[0]
		return s.trace(g, q, g.Permute(run.Keys, heads), g.Permute(run.Values, heads), a)
	case s.parts[0].whole && g.Tiles(s.tokens):
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

// run is n cells of a layer, from the span's first on.
func (s *span) run(g *ggml.Graph, layer, n int) ggml.CellRun {
	return ggml.CellRun{Keys: s.keys(g, layer, 0, n), Values: s.values(g, layer, 0, n)}
}
