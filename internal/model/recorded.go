package model

import (
	"errors"
	"slices"

	"paligemma/internal/ggml"
)

// pass is the graph of a batch, and what is read from it.
type pass struct {
	graph  *ggml.Graph
	rows   lookup
	step   *step
	hidden []ggml.Tensor
	logits ggml.Tensor

	likeliest ggml.Likeliest // of each row of logits; or none

	slab *slab // that keeps the graph; nil: none
	key  stepKey
}

// stepKey is what the graphs of two steps have in common where one graph does for both.
type stepKey struct {
	tokens, cells int
	options       ggml.GraphOptions
}

const (
	maxSteps = 4  // kept graphs; each has memory for a step's results
	mostKept = 64 // of a graph that is kept
)

// passOf returns the graph of a batch: that of a step before, where it does for this one,
// else a new one. Those with adapters differ from step to step.
func (m *Model) passOf(b batch, rows lookup, o ggml.GraphOptions, t tracing) *pass {
	if !b.step || b.tokens() > mostKept || adapted(b.parts) || m.backend.Attention(m.options) != ggml.AttentionMasked {
		return m.record(b, rows, o, t)
	}
	slab, key := b.parts[0].seq.own.slab, stepKey{b.tokens(), cellsInUse(b.parts), o}
	if i := slices.IndexFunc(slab.steps, func(p *pass) bool { return p.key == key }); i >= 0 {
		p := slab.steps[i]
		slab.steps = append(slices.Delete(slab.steps, i, i+1), p)
		p.move(b, rows)
		return p
	}
	p := m.record(b, rows, o, t)
	p.graph.Keep()
	p.slab, p.key = slab, key
	if slab.steps = append(slab.steps, p); len(slab.steps) > maxSteps {
		oldest := slab.steps[0]
		oldest.fail()
		oldest.close()
	}
	return p
}

// record records the graph of a batch.
func (m *Model) record(b batch, rows lookup, o ggml.GraphOptions, t tracing) *pass {
	g := m.backend.NewGraph(o)
	g.Update(m.rowUpdates(b.parts)...)
	g.Near(m.blocks[0].norm())
	p := &pass{graph: g, rows: rows, step: m.newStep(g, b, t.attentions)}
	x := m.embeddings(g, b, rows)
	for i, layer := range m.blocks {
		if t.hidden {
			p.hidden = append(p.hidden, x)
		}
		g.Near(layer.norm())
		x = layer.attend(g, p.step, i, x)
		if i == len(m.blocks)-1 && !t.hidden {
			x = wanted(g, x, b.outputs)
		}
		x = layer.mlp(g, p.step, x)
	}
	x = g.RMSNorm(x, m.weights.OutputNorm, m.config.Text.RMSEps)
	if t.hidden {
		p.hidden = append(p.hidden, x)
		x = wanted(g, x, b.outputs)
	}
	p.logits = m.head(g, x)
	for _, t := range slices.Concat(p.hidden, p.step.weights, []ggml.Tensor{p.logits}) {
		g.Output(t)
	}
	if m.backend.Attention(m.options) == ggml.AttentionMasked {
		p.likeliest = g.Likeliest(p.logits)
	}
	return p
}

// wanted picks rows of x, which are in order.
func wanted(g *ggml.Graph, x ggml.Tensor, rows []int) ggml.Tensor {
	if int64(len(rows)) == x.Dim(1) {
		return x
	}
	return g.GetRows(x, g.Int32s(int32s(rows), int64(len(rows))))
}

// head turns the last hidden states [h, n] into logits [vocab, n].
func (m *Model) head(g *ggml.Graph, x ggml.Tensor) ggml.Tensor {
	w := m.weights.Head
	if m.config.Tied {
		w = m.weights.Embedding
	}
	logits := w.Mul(g, x)
	if limit := m.config.Text.FinalSoftcap; limit != 0 {
		logits = g.SoftCap(logits, limit)
	}
	return logits
}

// move makes the graph that of another step.
func (p *pass) move(b batch, rows lookup) {
	copy(p.rows.ids, rows.ids)
	copy(p.rows.rows, rows.rows)
	p.step.cells.(*masked).move(p.graph, b)
}

// close frees the graph, unless it is kept.
func (p *pass) close() {
	if p.slab == nil {
		p.graph.Close()
	}
}

// fail has the graph kept no longer.
func (p *pass) fail() {
	if p.slab != nil {
		p.slab.steps = slices.DeleteFunc(p.slab.steps, func(q *pass) bool { return q == p })
		p.slab = nil
	}
}

// read fetches the results of the computed graph; where only the likeliest tokens are asked
// for, the logits only where those cannot be told.
func (p *pass) read(greedy bool) (out output, err error) {
	if p.likeliest.Valid() {
		best, err := p.graph.ReadLikeliest(p.likeliest)
		switch {
		case errors.Is(err, ggml.ErrNotFinite):
			p.spoil()
		case err != nil:
			return out, err
		case greedy:
			return output{best: best}, nil
		}
	}
	if out.logits, err = p.graph.Read(p.logits); err != nil {
		return out, err
	}
	for _, list := range []struct {
		from []ggml.Tensor
		to   *[][]float32
	}{{p.hidden, &out.hidden}, {p.step.weights, &out.attentions}} {
		for _, t := range list.from {
			values, err := p.graph.Read(t)
			if err != nil {
				return out, err
			}
			*list.to = append(*list.to, values)
		}
	}
	return out, nil
}

// next is the output of a step, for each of its tokens.
func (o output) next(vocab int) (all []Next) {
	for _, best := range o.best {
		all = append(all, Next{Best: int(best)})
	}
	for logits := range slices.Chunk(o.logits, vocab) {
		all = append(all, Next{Logits: logits})
	}
	return all
}
