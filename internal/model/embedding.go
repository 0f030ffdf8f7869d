package model

import (
	"fmt"
	"math"

	"paligemma/internal/ggml"
	"paligemma/internal/gguf"
)

// embedding is the token embedding as rows to look up, apart from the tensor that may
// be the head, too.
type embedding struct {
	typ     gguf.Type
	stored  int    // values of a row, with those that pad it
	rows    []byte // of all tokens
	updates []LowRank
	changed bool // by adapters
}

func newEmbedding(t gguf.Tensor, data []byte) embedding {
	return embedding{typ: t.Type, stored: int(t.Shape[0]), rows: data}
}

// change applies what adapters change, whose shapes were checked.
func (e *embedding) change(c Change) {
	e.changed = true
	if c.Values != nil {
		e.stored = len(c.Values) / (len(e.rows) / e.rowBytes())
		e.typ, e.rows = gguf.TypeF32, ggml.NewSpec(c.Tensor, c.Values, len(c.Values)).Data
	}
	e.updates = active(c.LowRank)
}

// rowBytes is the size of a row.
func (e embedding) rowBytes() int {
	n, _ := e.typ.RowBytes(int64(e.stored)) // was checked with the file's tensors
	return int(n)
}

// row writes the row of a token, which must be in the vocabulary, to dst [stored].
func (e embedding) row(dst []float32, id int) error {
	size := e.rowBytes()
	if err := ggml.Dequantize(e.typ, dst, e.rows[id*size:][:size], e.stored); err != nil {
		return err
	}
	for _, u := range e.updates {
		width := len(u.A) / u.Rank
		if err := ggml.AddLowRank(dst[:width], width, u.A, u.B[id*u.Rank:][:u.Rank], u.Scale); err != nil {
			return err
		}
	}
	return nil
}

// placed is rows of an image in place of the embeddings of tokens.
type placed struct {
	image   Features
	row, at int // of the image, and of the tokens
	n       int
}

// shelf is which rows of the shelf it is; nil where the image is not shelved.
func (p placed) shelf() []int32 {
	if !p.image.shelved() {
		return nil
	}
	rows := make([]int32, p.n)
	for i := range rows {
		rows[i] = int32(p.image.seat.row + p.row + i)
	}
	return rows
}

// tensor is the rows as a graph of the images' model takes them: [hidden, n]. shelf is what
// the method of that name returns, and an input of the graph.
func (p placed) tensor(g *ggml.Graph, m *Model, shelf []int32) ggml.Tensor {
	if shelf != nil {
		return g.GetRows(m.shelf.rows, g.Int32s(shelf, int64(p.n)))
	}
	hidden := m.config.Text.Hidden
	return g.Float32s(p.image.here()[p.row*hidden:][:p.n*hidden], int64(hidden), int64(p.n))
}

// place finds the tokens of a prompt that stand for rows of its images.
func (m *Model) place(p Prompt) (all []placed, err error) {
	image, row, left := 0, 0, 0
	images := make([]Features, len(p.Images))
	for i, f := range p.Images {
		if images[i], err = f.of(m); err != nil {
			return nil, err
		}
		left += f.Tokens
	}
	for at, id := range p.IDs {
		if id != m.config.Tokens.Image {
			continue
		}
		for image < len(images) && row == images[image].Tokens {
			image, row = image+1, 0
		}
		if image == len(images) {
			return nil, fmt.Errorf("the prompt has more image tokens than the %d images given", len(images))
		}
		if last := len(all) - 1; row > 0 && all[last].at+all[last].n == at {
			all[last].n++
		} else {
			all = append(all, placed{images[image], row, at, 1})
		}
		row++
		left--
	}
	if left > 0 {
		return nil, fmt.Errorf("the prompt has %d image tokens too few for %d images", left, len(images))
	}
	return all, nil
}

// checkIDs reports the first token that has no embedding.
func (m *Model) checkIDs(ids []int) error {
	for _, id := range ids {
		if id < 0 || id >= m.config.Text.Vocab {
			return fmt.Errorf("token id %d is outside the vocabulary of %d", id, m.config.Text.Vocab)
		}
	}
	return nil
}

// lookup is the embeddings of a batch, or what a device finds them by.
type lookup struct {
	ids  []int32   // nil: they are in rows
	rows []float32 // [T, hidden]
	// shelf is, of each of the batch's images, the rows of the shelf that it is in; nil: it
	// is not shelved. A kept graph is for other images once the values are others.
	shelf [][]int32
}

// lookUp checks the tokens of a batch, and finds their embeddings unless the device does.
func (m *Model) lookUp(b batch) (l lookup, err error) {
	if err := m.checkIDs(b.ids); err != nil {
		return l, err
	}
	if m.onDevice {
		l.ids = int32s(b.ids)
		for _, p := range b.images {
			l.shelf = append(l.shelf, p.shelf())
		}
		return l, nil
	}
	hidden := m.config.Text.Hidden
	l.rows = make([]float32, len(b.ids)*hidden)
	if err := m.embed(l.rows, b.ids); err != nil {
		return l, err
	}
	for _, p := range b.images {
		copy(l.rows[p.at*hidden:], p.image.Values[p.row*hidden:][:p.n*hidden])
	}
	return l, nil
}

// embedScale is what Gemma scales embeddings by: √hidden.
func (m *Model) embedScale() float32 { return float32(math.Sqrt(float64(m.config.Text.Hidden))) }

// embed looks up the embeddings of tokens, scaled, into dst [len(ids), hidden].
func (m *Model) embed(dst []float32, ids []int) error {
	hidden, scale := m.config.Text.Hidden, m.embedScale()
	row := make([]float32, m.embedding.stored)
	for i, id := range ids {
		if err := m.embedding.row(row, id); err != nil {
			return err
		}
		for j, v := range row[:hidden] {
			dst[i*hidden+j] = v * scale
		}
	}
	return nil
}

// embeddings are those of a batch as a graph takes them: [hidden, T].
func (m *Model) embeddings(g *ggml.Graph, b batch, l lookup) ggml.Tensor {
	hidden, tokens := int64(m.config.Text.Hidden), int64(b.tokens())
	if l.ids == nil {
		return g.Float32s(l.rows, hidden, tokens)
	}
	found := g.GetRows(m.weights.Embedding.tensor, g.Int32s(l.ids, tokens))
	if found.Dim(0) > hidden {
		found = g.Cont(g.Slice(found, 0, 0, hidden))
	}
	found = g.Scale(found, m.embedScale())
	at := int64(0)
	var x ggml.Tensor
	add := func(rows ggml.Tensor) {
		if at == 0 {
			x = rows
		} else {
			x = g.Concat(x, rows, 1)
		}
		at += rows.Dim(1)
	}
	for i, p := range b.images {
		if n := int64(p.at) - at; n > 0 {
			add(g.Slice(found, 1, at, n))
		}
		add(p.tensor(g, m, l.shelf[i]))
	}
	if n := tokens - at; n > 0 {
		add(g.Slice(found, 1, at, n))
	}
	return x
}
