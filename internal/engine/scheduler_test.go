package engine

import (
	"context"
	"path/filepath"
	"slices"
	"testing"

	"paligemma/internal/convert"
	"paligemma/internal/ggml"
	"paligemma/internal/preprocess"
)

// openTinyWith opens a tiny model of f32 weights with other options.
func openTinyWith(t *testing.T, o Options) *Engine {
	t.Helper()
	path := filepath.Join(t.TempDir(), "tiny.gguf")
	if _, err := convert.Convert(t.Context(), "../../testdata/checkpoints/pg1-tiny", path, convert.Options{Type: "f32"}); err != nil {
		t.Fatal(err)
	}
	e, err := Open(path, OnTestDevice(t, o))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Close)
	return e
}

// gray returns an image of one color.
func gray(t *testing.T, e *Engine, level byte) *Image {
	t.Helper()
	rgb := append([]byte("P6 2 1 255\n"), slices.Repeat([]byte{level}, 6)...)
	source, err := preprocess.Open(rgb, preprocess.DefaultLimits)
	if err != nil {
		t.Fatal(err)
	}
	image, err := e.NewImage(source)
	if err != nil {
		t.Fatal(err)
	}
	return image
}

// A prompt that comes again with the same image is not computed again, and its text is
// the same; other images and other prompts are other prefixes.
func TestPrefixes(t *testing.T) {
	plain := openTinyWith(t, Options{})
	e := openTinyWith(t, Options{PrefixBytes: 1 << 20})
	images := map[byte]*Image{10: gray(t, e, 10), 200: gray(t, e, 200)}
	for i, c := range []struct {
		name  string
		text  string
		image byte
		hits  int64
	}{
		{"new", "a", 10, 0},
		{"the same again", "a", 10, 1},
		{"another prompt", "b", 10, 1},
		{"another image", "a", 200, 1},
		{"the first again", "a", 10, 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			ask := func(e *Engine, image *Image) []int {
				got, err := e.Generate(t.Context(), Request{Prompt: Prompt{Text: c.text, Images: []*Image{image}}, MaxTokens: steps, IgnoreEOS: true})
				if err != nil {
					t.Fatal(err)
				}
				return got.Tokens
			}
			want, got := ask(plain, gray(t, plain, c.image)), ask(e, images[c.image])
			if !slices.Equal(got, want) {
				t.Errorf("%v, want %v", got, want)
			}
			if s := e.Stats(); s.PrefixHits != c.hits || s.PrefixMisses != int64(i)+1-c.hits {
				t.Errorf("%d hits and %d misses, want %d hits of %d", s.PrefixHits, s.PrefixMisses, c.hits, i+1)
			}
		})
	}
	if s := plain.Stats(); s.Prefixes != 0 || s.PrefixMisses != 0 {
		t.Errorf("without room for prefixes: %+v", s)
	}
}

// Prefixes take no more than they may; the cells of those that go are used again.
func TestPrefixesBounded(t *testing.T) {
	e := openTinyWith(t, Options{})
	most := 3 * (e.SequenceMemory(3) + int64(4*e.config.Text.Vocab))
	e = openTinyWith(t, Options{PrefixBytes: most})
	var bytes int64
	for i := range 40 {
		if _, err := e.Generate(t.Context(), textOf(i%20)); err != nil {
			t.Fatal(err)
		}
		s := e.Stats()
		if s.PrefixBytes > most || s.Prefixes > 3 {
			t.Fatalf("%d prefixes of %d bytes, of %d", s.Prefixes, s.PrefixBytes, most)
		}
		switch {
		case i == 10:
			bytes = s.CacheBytes
		case i > 10 && s.CacheBytes > bytes:
			t.Fatalf("the cache has grown from %d to %d bytes", bytes, s.CacheBytes)
		}
	}
	if s := e.Stats(); s.Prefixes == 0 || s.PrefixHits != 0 {
		t.Errorf("%+v", s)
	}
}

