package model

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"paligemma/internal/ggml"
)

// Prompt is the prefix of a sequence: ids as package tokenizer lays them out.
// Each run of ids equal to the image token takes rows of Images, in order.
type Prompt struct {
	IDs    []int
	Images []Features
}

// batch is a group of tokens to be appended to a cache, of one or several
// sequences.
type batch struct {
	embeddings []float32 // [T, hidden]
	cells      []cell    // [T]
	outputs    []int     // whose logits are wanted, ascending
}

// output is what a forward pass gives.
type output struct {
	logits     []float32   // [len(batch.outputs), vocab]
	hidden     [][]float32 // if traced: layers+1 of [T, hidden]
	attentions [][]float32 // if traced: layers of [heads, T, n]
}

// tracing says what else than logits a forward pass shall keep.
type tracing struct{ hidden, attentions bool }

// forward appends a batch to the cache and computes the logits asked for.
func (m *Model) forward(ctx context.Context, cache *Cache, b batch, t tracing) (output, error) {
	tokens, past := len(b.cells), cache.Len()
	if tokens == 0 || len(b.outputs) == 0 {
		return output{}, errors.New("nothing to compute")
	}
	if past+tokens > cache.capacity {
		return output{}, fmt.Errorf("%d tokens do not fit in a cache of %d", past+tokens, cache.capacity)
	}
	keys := append(cache.cells[:past:past], b.cells...)

	g := m.engine.NewGraph(m.options)
	defer g.Close()
	s := m.newStep(g, cache, b.cells, keys, t.attentions)
	x := g.Float32s(b.embeddings, int64(m.config.Text.Hidden), int64(tokens))
	var hidden []ggml.Tensor
	for i, layer := range m.blocks {
		if t.hidden {
			hidden = append(hidden, x)
		}
		x = layer.attend(g, s, i, x)
		if i == len(m.blocks)-1 && !t.hidden && len(b.outputs) < tokens {
			x = g.GetRows(x, g.Int32s(int32s(b.outputs), int64(len(b.outputs))))
		}
		x = layer.mlp(g, s, x)
	}
	x = g.RMSNorm(x, m.weights.OutputNorm, m.config.Text.RMSEps)
	if t.hidden {
		hidden = append(hidden, x)
		if len(b.outputs) < tokens {
			x = g.GetRows(x, g.Int32s(int32s(b.outputs), int64(len(b.outputs))))
		}
	}
	logits := m.head(g, x)
	for _, h := range hidden[:max(0, len(hidden)-1)] {
		g.Output(h)
	}
	for _, w := range s.weights {
		g.Output(w)
	}
	if t.hidden {
		g.Output(hidden[len(hidden)-1])
	}
	g.Output(logits)
	if err := g.Compute(ctx); err != nil {
		return output{}, fmt.Errorf("language model: %w", err)
	}
	cache.cells = keys
	return read(g, logits, hidden, s.weights)
}

// newStep uploads what all layers share.
func (m *Model) newStep(g *ggml.Graph, cache *Cache, queries, keys []cell, traced bool) *step {
	n, tokens := int64(len(keys)), int64(len(queries))
	s := &step{
		config: m.config.Text, cache: cache, tokens: tokens, traced: traced,
		rotary: g.NewRotary(positions(queries), m.config.Text.HeadDim, m.config.Text.RopeTheta),
	}
	if allVisible(queries, keys) {
		return s
	}
	s.mask = g.Float32s(attentionMask(queries, keys, 0), n, tokens)
	if w := m.config.Text.SlidingWindow; w > 0 {
		s.window = g.Float32s(attentionMask(queries, keys, w), n, tokens)
	}
	return s
}

// head turns the last hidden states [h, n] into logits [vocab, n].
func (m *Model) head(g *ggml.Graph, x ggml.Tensor) ggml.Tensor {
	w := m.weights.Head
	if m.config.Tied {
		w = m.weights.Embedding
	}
	logits := w.Mul(g, x)
	if limit := m.config.Text.FinalSoftcap; limit != 0 {
		logits = softcap(g, logits, limit)
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

// prefix makes the batch of a prompt for the sequences in seqs; outputs are
// the caller's.
func (m *Model) prefix(p Prompt, seqs uint64) (batch, error) {
	hidden := m.config.Text.Hidden
	b := batch{embeddings: make([]float32, len(p.IDs)*hidden), cells: make([]cell, len(p.IDs))}
	if err := m.embed(b.embeddings, m.textIDs(p.IDs)); err != nil {
		return b, err
	}
	var rows []float32
	for _, image := range p.Images {
		rows = append(rows, image.Values...)
	}
	for i, id := range p.IDs {
		b.cells[i] = cell{pos: int32(i + 1), seqs: seqs, prefix: true}
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

// suffix appends causal tokens at the positions after last to a batch.
func (m *Model) suffix(b *batch, ids []int, last int, seqs uint64) error {
	embeddings := make([]float32, len(ids)*m.config.Text.Hidden)
	if err := m.embed(embeddings, ids); err != nil {
		return err
	}
	b.embeddings = append(b.embeddings, embeddings...)
	for i := range ids {
		b.cells = append(b.cells, cell{pos: int32(last + 1 + i), seqs: seqs})
	}
	return nil
}

func int32s(values []int) []int32 {
	out := make([]int32, len(values))
	for i, v := range values {
		out[i] = int32(v)
	}
	return out
}

func positions(cells []cell) []int32 {
	out := make([]int32, len(cells))
	for i, c := range cells {
		out[i] = c.pos
	}
	return out
}
