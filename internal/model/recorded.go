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
	if m.masked() {
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
