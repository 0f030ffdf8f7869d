package model

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"paligemma/internal/ggml"
	"paligemma/internal/gguf"
)

// Prompt is the prefix of a sequence: ids as package tokenizer lays them out.
// Each run of ids equal to the image token takes rows of Images, in order.
type Prompt struct {
	IDs    []int
	Images []Features
}

// batch is what one pass appends to sequences.
type batch struct {
	embeddings []float32 // [T, hidden]
	parts      []*part   // of T tokens together
	outputs    []int     // tokens whose logits are wanted, ascending
}

// part is what a pass appends to one sequence.
type part struct {
	seq    *Sequence
	tokens int
	from   int // the first one's place in the pass

	whole        bool             // an empty sequence's, all of which sees all of it
	seen, near   []ggml.CellRange // of each token, without and with the sliding window
	mask, window ggml.Tensor      // the same as masks [n, tokens], for n cells; the zero Tensor where all are visible
}

// tokens is T.
func (b batch) tokens() int {
	n := 0
	for _, p := range b.parts {
		n += p.tokens
	}
	return n
}

// commit makes what was computed part of the sequences.
func (b batch) commit() {
	for _, p := range b.parts {
		p.seq.length += p.tokens
	}
}

// output is what a forward pass gives.
type output struct {
	logits     []float32   // [len(batch.outputs), vocab]
	hidden     [][]float32 // if traced: layers+1 of [T, hidden]
	attentions [][]float32 // if traced: layers of [heads, T, n]
}

// tracing says what else than logits a forward pass shall keep, of one sequence.
type tracing struct{ hidden, attentions bool }

// forward writes the keys and values of a batch to the cache and computes the
// logits asked for. The sequences grow when the caller commits the batch.
func (m *Model) forward(ctx context.Context, b batch, o ggml.GraphOptions, t tracing) (output, error) {
	tokens := b.tokens()
	if tokens == 0 || len(b.outputs) == 0 {
		return output{}, errors.New("nothing to compute")
	}
	for _, p := range b.parts {
		if err := p.seq.extend(ctx, p.tokens); err != nil {
			return output{}, err
		}
	}
	g := m.backend.NewGraph(o)
	defer g.Close()
	g.Near(m.blocks[0].norm())
	s := m.newStep(g, b, t.attentions)
	x := g.Float32s(b.embeddings, int64(m.config.Text.Hidden), int64(tokens))
	var hidden []ggml.Tensor
	for i, layer := range m.blocks {
		if t.hidden {
			hidden = append(hidden, x)
		}
		if g.Near(layer.norm()) {
			s.allocate(g)
		}
		x = layer.attend(g, s, i, x)
		if i == len(m.blocks)-1 && !t.hidden {
			x = wanted(g, x, b.outputs)
		}
		x = layer.mlp(g, s, x)
	}
	x = g.RMSNorm(x, m.weights.OutputNorm, m.config.Text.RMSEps)
	if t.hidden {
		hidden = append(hidden, x)
		x = wanted(g, x, b.outputs)
	}
	logits := m.head(g, x)
	for _, kept := range [][]ggml.Tensor{hidden, s.weights, {logits}} {
		for _, t := range kept {
			g.Output(t)
		}
	}
	if err := g.Compute(ctx); err != nil {
		return output{}, fmt.Errorf("language model: %w", err)
	}
	return read(g, logits, hidden, s.weights)
}

// wanted picks rows of x, which are in order.
func wanted(g *ggml.Graph, x ggml.Tensor, rows []int) ggml.Tensor {
	if int64(len(rows)) == x.Dim(1) {
		return x
	}
	return g.GetRows(x, g.Int32s(int32s(rows), int64(len(rows))))
}

