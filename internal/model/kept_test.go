package model_test

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"paligemma/internal/ggml"
	"paligemma/internal/gguf"
	"paligemma/internal/model"
)

// passes encodes pictures on one model, and on others that have computed nothing before.
type passes struct {
	*testing.T
	path    string
	m       *model.Model
	backend *ggml.Backend
}

func newPasses(t *testing.T, typ string) *passes {
	t.Helper()
	path := convertTo(t, "pg1-tiny", typ)
	f, err := gguf.Open(path, gguf.Options{})
	if err != nil {
		t.Fatal(err)
	}
	m, backend := loadOn(t, f, otherDevice(t))
	if !m.OnDevice() {
		t.Fatal("features do not stay on the device")
	}
	return &passes{t, path, m, backend}
}

// encode encodes pictures in one pass.
func (p *passes) encode(m *model.Model, a *model.Adapters, pictures ...int) (all []float32) {
	p.Helper()
	var images [][]float32
	for _, n := range pictures {
		images = append(images, picture(m, n))
	}
	features, err := m.EncodeAll(p.Context(), images, a)
	if err != nil {
		p.Fatal(err)
	}
	for _, f := range features {
		all = append(all, values(p.T, f)...)
	}
	return all
}

// check compares a pass with that of a model that has computed nothing before.
func (p *passes) check(pictures ...int) {
	p.Helper()
	got, want := p.encode(p.m, nil, pictures...), p.encode(openOn(p.T, p.path, otherDevice(p.T)), nil, pictures...)
	if !slices.Equal(got, want) {
		p.Errorf("pictures %v have other features than in a new model", pictures)
	}
}

// built fails unless so many graphs were built and are kept since it was last called.
func (p *passes) built(want, kept int) {
	p.Helper()
	if got := p.backend.TakeCounts().Built; got != want || p.m.Encodings() != kept {
		p.Errorf("%d graphs were built, want %d; %d are kept, want %d", got, want, p.m.Encodings(), kept)
	}
}

// TestKeptGraphsOfTheTower encodes pictures in passes of different numbers of them, in turns:
// a graph is built for each number, two are kept, and all features are, bit for bit, those
// of models that have computed nothing before.
func TestKeptGraphsOfTheTower(t *testing.T) {
	for _, typ := range []string{"f32", "f16"} {
		t.Run(typ, func(t *testing.T) {
			p := newPasses(t, typ)
			for i := range 3 {
				p.check(1 + i)
				p.check(5+i, 9-i)
			}
			p.built(2, 2)
			p.check(4, 3, 2)
			p.built(1, 2)
			p.check(8, 9)
			p.built(0, 2)
			p.check(1)
			p.built(1, 2)
			for i := range 40 { // until each place of the shelf had others
				p.encode(p.m, nil, 1+i)
			}
			p.check(7)
			p.built(0, 2)
			p.m.Close()
			p.built(0, 0)
		})
	}
}

// TestKeptGraphAfterFaults cancels passes, before they are computed and meanwhile, and encodes
// a picture of NaN: the next pictures have the features that they have in a new model.
func TestKeptGraphAfterFaults(t *testing.T) {
	p := newPasses(t, "f16")
	p.check(3)
	p.check(4)
	for i := range 20 {
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		if i%4 == 0 {
			cancel()
			close(done)
		} else {
			go func() { defer close(done); cancel() }()
		}
		_, err := p.m.Encode(ctx, picture(p.m, 5))
		<-done
		if i%4 == 0 && err == nil || err != nil && !errors.Is(err, context.Canceled) {
			t.Fatalf("a canceled pass: %v", err)
		}
		if n := p.m.Encodings(); err != nil && n > 0 {
			t.Fatalf("%d graphs are kept after a canceled pass", n)
		}
		p.encode(p.m, nil, 1+i)
	}
	p.check(6)
	nan, err := p.m.Encode(t.Context(), slices.Repeat([]float32{float32(math.NaN())}, len(picture(p.m, 1))))
	if err != nil {
		t.Fatal(err)
	}
	if all := values(t, nan); all[0] == all[0] {
		t.Error("a number comes of NaN")
	}
	p.check(7)
}

// TestKeptGraphWithAdapters encodes a picture with adapters that change the tower, and with some
// that do not, in turns with none: the graph that is kept is for the latter two.
func TestKeptGraphWithAdapters(t *testing.T) {
	p := newPasses(t, "f32")
	specs, d := specsOf(t, p.path), dice{rand.New(rand.NewPCG(3, 4))}
	adapters := func(tensor string) *model.Adapters {
		return placed(t, p.m, []model.Change{{Tensor: tensor, LowRank: []model.LowRank{d.update(specs[tensor], 3, 0.7)}}})
	}
	tower, text := adapters("v.blk.1.attn_k.weight"), adapters("blk.0.attn_q.weight")
	p.backend.TakeCounts()
	want, changed := p.encode(p.m, text, 1), p.encode(p.m, tower, 1)
	p.built(2, 1)
	if slices.Equal(want, changed) {
		t.Error("adapters of the tower change nothing")
	}
	for range 2 {
		for name, c := range map[string]struct {
			a    *model.Adapters
			want []float32
		}{"none": {nil, want}, "tower": {tower, changed}, "text": {text, want}} {
			p.encode(p.m, nil, 9)
			if got := p.encode(p.m, c.a, 1); !slices.Equal(got, c.want) {
				t.Errorf("adapters of %s: other features than at first", name)
			}
		}
	}
	p.built(2, 1)
	p.check(1)
}
