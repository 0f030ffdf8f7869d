package model

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"paligemma/internal/ggml"
)

// Cache keeps the keys and values of sequences, a cell for each token. A sequence
// has runs of cells of its own (see span), so that attention touches no others.
// Cells of released sequences are used again; where there are too few the cache
// grows by another slab, or its one slab grows where attention takes cells of one only.
// It is not safe for concurrent use.
type Cache struct {
	model *Model
	slabs []*slab
}

// slab is memory for the cells of several sequences. How a layer's keys and values lie
// depends on what attends to them (ggml.Attention):
//
//	             keys                         values
//	written out  [head_dim, kv_heads, cells]  [cells, head_dim, kv_heads]: as the product wants them
//	in ranges    [head_dim, kv_heads, cells]  the same
//	masked       [head_dim·kv_heads, cells]   the same
type slab struct {
	store        *ggml.Store
	keys, values []ggml.Tensor // per layer
	keyDim       int           // the dimension of the keys' cells
	valueDim     int           // and of the values'
	cells        int
	reserved     []*span // ascending
	steps        passes  // graphs of steps with these cells
	prompts      passes  // and of prompts
	latest       passKey // of the last prompt's graph
}

// span is a run of cells that one sequence writes, and that its forks read.
type span struct {
	slab         *slab
	first, cells int
	users        int  // sequences
	spoiled      bool // some of its values may be NaN or infinite
}

const (
	maxCells = 1 << 24 // of a slab
	spanUnit = 32      // cells; spans begin and end at multiples, so that rows are aligned
)

// NewCache allocates room for some tokens: F32 for a model of F32 weights, else
// F16. It grows where more are needed. The caller closes it before the model.
func (m *Model) NewCache(tokens int) (*Cache, error) {
	c := &Cache{model: m}
	if err := c.addSlab(tokens); err != nil {
		return nil, err
	}
	return c, nil
}

// Close frees the cache, and its sequences with it.
func (c *Cache) Close() {
	for _, s := range c.slabs {
		s.close()
	}
	c.slabs, c.model = nil, nil
}

// Bytes returns the memory that the cache takes, used or not.
func (c *Cache) Bytes() int64 {
	n := int64(0)
	for _, s := range c.slabs {
		n += s.store.Bytes()
	}
	return n
}

// newSlab allocates cells.
func (c *Cache) newSlab(cells int) (*slab, error) {
	if cells < 1 || cells > maxCells {
		return nil, fmt.Errorf("a kv cache of %d tokens: want 1 to %d", cells, maxCells)
	}
	t := c.model.config.Text
	s := &slab{cells: roundUp(cells, spanUnit)}
	if c.model.masked() {
		s.cells = roundUp(cells, ggml.CellUnit)
	}
	d, kv, n := int64(t.HeadDim), int64(t.KVHeads), int64(s.cells)
	var keys, values []int64
	switch c.model.backend.Attention(c.model.options) {
	case ggml.AttentionMasked:
		keys, s.keyDim, values, s.valueDim = []int64{d * kv, n}, 1, []int64{d * kv, n}, 1
	case ggml.AttentionRanges:
		keys, s.keyDim, values, s.valueDim = []int64{d, kv, n}, 2, []int64{d, kv, n}, 2
	default:
		keys, s.keyDim, values, s.valueDim = []int64{d, kv, n}, 2, []int64{n, d, kv}, 0
	}
	return s, s.allocate(c.model, keys, values)
}

// allocate makes the tensors of all layers.
func (s *slab) allocate(m *Model, keys, values []int64) (err error) {
	var specs []ggml.Spec
	for layer, b := range m.blocks {
		place := m.backend.Place(b.norm()) // a layer's cells lie with its weights
		specs = append(specs,
			ggml.Spec{Name: fmt.Sprintf("cache.%d.k", layer), Type: m.options.CellType(), Shape: keys, Place: place},
			ggml.Spec{Name: fmt.Sprintf("cache.%d.v", layer), Type: m.options.CellType(), Shape: values, Place: place})
	}
	if s.store, err = m.backend.NewStore(specs); err != nil {
		return fmt.Errorf("kv cache of %d tokens: %w", s.cells, err)
	}
	for i, t := range s.store.Tensors() {
		if i%2 == 0 {
			s.keys = append(s.keys, t)
		} else {
			s.values = append(s.values, t)
		}
	}
	return nil
}

// close frees the cells and the graphs that use them.
func (s *slab) close() {
	s.forget()
	s.store.Close()
}

// masked reports whether attention takes the cells of one slab only, as on other devices than
// the CPU.
func (m *Model) masked() bool { return m.backend.Attention(m.options) == ggml.AttentionMasked }

func (c *Cache) addSlab(cells int) error {
	s, err := c.newSlab(cells)
	if err != nil {
		return err
	}
	if c.model.masked() {
		s.store.Clear() // cells that are hidden count 0 times, and 0 times what memory held before may be NaN
	}
	c.slabs = append(c.slabs, s)
	return nil
}