// The images that prefixes hold count once each, as long as one of them is there.
func TestPrefixesCountImages(t *testing.T) {
	e := openTinyWith(t, Options{PrefixBytes: 1 << 30})
	ask := func(image *Image, text string) {
		if _, err := e.Generate(t.Context(), Request{Prompt: Prompt{Text: text, Images: []*Image{image}}, MaxTokens: 1}); err != nil {
			t.Fatal(err)
		}
		owned(t, e, func(context.Context) error { return nil }) // the numbers are there after it
	}
	first, second := gray(t, e, 10), gray(t, e, 200)
	one := e.SequenceMemory(e.config.Vision.ImageTokens+3) + int64(4*e.config.Text.Vocab)
	for i, c := range []struct {
		image *Image
		text  string
		want  int64
	}{
		{first, "a", one + e.ImageBytes()},
		{first, "b", 2*one + e.ImageBytes()},
		{second, "a", 3*one + 2*e.ImageBytes()},
		{first, "a", 3*one + 2*e.ImageBytes()}, // which is there
	} {
		if ask(c.image, c.text); e.Stats().PrefixBytes != c.want {
			t.Errorf("%d: %d bytes, want %d", i, e.Stats().PrefixBytes, c.want)
		}
	}
	// Those of prefixes that go are given back.
	most := 2 * (one + e.ImageBytes())
	e = openTinyWith(t, Options{PrefixBytes: most})
	for i := range 10 {
		ask(gray(t, e, byte(i)), "a")
	}
	if s := e.Stats(); s.Prefixes != 2 || s.PrefixBytes != most {
		t.Errorf("%d prefixes of %d bytes, want 2 of %d", s.Prefixes, s.PrefixBytes, most)
	}
	e = openTinyWith(t, Options{PrefixBytes: one + e.ImageBytes() - 1}) // too small for any
	if ask(gray(t, e, 1), "a"); e.Stats().Prefixes != 0 {
		t.Errorf("%+v", e.Stats())
	}
}

// What requests reserve is what the cache takes, whatever the type of its cells is.
func TestSequenceMemory(t *testing.T) {
	for _, kind := range []string{"f32", "f16", "q8_0"} {
		t.Run(kind, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "tiny.gguf")
			if _, err := convert.Convert(t.Context(), "../../testdata/checkpoints/pg1-tiny", path, convert.Options{Type: kind}); err != nil {
				t.Fatal(err)
			}
			e, err := Open(path, OnTestDevice(t, Options{}))
			if err != nil {
				t.Fatal(err)
			}
			defer e.Close()
			tokens := 40
			if e.KeepsGraphs() {
				tokens = ggml.CellUnit // of which caches there have a multiple
			}
			r := textOf(1)
			r.MaxTokens = tokens - 3 // of its prompt
			if _, err := e.Generate(t.Context(), r); err != nil {
				t.Fatal(err)
			}
			owned(t, e, func(context.Context) error { return nil })
			if want, got := e.Stats().CacheBytes, e.SequenceMemory(tokens); got != want {
				t.Errorf("%d bytes, and the cache has %d", got, want)
			}
		})
	}
}

// Between two of what waits there is a step, where new requests have a share of the
// time; where they come first there is none.
func TestPrefillShare(t *testing.T) {
	for _, c := range []struct {
		name  string
		share float64
		least int64 // steps between the first computation and the last
	}{
		{"new requests first", 0, 0},
		{"all of the time but a step", 1, 3},
		{"half of the time", 0.5, 3},
		{"nearly all of the time", 0.99, 3},
	} {
		t.Run(c.name, func(t *testing.T) {
			e := openTinyWith(t, Options{PrefillShare: c.share, Parallel: 2})
			owned(t, e, func(context.Context) error {
				o := newOwner(e, 2)
				o.share, o.work, o.generations = e.share, make(chan func(), 4), make(chan *generation)
				g, _ := begin(t, e, textOf(0))
				o.admit(g)
				ran := 0
				for range 4 {
					o.work <- func() { ran++ }
				}
				for ran < 4 && o.turn() {
				}
				if steps := o.stats.Steps; steps < c.least || c.least == 0 && steps > 0 {
					t.Errorf("%d steps, want %d at least", steps, c.least)
				}
				for len(o.active) > 0 {
					o.step()
				}
				o.cache.Close()
				return nil
			})
		})
	}
}
