package model_test

import (
	"slices"
	"strings"
	"testing"

	"paligemma/internal/ggml"
	"paligemma/internal/gguf"
	"paligemma/internal/model"
)

// linear returns the extents of updates of a rank of all matrices of the text model.
func linear(c model.Config, rank int) (all []model.Extent) {
	for _, spec := range c.Tensors() {
		if spec.Role == model.RoleMatrix && spec.Layer >= 0 && spec.Name[0] == 'b' {
			all = append(all, model.Extent{Tensor: spec.Name, Rank: rank})
		}
	}
	return all
}

// TestPlanAdapters makes room for adapters next to the layers that they are of.
func TestPlanAdapters(t *testing.T) {
	const gb = 1e9
	config, lookup := released(t, "3b-224", gguf.TypeBF16)
	updates := linear(config, 64) // 315 MB
	const each, bytes = 18 * 64 * 4, 18 * 64 * 4 * (4*2048 + 2*(2048+256) + 3*(2048+16384))
	two := []model.Place{{Name: "cuda0", Free: 8 * gb}, {Name: "cuda1", Free: 8 * gb}}
	one := func(free int64) []model.Place { return []model.Place{{Name: "cuda0", Free: free}} }
	plain, err := config.Plan(lookup, one(80*gb), model.Split{}, model.Room{Prompt: 256, Cells: 1024})
	if err != nil {
		t.Fatal(err)
	}
	needs := plain.Shares[0].Needs()
	for _, c := range []struct {
		name   string
		places []model.Place
		split  model.Split
		room   model.Room
		want   []int64 // bytes of adapters on each device
		short  string
	}{
		{"one device", one(needs + bytes), model.Split{}, model.Room{Adapters: updates}, []int64{bytes}, ""},
		{"a byte too few", one(needs + bytes - 1), model.Split{}, model.Room{Adapters: updates}, []int64{bytes}, "cuda0"},
		{"with their layers", two, model.Split{Shares: []float64{12, 6}}, model.Room{Adapters: updates}, []int64{bytes / 3 * 2, bytes / 3}, ""},
		{"the tower", two, model.Split{Shares: []float64{9, 9}}, model.Room{Adapters: []model.Extent{{Tensor: "v.blk.0.attn_q.weight", Rank: 2}}}, []int64{2 * 2 * 1152 * 4, 0}, ""},
		{"a tied head", two, model.Split{Shares: []float64{9, 9}}, model.Room{Adapters: []model.Extent{{Tensor: model.TensorHead, Rank: 1, Bias: true}}}, []int64{0, 4 * (2048 + 2*257216)}, ""},
		{"rows that are looked up", two, model.Split{Shares: []float64{9, 9}}, model.Room{Adapters: []model.Extent{{Tensor: model.TensorEmbedding, Values: true}, {Tensor: model.TensorHead}}}, []int64{0, 0}, ""},
		{"both", two, model.Split{Shares: []float64{9, 9}}, model.Room{Adapters: []model.Extent{{Tensor: model.TensorEmbedding, Values: true}}}, []int64{0, 4 * 2048 * 257216}, ""},
		{"a vector", two, model.Split{Shares: []float64{9, 9}}, model.Room{Adapters: []model.Extent{{Tensor: "blk.17.attn_norm.weight", Values: true}}}, []int64{0, 4 * 2048}, ""},
		{"offered, all kept", one(80 * gb), model.Split{}, model.Room{Offered: [][]model.Extent{updates, updates}, Most: 3 * bytes}, []int64{2 * bytes}, ""},
		{"offered, some kept", one(80 * gb), model.Split{}, model.Room{Offered: [][]model.Extent{updates, updates, updates}, Most: 2 * bytes}, []int64{2 * bytes}, ""},
		{"offered, one at least", one(80 * gb), model.Split{}, model.Room{Offered: [][]model.Extent{updates, updates}, Most: 1}, []int64{bytes}, ""},
		{"offered and too large", one(needs + bytes - 1), model.Split{}, model.Room{Offered: [][]model.Extent{updates}}, []int64{bytes}, "cuda0"},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.room.Prompt, c.room.Cells = 256, 1024
			p, err := config.Plan(lookup, c.places, c.split, c.room)
			if err != nil {
				t.Fatal(err)
			}
			for i, s := range p.Shares {
				if off := s.Adapters - c.want[i]; off < 0 || off > each { // rounded up, by layers
					t.Errorf("%s has %d bytes of adapters, want %d", s.Device, s.Adapters, c.want[i])
				}
			}
			if short, _ := p.Short(); short.Device != c.short {
				t.Errorf("%q has too little memory, want %q", short.Device, c.short)
			}
			checkSum(t, config, lookup, p)
		})
	}
}

// TestPlanAdaptersPlaced counts what is placed in the end: the plan leaves out the zeros that
// join updates of some of a layer's Q, K and V.
func TestPlanAdaptersPlaced(t *testing.T) {
	for name, c := range adaptedCases(t) {
		t.Run(name, func(t *testing.T) {
			path := convertTo(t, c.Checkpoint, "f32")
			changes := c.changes(t, path)
			var extents []model.Extent
			for _, change := range changes {
				extents = append(extents, change.Extent())
			}
			if slices.ContainsFunc(extents, func(e model.Extent) bool { return e.DoRA }) { // which is for files only
				if err := configOf(t, path).CheckExtents(extents); err == nil || !strings.Contains(err.Error(), "DoRA") {
					t.Errorf("%v", err)
				}
				return
			}
			file, err := gguf.Open(path, gguf.Options{})
			if err != nil {
				t.Fatal(err)
			}
			m, _ := loadOn(t, file, ggml.Options{Device: "cpu", Threads: 1}, changes...)
			p, err := configOf(t, path).Plan(file.Lookup, []model.Place{{Name: "cpu", Host: true}}, model.Split{}, model.Room{Prompt: 100, Cells: 100, Adapters: extents})
			if err != nil {
				t.Fatal(err)
			}
			planned, placed, zeros := p.Shares[0].Adapters, m.ChangedBytes(), m.ZeroBytes(changes)
			if planned+zeros != placed {
				t.Errorf("%d bytes are planned and %d of zeros, %d placed", planned, zeros, placed)
			}
		})
	}
}
