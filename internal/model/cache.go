package model

import (
	"fmt"

	"paligemma/internal/ggml"
)

// Cache keeps the keys and values of the tokens seen so far. Cells are
// appended and never moved. Every cell says to which sequences it belongs, so
// that sequences with a common past share its cells: suffixes that are scored
// against one prompt, or beams.
type Cache struct {
	store    *ggml.Store
	keys     []ggml.Tensor // per layer [head_dim, kv_heads, capacity]
	values   []ggml.Tensor // per layer [capacity, head_dim, kv_heads]: transposed, as the product wants it
	cells    []cell
	capacity int
}

// NewCache allocates room for capacity tokens: F32 for a model of F32 weights,
// else F16. The caller closes it before the model.
func (m *Model) NewCache(capacity int) (*Cache, error) {
	t := m.config.Text
	if capacity < 1 || capacity > 1<<24 {
		return nil, fmt.Errorf("a cache of %d tokens", capacity)
	}
	typ := m.options.CellType()
	d, kv, n := int64(t.HeadDim), int64(t.KVHeads), int64(capacity)
	var specs []ggml.Spec
	for layer := range t.Layers {
		specs = append(specs,
			ggml.Spec{Name: fmt.Sprintf("cache.%d.k", layer), Type: typ, Shape: []int64{d, kv, n}},
			ggml.Spec{Name: fmt.Sprintf("cache.%d.v", layer), Type: typ, Shape: []int64{n, d, kv}})
	}
	store, err := m.engine.NewStore(specs)
	if err != nil {
		return nil, fmt.Errorf("kv cache of %d tokens: %w", capacity, err)
	}
	c := &Cache{store: store, capacity: capacity}
	for i, t := range store.Tensors() {
		if i%2 == 0 {
			c.keys = append(c.keys, t)
		} else {
			c.values = append(c.values, t)
		}
	}
	return c, nil
}

// Close frees the cache.
func (c *Cache) Close() {
	if c.store != nil {
		c.store.Close()
		c.store = nil
	}
}

// Len is the number of tokens in the cache.
func (c *Cache) Len() int { return len(c.cells) }

// Truncate forgets all but the first n tokens.
func (c *Cache) Truncate(n int) { c.cells = c.cells[:min(n, len(c.cells))] }

// Select makes sequence i the continuation of what was sequence parents[i],
// without copying anything: the step between two rounds of a beam search.
func (c *Cache) Select(parents []int) {
	for i := range c.cells {
		old, seqs := c.cells[i].seqs, uint64(0)
		for child, parent := range parents {
			seqs |= (old >> parent & 1) << child
		}
		c.cells[i].seqs = seqs
	}
}
