package model

import (
	"slices"
	"testing"

	"paligemma/internal/ggml"
)

// TestPassParts counts the parts that fit in the graph of a pass, by how attention takes them
// and what they have in common.
func TestPassParts(t *testing.T) {
	const layers = 18 // of which each has room for 739 tensors, with adapters for 659
	text := func(int) *Sequence { return &Sequence{own: &span{cells: 32}} }
	shared := &span{}
	forks := func(int) *Sequence { return &Sequence{own: &span{}, shared: shared, inherited: 3} }
	families := func(i int) *Sequence { return &Sequence{own: &span{}, shared: &span{}, inherited: i} }
	one := &Adapters{}
	adapters := func(int) *Sequence { return &Sequence{own: &span{}, adapters: one} }
	different := func(int) *Sequence { return &Sequence{own: &span{}, adapters: &Adapters{}} }
	far := func(i int) *Sequence { return &Sequence{own: &span{first: i * 64 * ggml.CellUnit}} }
	plain, written, ranges := ggml.GraphOptions{Plain: true}, ggml.GraphOptions{Exact: true}, ggml.GraphOptions{}
	backend, err := ggml.NewBackend(ggml.Options{Device: "cpu", Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer backend.Close()
	for _, c := range []struct {
		name    string
		options ggml.GraphOptions
		layers  int
		text    func(int) *Sequence
		tokens  int
		want    int // of 400
	}{
		{"texts", written, layers, text, 1, 30},
		{"forks of one text", written, layers, forks, 1, 24},
		{"forks of different texts", written, layers, families, 1, 20},
		{"texts, in ranges", ranges, layers, text, 1, 369},
		{"forks of one text, in ranges", ranges, layers, forks, 1, 184},
		{"different adapters, in ranges", ranges, layers, different, 1, 329},
		{"texts, masked", plain, layers, text, 1, 400},
		{"forks, masked", plain, layers, families, 1, 400},
		{"the same adapters, masked", plain, layers, adapters, 1, 400},
		{"different adapters, masked", plain, layers, different, 1, 6},
		{"more layers than fit", written, 500, text, 1, 1},
		{"masks of many tokens", plain, layers, text, 4 << 10, 2},
		{"masks of many cells", plain, layers, far, 4, 23},
		{"a mask that is too large", plain, layers, text, 32 << 20, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := &Model{backend: backend, options: c.options, config: Config{Text: TextConfig{Layers: c.layers}}}
			parts := make([]*part, 400)
			for i := range parts {
				parts[i] = &part{seq: c.text(i), tokens: c.tokens}
			}
			if got := m.passParts(parts); got != c.want {
				t.Errorf("%d parts, want %d", got, c.want)
			}
		})
	}
}

// TestPositions counts from 1 on, in each text.
func TestPositions(t *testing.T) {
	b := batch{parts: []*part{{seq: &Sequence{length: 3}, tokens: 2}, {seq: &Sequence{}, tokens: 1}}}
	if got := b.positions(); !slices.Equal(got, []int32{4, 5, 1}) || b.parts[0].from != 0 || b.parts[1].from != 2 {
		t.Errorf("positions %v, the parts from %d and %d on", got, b.parts[0].from, b.parts[1].from)
	}
}
