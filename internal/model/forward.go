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
	IDs      []int
	Images   []Features
	Adapters *Adapters // that the text is computed with; nil: none but those of Load
}

// batch is what one pass appends to sequences.
type batch struct {
	ids     []int    // of T tokens
	images  []placed // in place of the embeddings of some
	parts   []*part  // of T tokens together
	outputs []int    // tokens whose logits are wanted, ascending
	greedy  bool     // of those only the likeliest token is wanted
	step    bool     // one token of each part
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
func (b batch) tokens() int { return len(b.ids) }

// commit makes what was computed part of the sequences.
func (b batch) commit() {
	for _, p := range b.parts {
		p.seq.length += p.tokens
	}
}

// output is what a forward pass gives.
type output struct {
	logits     []float32   // [len(batch.outputs), vocab], or nil:
	best       []int32     // the likeliest token after each of batch.outputs
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
	rows, err := m.lookUp(b)
	if err != nil {
		return output{}, err
	}
	if err := extend(ctx, b.parts); err != nil {
		return output{}, err
	}
	p, err := m.compute(ctx, b, rows, o, t)
	defer p.graph.Release()
	if err != nil {
		p.graph.Close()
		p.spoil() // what it wrote before is unknown
		return output{}, fmt.Errorf("language model: %w", err)
	}
	return p.read(b.greedy)
}

// compute computes the graph of a batch.
func (m *Model) compute(ctx context.Context, b batch, rows lookup, o ggml.GraphOptions, t tracing) (*pass, error) {
	return computeRecorded(ctx, m.backend, func(keep bool) *pass {
		if keep {
			return m.passOf(b, rows, o, t)
		}
		b.parts[0].seq.own.slab.latest = passKey{} // the next prompt is no second one
		return m.record(b, rows, o, t)
	})
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
	if err := p.Adapters.check(m); err != nil {
		return batch{}, err
	}
	ids := m.textIDs(p.IDs)
	if err := m.checkIDs(ids); err != nil {
		return batch{}, err
	}
	images, err := m.place(p)
	if err != nil {
		return batch{}, err
	}
	s.prompt, s.adapters = len(p.IDs), p.Adapters
	return batch{ids: ids, images: images, parts: []*part{{seq: s, tokens: len(p.IDs)}}}, nil
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
