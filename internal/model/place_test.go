package model

import (
	"testing"

	"paligemma/internal/gguf"
)

// TestPlace places the tensors of a model on three devices, of which the second has the tower
// and no layers.
func TestPlace(t *testing.T) {
	p := Plan{Shares: []Share{{Device: "cuda1", Layers: 7}, {Device: "cuda0", First: 7, Vision: true}, {Device: "cpu", Host: true, First: 7, Layers: 11, Head: true}}}
	c, _ := Release("3b-224")
	for _, spec := range c.Tensors() {
		want := 2 // embedding and final norm
		switch layer := spec.textLayer(); {
		case spec.vision():
			want = 1
		case layer >= 0 && layer < 7:
			want = 0
		}
		if got := p.place(spec); got != want {
			t.Errorf("%s is placed on %s, want %s", spec.Name, p.Shares[got].Device, p.Shares[want].Device)
		}
	}
	// The tower comes after the head where the CPU is the first of two.
	p.Shares = []Share{{Device: "cpu", Host: true, Layers: 18, Head: true}, {Device: "cuda0", First: 18, Vision: true}}
	for _, spec := range c.Tensors() {
		if got := p.place(spec) == 1; got != spec.vision() {
			t.Errorf("%s is placed with the tower: %t", spec.Name, got)
		}
	}
	if got := (TensorSpec{Name: "mm.input_projection.weight"}).vision(); !got {
		t.Error("the projector is not placed with the tower")
	}
	if got := p.Devices(); got != "cpu,cuda0" || !p.Host() || (Plan{Shares: p.Shares[1:]}).Host() {
		t.Errorf("%s: the CPU has a share: %t", got, p.Host())
	}
}

// TestComputeMemory counts what a device needs next to weights and cells.
func TestComputeMemory(t *testing.T) {
	none := parts{layers: make([]int64, 4)}
	p := planner{needs: needs{weights: none, adapters: none, work: 10, visionWork: 7, images: 3, logits: 2}, vision: 1,
		places: []Place{{Name: "cuda0"}, {Name: "cuda1"}, {Name: "cpu", Host: true}}}
	host := p
	host.vision = 2
	for _, c := range []struct {
		name            string
		p               planner
		place, first, n int
		want            int64
	}{
		{"nothing", p, 0, 0, 0, 0},
		{"layers", p, 0, 0, 3, 10 + deviceMemory},
		{"layers and logits", p, 0, 1, 3, 12 + deviceMemory},
		{"the tower", p, 1, 0, 0, 21 + deviceMemory},
		{"layers and the tower", p, 1, 0, 3, 21 + deviceMemory},
		{"layers of the CPU", p, 2, 0, 3, 10},
		{"the tower, after the last layer", p, 1, 4, 0, 21 + deviceMemory},
		{"nothing of the CPU, after the last layer", p, 2, 4, 0, 0},
		{"the tower on the CPU", host, 2, 0, 0, 7},
	} {
		if got := c.p.share(c.place, c.first, c.n).Compute; got != c.want {
			t.Errorf("%s: %d bytes, want %d", c.name, got, c.want)
		}
	}
	c, _ := Release("3b-224")
	if n := c.needs(func(string) (t gguf.Tensor, ok bool) { return t, ok }, Room{Prompt: 9, Cells: 9}); n.logits != 4*floatSize*257216 {
		t.Errorf("logits of %d bytes", n.logits)
	}
}