// newStep uploads what all layers share.
func (m *Model) newStep(g *ggml.Graph, b batch, traced bool) *step {
	t := m.config.Text
	s := &step{config: t, parts: b.parts, tokens: int64(b.tokens()), traced: traced}
	var positions []int32
	from := 0
	for _, p := range b.parts {
		p.from = from
		from += p.tokens
		n := p.seq.length + p.tokens
		cells := p.seq.cells(0, n)
		queries := cells[p.seq.length:]
		for _, q := range queries {
			positions = append(positions, q.pos)
		}
		p.see(g, queries, cells, t.SlidingWindow, traced)
		if p.seq.shared != nil {
			s.longest = max(s.longest, int64(n))
		}
	}
	s.rotary = g.NewRotary(positions, t.HeadDim, t.RopeTheta)
	s.cellType = m.options.CellType()
	s.allocate(g)
	return s
}

// allocate makes the memory that layers on one device use one after the other.
func (s *step) allocate(g *ggml.Graph) {
	if g.Cells() {
		return
	}
	d, kv := int64(s.config.HeadDim), int64(s.config.KVHeads)
	if s.longest > 0 {
		s.keys = g.Scratch(s.cellType, d, kv, s.longest)
		s.values = g.Scratch(s.cellType, s.longest, d, kv)
	}
	if len(s.parts) > 1 {
		s.out = g.Scratch(gguf.TypeF32, d, int64(s.config.Heads), s.tokens)
	}
}

// see notes which of the cells the part's tokens see. Where attention does not take
// ranges of cells, or is traced, masks are uploaded.
func (p *part) see(g *ggml.Graph, queries, cells []cell, window int, traced bool) {
	if g.Cells() {
		p.seen = visibleRanges(queries, p.seq.prompt, 0)
		p.near = visibleRanges(queries, p.seq.prompt, window)
		p.whole = p.seq.length == 0 && allVisible(queries, cells, window)
	}
	if g.Cells() && !traced {
		return
	}
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

// read fetches the results of a computed graph.
func read(g *ggml.Graph, logits ggml.Tensor, hidden, weights []ggml.Tensor) (out output, err error) {
	if out.logits, err = g.Read(logits); err != nil {
		return out, err
	}
	for _, list := range []struct {
		from []ggml.Tensor
		to   *[][]float32
	}{{hidden, &out.hidden}, {weights, &out.attentions}} {
		for _, t := range list.from {
			values, err := g.Read(t)
			if err != nil {
				return out, err
			}
			*list.to = append(*list.to, values)
		}
	}
	return out, nil
}

// prefix makes the batch of a prompt for an empty sequence; outputs are the
// caller's.
func (m *Model) prefix(s *Sequence, p Prompt) (batch, error) {
	if err := s.check(m); err != nil {
		return batch{}, err
	}
	if s.length > 0 {
		return batch{}, errors.New("the sequence has a prompt already")
	}
	hidden := m.config.Text.Hidden
	b := batch{embeddings: make([]float32, len(p.IDs)*hidden), parts: []*part{{seq: s, tokens: len(p.IDs)}}}
	if err := m.embed(b.embeddings, m.textIDs(p.IDs)); err != nil {
		return b, err
	}
	var rows []float32
	for _, image := range p.Images {
		rows = append(rows, image.Values...)
	}
	for i, id := range p.IDs {
		if id != m.config.Tokens.Image {
			continue
		}
		if len(rows) < hidden {
			return b, fmt.Errorf("the prompt has more image tokens than the %d images given", len(p.Images))
		}
		copy(b.embeddings[i*hidden:], rows[:hidden])
		rows = rows[hidden:]
	}
	if len(rows) > 0 {
		return b, fmt.Errorf("the prompt has %d image tokens too few for %d images", len(rows)/hidden, len(p.Images))
	}
	s.prompt = len(p.IDs)
	return b, nil
}

// textIDs are a prompt's ids with others in place of the image tokens' where
// the embedding has no row for those: their rows are replaced anyway.
func (m *Model) textIDs(ids []int) []int {
	image := m.config.Tokens.Image
	if image < m.config.Text.Vocab {
		return ids
	}
	out := slices.Clone(ids)
	for i, id := range out {
		if id == image {
			out[i] = m.config.Tokens.PAD
		}
	}
	return out
}

func int32s(values []int) []int32 {
	out := make([]int32, len(values))
	for i, v := range values {
		out[i] = int32(v)
	}
	return out
}
