package model

import "paligemma/internal/ggml"

// SetFlashTokens changes from how many queries on attention is computed in
// tiles, and returns what it was.
func SetFlashTokens(n int64) int64 {
	old := flashTokens
	flashTokens = n
	return old
}

// Joined is the number of layers whose Q, K and V are one matrix, of so many.
func (m *Model) Joined() (joined, layers int) {
	for _, t := range m.joined() {
		layers++
		if t.Valid() {
			joined++
		}
	}
	return joined, layers
}

// Separate undoes that.
func (m *Model) Separate() {
	for _, t := range m.joined() {
		*t = ggml.Tensor{}
	}
}

func (m *Model) joined() (all []*ggml.Tensor) {
	for i := range m.weights.Vision.Layers {
		all = append(all, &m.weights.Vision.Layers[i].joined)
	}
	for _, b := range m.blocks {
		all = append(all, &b.attention().joined)
	}
	return all
}

// SetCut changes where the rows of an MLP are cut in two.
func SetCut(f func(ggml.Tensor) int64) { cut = f }
