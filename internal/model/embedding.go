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
}

func newEmbedding(t gguf.Tensor, data []byte) embedding {
	return embedding{typ: t.Type, stored: int(t.Shape[0]), rows: data}
}

// change applies what adapters change, whose shapes were checked.
func (e *embedding) change(c Change) {
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

// embed looks up the embeddings of tokens, scaled by √hidden as Gemma scales
// them, into dst [len(ids), hidden].
func (m *Model) embed(dst []float32, ids []int) error {
	hidden := m.config.Text.Hidden
	scale := float32(math.Sqrt(float64(hidden)))
	row := make([]float32, m.embedding.stored)
	for i, id := range ids {
		if id < 0 || id >= m.config.Text.Vocab {
			return fmt.Errorf("token id %d is outside the vocabulary of %d", id, m.config.Text.Vocab)
		}
		if err := m.embedding.row(row, id); err != nil {
			return err
		}
		for j, v := range row[:hidden] {
			dst[i*hidden+j] = v * scale
		}
	}
	return nil
}
