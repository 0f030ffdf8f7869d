package engine

import (
	"context"
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"paligemma/internal/adapter"
	"paligemma/internal/adapter/random"
)

// randomAdapter writes an adapter of random weights.
func randomAdapter(t testing.TB, e *Engine, o random.Options) adapter.Spec {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "adapter")
	if err := random.Write(dir, e.Config(), o); err != nil {
		t.Fatal(err)
	}
	return adapter.Spec{Path: dir, Scale: 1}
}

// loadAdapters has an engine read adapters.
func loadAdapters(t testing.TB, e *Engine, specs ...adapter.Spec) *Adapters {
	t.Helper()
	a, err := e.LoadAdapters(t.Context(), specs)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// textWith is textOf with adapters.
func textWith(n int, a *Adapters) Request {
	r := textOf(n)
	r.Adapters = a
	return r
}

// A step gives all texts a token in one graph, whatever their adapters: those with the same
// follow one another, in whatever order they came.
func TestOneStepOfAllAdapters(t *testing.T) {
	e := openTinyWith(t, Options{})
	a := loadAdapters(t, e, randomAdapter(t, e, random.Options{Rank: 3, Seed: 1, Spread: 0.2, Text: true}))
	b := loadAdapters(t, e, randomAdapter(t, e, random.Options{Rank: 2, Seed: 2, Spread: 0.2, Text: true}))
	owned(t, e, func(context.Context) error {
		o := newOwner(e, 8)
		for i, with := range []*Adapters{a, nil, b, a, nil, b, a} {
			g, _ := begin(t, e, textWith(i, with))
			o.admit(g)
		}
		var order []*Adapters
		for _, g := range o.active {
			order = append(order, g.adapters)
		}
		if !slices.Equal(order, []*Adapters{a, a, a, nil, nil, b, b}) {
			t.Error("texts with the same adapters do not follow one another")
		}
		o.backend.TakeCounts()
		o.step()
		if s := o.stats.Stats; s.Steps != 1 || s.Tokens != 7 || s.Groups != 3 {
			t.Errorf("%+v, want 1 step of 7 texts in 3 groups", s)
		}
		for _, g := range o.active {
			if n := g.decoding.DecodeGraphs.Computed; n != 1 {
				t.Errorf("%d graphs, want 1", n)
			}
			g.end(nil)
		}
		o.cache.Close()
		return nil
	})
}

// Adapters take memory while they are there, and so do prompts that were computed with
// them; both are gone after Release, and a text with them is an error.
func TestAdaptersReleased(t *testing.T) {
	e := openTinyWith(t, Options{PrefixBytes: 1 << 20})
	spec := randomAdapter(t, e, random.Options{Rank: 3, Seed: 1, Spread: 0.2, Text: true})
	generate := func(a *Adapters) []int {
		t.Helper()
		got, err := e.Generate(t.Context(), textWith(0, a))
		if err != nil {
			t.Fatal(err)
		}
		return got.Tokens
	}
	plain := generate(nil)
	var first []int
	for i := range 3 {
		a := loadAdapters(t, e, spec)
		if s := e.Stats(); s.AdapterSets != 1 || s.AdapterBytes != a.Bytes() || a.Bytes() == 0 {
			t.Fatalf("%+v", s)
		}
		got := generate(a)
		if first == nil {
			first = got
		}
		if !slices.Equal(got, first) || !slices.Equal(generate(a), first) || slices.Equal(got, plain) {
			t.Fatalf("%v, before %v", got, first)
		}
		if s := e.Stats(); s.Prefixes != 2 || s.PrefixHits != int64(i+1) {
			t.Fatalf("%+v", s)
		}
		a.Release()
		loadAdapters(t, e, spec).Release() // a turn later the numbers are there
		if s := e.Stats(); s.AdapterSets != 0 || s.AdapterBytes != 0 || s.Prefixes != 1 {
			t.Fatalf("%+v", s)
		}
		if _, err := e.Generate(t.Context(), textWith(0, a)); err == nil || !strings.Contains(err.Error(), "adapters were closed") {
			t.Fatal(err)
		}
	}
}

// Adapters that leave the tower as it is share the features of images; others have their
// own, whichever were computed before.
func TestFeaturesOfAdapters(t *testing.T) {
	e := openTinyWith(t, Options{})
	text := loadAdapters(t, e, randomAdapter(t, e, random.Options{Rank: 2, Seed: 1, Spread: 0.2, Text: true}))
	spec := randomAdapter(t, e, random.Options{Rank: 2, Seed: 1, Spread: 0.2, Tower: true})
	tower := loadAdapters(t, e, spec)
	own := openTinyWith(t, Options{Adapters: []adapter.Spec{spec}})
	encode := func(e *Engine, image *Image, a *Adapters) []float32 {
		t.Helper()
		f, err := e.Encode(t.Context(), image, a)
		if err != nil {
			t.Fatal(err)
		}
		return valuesOf(t, e, f)
	}
	image := gray(t, e, 9)
	want, base := encode(own, gray(t, own, 9), nil), encode(e, image, nil)
	for i, c := range []struct {
		with *Adapters
		want []float32
		same bool // they are not computed again
	}{{text, base, true}, {tower, want, false}, {tower, want, true}, {nil, base, false}, {text, base, true}} {
		if !Same(t, encode(e, image, c.with), c.want) {
			t.Errorf("%d: other features", i)
		}
		before := image.EncodeGraphs()
		image.graphs.Built = 99
		if encode(e, image, c.with); image.EncodeGraphs().Built != 99 {
			t.Errorf("%d: computed twice", i)
		}
		image.graphs = before
	}
	if Same(t, base, want) {
		t.Error("the adapter does nothing")
	}
}

// What cannot be loaded next to others is an error that says so, and leaves nothing.
func TestLoadAdaptersErrors(t *testing.T) {
	e := openTinyWith(t, Options{})
	spec := randomAdapter(t, e, random.Options{Rank: 2, Seed: 1, Spread: 0.2, Text: true})
	adapted := openTinyWith(t, Options{Adapters: []adapter.Spec{spec}})
	closed := openTinyWith(t, Options{})
	closed.Close()
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	named := func(name string) adapter.Spec {
		return adapter.Spec{Path: filepath.Join("../../testdata/adapters", name), Scale: 1}
	}
	for name, c := range map[string]struct {
		ctx  context.Context
		e    *Engine
		spec adapter.Spec
		want string
	}{
		"missing":             {t.Context(), e, adapter.Spec{Path: "nothing", Scale: 1}, "nothing"},
		"replaced tensors":    {t.Context(), e, named("lora"), "more than products"},
		"DoRA":                {t.Context(), e, named("dora"), "DoRA"},
		"embedding":           {t.Context(), e, named("embedding"), "more than products"},
		"another model's":     {t.Context(), e, named("pg2_lora"), "pg2_lora"},
		"adapters of its own": {t.Context(), adapted, spec, "adapters of its own"},
		"closed":              {t.Context(), closed, spec, ErrClosed.Error()},
		"canceled":            {canceled, e, spec, context.Canceled.Error()},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := c.e.LoadAdapters(c.ctx, []adapter.Spec{c.spec}); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %q", err, c.want)
			}
		})
	}
	if s := e.Stats(); s.AdapterSets != 0 || s.AdapterBytes != 0 {
		t.Errorf("left are %+v", s)
	}
	a := loadAdapters(t, e, spec)
	other := openTinyWith(t, Options{})
	if _, err := other.Generate(t.Context(), textWith(0, a)); err == nil || errors.Is(err, ErrClosed) {
		t.Errorf("in another engine: %v", err)
	}
}
