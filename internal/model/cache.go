package model

import (
	"fmt"
	"slices"

	"paligemma/internal/ggml"
)

// Cache keeps the keys and values of sequences, a cell for each token. A sequence
// has runs of cells of its own (see span), so that attention touches no others.
// Cells of released sequences are used again; where there are too few the cache
// grows by another slab. It is not safe for concurrent use.
type Cache struct {
	model *Model
	slabs []*slab
}

// slab is memory for the cells of several sequences.
type slab struct {
	store    *ggml.Store
	keys     []ggml.Tensor // per layer [head_dim, kv_heads, cells]
	values   []ggml.Tensor // per layer as the keys, or [cells, head_dim, kv_heads]: transposed, as the product wants it
	rows     bool          // values lie as the keys do
	cells    int
	reserved []*span // ascending
}

// span is a run of cells that one sequence writes, and that its forks read.
type span struct {
	slab         *slab
	first, cells int
	users        int // sequences
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
		s.store.Close()
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

func (c *Cache) addSlab(cells int) error {
	if cells < 1 || cells > maxCells {
		return fmt.Errorf("a kv cache of %d tokens: want 1 to %d", cells, maxCells)
	}
	cells = roundUp(cells)
	t, typ := c.model.config.Text, c.model.options.CellType()
	d, kv, n := int64(t.HeadDim), int64(t.KVHeads), int64(cells)
	rows := c.model.backend.Cells(c.model.options)
	valuesShape := []int64{n, d, kv}
	if rows {
		valuesShape = []int64{d, kv, n}
	}
	var specs []ggml.Spec
	for layer, b := range c.model.blocks {
		place := c.model.backend.Place(b.norm()) // a layer's cells lie with its weights
		specs = append(specs,
			ggml.Spec{Name: fmt.Sprintf("cache.%d.k", layer), Type: typ, Shape: []int64{d, kv, n}, Place: place},
			ggml.Spec{Name: fmt.Sprintf("cache.%d.v", layer), Type: typ, Shape: valuesShape, Place: place})
	}
	store, err := c.model.backend.NewStore(specs)
	if err != nil {
		return fmt.Errorf("kv cache of %d tokens: %w", cells, err)
	}
	s := &slab{store: store, cells: cells, rows: rows}
	for i, t := range store.Tensors() {
		if i%2 == 0 {
			s.keys = append(s.keys, t)
		} else {
			s.values = append(s.values, t)
		}
	}
	c.slabs = append(c.slabs, s)
	return nil
}

func roundUp(cells int) int { return (cells + spanUnit - 1) / spanUnit * spanUnit }

// reserve finds cells in a row that no one uses, or makes them: a new slab has
// half as many as all before, if that is more.
func (c *Cache) reserve(cells int) (*span, error) {
	have := 0
	for _, s := range c.slabs {
		if found := s.reserve(cells); found != nil {
			return found, nil
		}
		have += s.cells
	}
	if err := c.addSlab(max(cells, min(have/2, maxCells))); err != nil {
		if cells >= have/2 || c.addSlab(cells) != nil { // perhaps there is memory for less
			return nil, err
		}
	}
	return c.slabs[len(c.slabs)-1].reserve(cells), nil
}

// reserve is the first gap that is large enough, or nil.
func (s *slab) reserve(cells int) *span {
	cells, at := roundUp(cells), 0
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
// without any use only the largest stays.
func (c *Cache) release(used *span) {
	if used == nil {
		return
	}
	if used.users--; used.users > 0 {
		return
	}
	s := used.slab
	s.reserved = slices.DeleteFunc(s.reserved, func(r *span) bool { return r == used })
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
		s.store.Close()
		return true
	})
}

// keys are n cells of a layer, from the span's from-th on: [head_dim, kv_heads, n].
func (s *span) keys(g *ggml.Graph, layer, from, n int) ggml.Tensor {
	return g.Slice(s.slab.keys[layer], 2, int64(s.first+from), int64(n))
}

// values are n cells of a layer, from the span's from-th on: [n, head_dim, kv_heads],
// or [head_dim, kv_heads, n] where slabs hold rows.
func (s *span) values(g *ggml.Graph, layer, from, n int) ggml.Tensor {
	if s.slab.rows {
		return g.Slice(s.slab.values[layer], 2, int64(s.first+from), int64(n))
	}
	return g.Slice(s.slab.values[layer], 0, int64(s.first+from), int64(n))
}

// run is n cells of a layer, from the span's first on.
func (s *span) run(g *ggml.Graph, layer, n int) ggml.CellRun {
	return ggml.CellRun{Keys: s.keys(g, layer, 0, n), Values: s.values(g, layer, 0, n)}
}
