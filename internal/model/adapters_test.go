package model_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"paligemma/internal/gguf"
	"paligemma/internal/model"
)

// placed prepares and places adapters, which are closed after the test.
func placed(t *testing.T, m *model.Model, changes []model.Change) *model.Adapters {
	t.Helper()
	a, err := m.NewAdapters(changes)
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Place(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(a.Close)
	return a
}

// adapterSets are sets of updates of a file's matrices: of a few of the text model, of all
// of them, of the tower and the projector alone, and of a rank that is not projected while
// rows are written.
func adapterSets(t *testing.T, path string) (sets [][]model.Change) {
	t.Helper()
	specs := specsOf(t, path)
	d := dice{rand.New(rand.NewPCG(8, 9))}
	for _, c := range []struct {
		rank  int
		wants func(name string) bool
	}{
		{3, func(name string) bool {
			return strings.HasSuffix(name, "attn_q.weight") || strings.HasSuffix(name, ".ffn_down.weight")
		}},
		{2, func(string) bool { return true }},
		{4, func(name string) bool { return strings.HasPrefix(name, "v.") || strings.HasPrefix(name, "mm.") }},
		{150, func(name string) bool {
			return strings.HasPrefix(name, "blk.") && !strings.HasSuffix(name, "attn_k.weight")
		}},
	} {
		var changes []model.Change
		for _, spec := range configOf(t, path).Tensors() {
			if spec.Role == model.RoleMatrix && spec.Name != model.TensorEmbedding && len(spec.Shape) == 2 && c.wants(spec.Name) {
				changes = append(changes, model.Change{Tensor: spec.Name, LowRank: []model.LowRank{d.update(specs[spec.Name], c.rank, 0.8), d.update(specs[spec.Name], 1, -0.5)}})
			}
		}
		sets = append(sets, changes)
	}
	return sets
}

// TestAdaptersTogether steps texts with different adapters, and without any, together,
// forked and released: each has the bits of a model that was loaded with its adapters.
func TestAdaptersTogether(t *testing.T) {
	for _, name := range checkpoints {
		for _, typ := range []string{"f32", "q8_0", "q4_k_m"} {
			t.Run(name+" "+typ, func(t *testing.T) {
				path := convertTo(t, name, typ)
				m := open(t, path)
				if !m.SameInCompany() {
					t.Log("this device or processor promises it for f32 only")
					return
				}
				prompts := promptsOf(t, m, name)
				var lones []lone
				for _, p := range prompts {
					lones = append(lones, lone{m, p})
				}
				for _, changes := range adapterSets(t, path) {
					a, by := placed(t, m, changes), openOn(t, path, testDevice(t), changes...)
					for _, g := range goldens(t, name) {
						alone := g.prompt(t, by)
						p := model.Prompt{IDs: alone.IDs, Adapters: a}
						for i, pixels := range g.pixelsOfImage {
							features, err := m.EncodeWith(t.Context(), pixels, a)
							if err != nil || !slices.Equal(values(t, features), values(t, alone.Images[i])) {
								t.Fatalf("the features of image %d of %s differ: %v", i, g.Case, err)
							}
							p.Images = append(p.Images, features)
						}
						prompts, lones = append(prompts, p), append(lones, lone{by, alone})
					}
				}
				for seed := range uint64(3) {
					c := newCrowd(t, m, prompts, seed)
					c.lone = lones
					for range 60 {
						c.act()
					}
					c.compare()
				}
			})
		}
	}
}

// TestManyAdapters makes a step of more sets of adapters than fit in a graph where only
// ggml's operations are used, where queries, keys and values are one matrix and where not.
func TestManyAdapters(t *testing.T) {
	for _, separate := range []bool{false, true} {
		path := convertTo(t, "pg1-tiny", "f32")
		m := open(t, path)
		if separate {
			m.Separate()
		}
		cache, err := m.NewCache(64)
		if err != nil {
			t.Fatal(err)
		}
		defer cache.Close()
		changes := adapterSets(t, path)[1]
		var tokens []model.Token
		for i := range 90 {
			p := model.Prompt{IDs: []int{2, 14, 15}}
			if i%3 > 0 {
				p.Adapters = placed(t, m, changes)
			}
			s := cache.NewSequence(8)
			if _, err := m.Prefill(t.Context(), s, p); err != nil {
				t.Fatal(err)
			}
			tokens = append(tokens, model.Token{Sequence: s, ID: 20})
		}
		logits, err := m.Step(t.Context(), tokens)
		if err != nil {
			t.Fatal(err)
		}
		for i := range logits {
			like := min(i%3, 1)
			alike(t, fmt.Sprintf("separate %v: sequence %d next to sequence %d", separate, i, like), "f32", logits[i], logits[like])
			if t.Failed() {
				return
			}
		}
		if slices.Equal(logits[0], logits[1]) {
			t.Error("the adapters do nothing")
		}
	}
}

// TestVisionKeys compares adapters by what they do to the features of images.
func TestVisionKeys(t *testing.T) {
	path := convertTo(t, "pg1-tiny", "f32")
	m := open(t, path)
	sets := adapterSets(t, path)
	key := func(changes []model.Change) string { return placed(t, m, changes).Vision() }
	tower := key(sets[2])
	other := slices.Clone(sets[2])
	other[0].LowRank = slices.Clone(other[0].LowRank)
	other[0].LowRank[0].Scale *= 2
	off := slices.Clone(sets[2])
	for i := range off {
		off[i].LowRank = nil
	}
	for name, c := range map[string]struct{ got, want string }{
		"none":                 {(*model.Adapters)(nil).Vision(), ""},
		"text only":            {key(sets[3]), ""},
		"nothing of the tower": {key(off), ""},
		"the same again":       {key(sets[2]), tower},
		"text besides":         {key(append(slices.Clone(sets[3]), sets[2]...)), tower},
	} {
		if c.got != c.want {
			t.Errorf("%s: %x, want %x", name, c.got, c.want)
		}
	}
	if tower == "" || key(other) == tower || key(sets[1]) == tower {
		t.Error("other updates have the same key")
	}
}

// TestAdaptersRefused gives models changes that Adapters cannot be, and uses them where they
// cannot be used.
func TestAdaptersRefused(t *testing.T) {
	path := convertTo(t, "pg1-tiny", "f32")
	m, other := open(t, path), open(t, path)
	specs := specsOf(t, path)
	d := dice{rand.New(rand.NewPCG(1, 2))}
	const down = "blk.0.ffn_down.weight"
	update := func(name string) model.Change {
		return model.Change{Tensor: name, LowRank: []model.LowRank{d.update(specs[name], 2, 1)}}
	}
	values, bias := update(down), update(down)
	values.Values = d.values(specs[down].Shape[0]*specs[down].Shape[1], 1)
	bias.Bias = d.values(specs[down].Shape[1], 1)
	for name, c := range map[string]model.Change{
		"embedding": update(model.TensorEmbedding), "tied head": update(model.TensorHead), "positions": update("v.position_embd.weight"),
		"values": values, "bias": bias, "a norm": {Tensor: "blk.0.attn_norm.weight", Values: d.values(specs["blk.0.attn_norm.weight"].Shape[0], 1)},
		"unknown": {Tensor: "x"},
	} {
		if _, err := m.NewAdapters([]model.Change{c}); err == nil || !strings.Contains(err.Error(), c.Tensor) {
			t.Errorf("%s: %v", name, err)
		}
	}
	untied := rewrite(t, path, nil, func(all []gguf.Tensor) []gguf.Tensor {
		head := all[slices.IndexFunc(all, func(t gguf.Tensor) bool { return t.Name == model.TensorEmbedding })]
		head.Name = model.TensorHead
		return append(all, head)
	})
	for _, own := range []string{down, model.TensorEmbedding} {
		if _, err := openOn(t, untied, testDevice(t), update(own)).NewAdapters(nil); err == nil {
			t.Errorf("next to adapters of its own, of %s: no error", own)
		}
	}
	a := placed(t, m, []model.Change{update(down)})
	unplaced, err := m.NewAdapters([]model.Change{update(down)})
	if err != nil {
		t.Fatal(err)
	}
	cache, err := m.NewCache(64)
	if err != nil {
		t.Fatal(err)
	}
	defer cache.Close()
	begin := func(m *model.Model, c *model.Cache, a *model.Adapters) (*model.Sequence, error) {
		s := c.NewSequence(8)
		_, err := m.Prefill(context.Background(), s, model.Prompt{IDs: []int{2, 14}, Adapters: a})
		return s, err
	}
	s, err := begin(m, cache, a)
	if err != nil {
		t.Fatal(err)
	}
	others, err := other.NewCache(64)
	if err != nil {
		t.Fatal(err)
	}
	defer others.Close()
	pixels := make([]float32, 3*m.Config().Vision.ImageSize*m.Config().Vision.ImageSize)
	for name, f := range map[string]func() error{
		"another model's": func() error { _, err := begin(other, others, a); return err },
		"before Place":    func() error { _, err := begin(m, cache, unplaced); return err },
		"closed, a step": func() error {
			a.Close()
			a.Close()
			_, err := m.Step(t.Context(), []model.Token{{Sequence: s, ID: 5}})
			return err
		},
		"closed, a text": func() error { a.Close(); _, err := begin(m, cache, a); return err },
		"closed, an image": func() error {
			a.Close()
			_, err := m.EncodeWith(t.Context(), pixels, a)
			return err
		},
	} {
		if err := f(); err == nil || !strings.Contains(err.Error(), "adapters were closed") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if s.Len() != 2 {
		t.Errorf("%d tokens after failed steps", s.Len())
	}
}