// SequenceMemory returns how many bytes of a cache a sequence of some tokens takes, or a
// fork of one that writes as many.
func (m *Model) SequenceMemory(tokens int) int64 {
	size := int64(m.options.CellType().BlockBytes())
	return m.config.SequenceMemory(roundUp(tokens, spanUnit)) / floatSize * size
}

func roundUp(n, unit int) int { return (n + unit - 1) / unit * unit }

// reserve finds cells in a row that no one uses, or makes them: a new slab has
// half as many as all before, if that is more.
func (c *Cache) reserve(ctx context.Context, cells int) (*span, error) {
	have := 0
	for _, s := range c.slabs {
		if found := s.reserve(cells); found != nil {
			return found, nil
		}
		have += s.cells
	}
	if c.model.masked() && have > 0 {
		s := c.slabs[0]
		grown, err := c.grow(ctx, s, cells)
		if len(s.reserved) > 0 || !errors.Is(err, ggml.ErrMemory) {
			return grown, err
		}
		s.close() // perhaps there is memory without it
		c.slabs, have = nil, 0
	}
	if err := c.addSlab(max(cells, min(have/2, maxCells))); err != nil {
		if cells >= have/2 || c.addSlab(cells) != nil { // perhaps there is memory for less
			return nil, err
		}
	}
	return c.slabs[len(c.slabs)-1].reserve(cells), nil
}

// grow gives a slab more cells, of which so many are in a row. What it has is copied.
func (c *Cache) grow(ctx context.Context, s *slab, cells int) (*span, error) {
	least := roundUp(cells, spanUnit)
	if len(s.reserved) > 0 {
		least += s.cells
	}
	bigger, err := c.newSlab(max(least, min(s.cells+s.cells/2, maxCells)))
	if err != nil { // perhaps there is memory for less
		if bigger, err = c.newSlab(least); err != nil {
			return nil, err
		}
	}
	bigger.store.Clear()
	if err := bigger.copyFrom(ctx, c.model, s); err != nil {
		bigger.close()
		return nil, err
	}
	s.close()
	s.store, s.keys, s.values, s.cells = bigger.store, bigger.keys, bigger.values, bigger.cells
	return s.reserve(cells), nil
}

// copyFrom copies the cells of a smaller slab, where any are in use.
func (s *slab) copyFrom(ctx context.Context, m *Model, from *slab) error {
	if len(from.reserved) == 0 {
		return nil
	}
	return m.copyCells(ctx, func(g *ggml.Graph, layer int) {
		g.Run(g.Copy(from.keys[layer], g.Slice(s.keys[layer], s.keyDim, 0, int64(from.cells))))
		g.Run(g.Copy(from.values[layer], g.Slice(s.values[layer], s.valueDim, 0, int64(from.cells))))
	})
}

// copyCells copies what record records of each layer's cells.
func (m *Model) copyCells(ctx context.Context, record func(g *ggml.Graph, layer int)) error {
	err := m.backend.MakeRoom(func() error {
		g := m.backend.NewGraph(m.options)
		defer g.Close()
		for layer := range m.blocks {
			record(g, layer)
		}
		return g.Compute(ctx)
	})
	if err != nil {
		return fmt.Errorf("kv cache: %w", err)
	}
	return nil
}

// reserve is the first gap that is large enough, or nil.
func (s *slab) reserve(cells int) *span {
	cells, at := roundUp(cells, spanUnit), 0
	for i := 0; i <= len(s.reserved); i++ {
		end := s.cells
		if i < len(s.reserved) {
			end = s.reserved[i].first
		}
		if end-at >= cells {
			found := &span{slab: s, first: at, cells: cells, users: 1}
			s.reserved = slices.Insert(s.reserved, i, found)
			return found
		}
		if i < len(s.reserved) {
			at = end + s.reserved[i].cells
		}
	}
	return nil
}

// release gives up one use of a span, and its cells after the last. Of slabs
// without any use only the largest stays. All are gone once the cache is closed.
func (c *Cache) release(used *span) {
	if used == nil || c.model == nil {
		return
	}
	if used.users--; used.users > 0 {
		return
	}
	s := used.slab
	s.reserved = slices.DeleteFunc(s.reserved, func(r *span) bool { return r == used })
	if used.spoiled {
		used.clear()
	}
	var spare *slab
	for _, s := range c.slabs {
		if len(s.reserved) == 0 && (spare == nil || s.cells > spare.cells) {
			spare = s
		}
	}
	c.slabs = slices.DeleteFunc(c.slabs, func(s *slab) bool {
		if len(s.reserved) > 0 || s == spare {
			return false
		}
		s.close()
		return true
	})
}

// keys are n cells of a layer, from the span's from-th on, as the slab has them.
func (s *span) keys(g *ggml.Graph, layer, from, n int) ggml.Tensor {
	return g.Slice(s.slab.keys[layer], s.slab.keyDim, int64(s.first+from), int64(n))
}

// values are n cells of a layer, from the span's from-th on, as the slab has them.
func (s *span) values(g *ggml.Graph, layer, from, n int) ggml.Tensor {
	return g.Slice(s.slab.values[layer], s.slab.valueDim, int64(s.first+from), int64(n))
}
