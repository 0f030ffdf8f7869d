//go:build rpc

package engine

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"paligemma/internal/adapter"
	"paligemma/internal/adapter/random"
	"paligemma/internal/convert"
	"paligemma/internal/ggml"
	"paligemma/internal/testdevice"
)

// refused fails unless an error is one line that says which devices have no memory.
func refused(t *testing.T, what string, err error) {
	t.Helper()
	if err == nil || !errors.Is(err, ggml.ErrMemory) || !strings.Contains(err.Error(), "not enough memory on ") || strings.Contains(err.Error(), "\n") || len(err.Error()) > 500 {
		t.Errorf("%s: %v", what, err)
	}
}

// TestDeviceRefuses has a device refuse memory for each thing that asks for some, more than
// graphs that are kept leave when they are given up: that is one typed error, texts under way
// go on as they are alone, and once there is memory again, all is as before.
func TestDeviceRefuses(t *testing.T) {
	for _, device := range []string{"fake0", "fake0,fake1", "cpu,fake0"} {
		t.Run(device, func(t *testing.T) { deviceRefuses(t, onDevices(t, device)) })
	}
}

// onDevices are options with a layer on each of some devices.
func onDevices(t *testing.T, names string) Options {
	t.Helper()
	o := Options{Device: testdevice.Named(t, names).Name, PrefixBytes: 1 << 20}
	if strings.Contains(names, ",") {
		o.Split.Last = 1
	}
	return o
}

func deviceRefuses(t *testing.T, o Options) {
	e := openTinyWith(t, o)
	t.Cleanup(func() { testdevice.Room(-1) })
	spec := randomAdapter(t, e, random.Options{Rank: 300, Seed: 1, Spread: 0.2, Text: true, Tower: true})
	whole := textOf(0)
	whole.MaxTokens = 500
	text := func() []int {
		t.Helper()
		got, err := e.Generate(t.Context(), whole)
		if err != nil {
			t.Fatal(err)
		}
		return got.Tokens
	}
	want := text()
	generate := func(r Request) func() error {
		return func() error { _, err := e.Generate(t.Context(), r); return err }
	}
	long := textOf(1)
	long.Text = strings.Repeat("x ", 300)
	scored := long.Prompt
	scored.Text = strings.Repeat("x ", 1000)
	beams := textOf(2)
	beams.Beams = 20
	for _, c := range []struct {
		name string
		ask  func() error
		may  bool // what is there for texts may do
	}{
		{"an image", func() error { _, err := e.Encode(t.Context(), gray(t, e, 9), nil); return err }, true},
		{"a long prompt", generate(long), false},
		{"beams", generate(beams), false},
		{"scores", func() error {
			_, err := e.Score(t.Context(), scored, []string{"a", "b"})
			return err
		}, false},
		{"adapters", func() error {
			a, err := e.LoadAdapters(t.Context(), []adapter.Spec{spec})
			if err == nil {
				a.Release()
			}
			return err
		}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			asked := func(t *testing.T, what string) {
				if err := c.ask(); err != nil || !c.may {
					refused(t, what, err)
				}
			}
			var tokens []int
			r := whole
			r.OnToken = func(id int, _ string) error {
				if tokens = append(tokens, id); len(tokens) == 3 { // it is under way
					testdevice.Room(0)
					asked(t, "under way")
				}
				return nil
			}
			if _, err := e.Generate(t.Context(), r); err != nil {
				t.Errorf("the text under way: %v", err)
			}
			if !slices.Equal(tokens, want) {
				t.Errorf("the text under way is %v, alone %v", tokens, want)
			}
			asked(t, "again")
			testdevice.Room(-1)
			if err := c.ask(); err != nil {
				t.Errorf("once there is memory: %v", err)
			}
			if got := text(); !slices.Equal(got, want) {
				t.Errorf("afterwards %v, before %v", got, want)
			}
		})
	}
}

// TestDeviceRefusesToKeep has a device refuse memory for the graphs of steps that a text needs
// as it grows: it is written to its end.
func TestDeviceRefusesToKeep(t *testing.T) {
	for _, device := range []string{"fake0", "fake0,fake1", "cpu,fake0"} {
		t.Run(device, func(t *testing.T) {
			e, other := openTinyWith(t, onDevices(t, device)), openTinyWith(t, onDevices(t, device))
			t.Cleanup(func() { testdevice.Room(-1) })
			long := textOf(1)
			long.Text, long.MaxTokens = strings.Repeat("x ", 800), 1
			whole := textOf(0)
			whole.MaxTokens = 600
			want, err := other.Generate(t.Context(), whole)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := e.Generate(t.Context(), long); err != nil { // for the memory of a pass
				t.Fatal(err)
			}
			testdevice.Room(0)
			got, err := e.Generate(t.Context(), whole)
			if err != nil || !slices.Equal(got.Tokens, want.Tokens) {
				t.Errorf("%d tokens, %v", len(got.Tokens), err)
			}
			if got.DecodeGraphs.Built < 500 {
				t.Errorf("%d graphs were built: some were kept", got.DecodeGraphs.Built)
			}
		})
	}
}

// TestDeviceRefusesStep has a device refuse memory for steps of several texts, with different
// adapters and without: fewer are computed together, and each is what it is alone.
func TestDeviceRefusesStep(t *testing.T) {
	for _, device := range []string{"fake0", "fake0,fake1", "cpu,fake0"} {
		for sets := range 3 {
			t.Run(fmt.Sprintf("%s, %d sets of adapters", device, sets), func(t *testing.T) {
				e, other := openTinyWith(t, onDevices(t, device)), openTinyWith(t, onDevices(t, device))
				t.Cleanup(func() { testdevice.Room(-1) })
				adapters, others := []*Adapters{nil}, []*Adapters{nil}
				for i := range sets {
					spec := randomAdapter(t, e, random.Options{Rank: 30, Seed: uint64(i), Spread: 0.05, Text: true})
					adapters, others = append(adapters, loadAdapters(t, e, spec)), append(others, loadAdapters(t, other, spec))
				}
				const texts = 12
				owned(t, e, func(context.Context) error {
					o := newOwner(e, texts)
					var all []*generation
					for i := range texts {
						g, _ := begin(t, e, textWith(i, adapters[i%len(adapters)]))
						o.admit(g)
						all = append(all, g)
					}
					testdevice.Room(0)
					for len(o.active) > 0 {
						o.step()
					}
					testdevice.Room(-1)
					o.cache.Close()
					for i, g := range all {
						want, err := other.Generate(t.Context(), textWith(i, others[i%len(others)]))
						if err != nil {
							t.Fatal(err)
						}
						if g.err != nil || !slices.Equal(g.decoding.Tokens, want.Tokens) {
							t.Errorf("text %d is %v (%v), alone %v", i, g.decoding.Tokens, g.err, want.Tokens)
						}
					}
					if s := o.stats.Stats; s.Tokens != texts*(steps-1) {
						t.Errorf("%d tokens were counted, want %d", s.Tokens, texts*(steps-1))
					}
					return nil
				})
			})
		}
	}
}

// TestDeviceRefusesOne has a device refuse memory for the cells that one of two texts needs as
// it grows: that one ends, and the other goes on.
func TestDeviceRefusesOne(t *testing.T) {
	for _, device := range []string{"fake0", "fake0,fake1", "cpu,fake0"} {
		t.Run(device, func(t *testing.T) {
			e, other := openTinyWith(t, onDevices(t, device)), openTinyWith(t, onDevices(t, device))
			t.Cleanup(func() { testdevice.Room(-1) })
			whole := textOf(0)
			whole.MaxTokens = 180
			want, err := other.Generate(t.Context(), whole)
			if err != nil {
				t.Fatal(err)
			}
			owned(t, e, func(context.Context) error {
				o := newOwner(e, 2)
				var err error
				if o.cache, err = e.model.NewCache(ggml.CellUnit); err != nil {
					return err
				}
				defer o.cache.Close()
				lasting, _ := begin(t, e, whole)
				growing, _ := begin(t, e, whole)
				growing.limit = 8 // that cells are reserved for
				o.admit(growing)
				o.admit(lasting)
				testdevice.Room(0)
				for len(o.active) > 0 {
					o.step()
				}
				refused(t, "the text that grows", growing.err)
				if got := growing.decoding.Tokens; len(got) < 8 || !slices.Equal(got, want.Tokens[:len(got)]) {
					t.Errorf("the text that grows is %v, alone %v", got, want.Tokens)
				}
				if lasting.err != nil || !slices.Equal(lasting.decoding.Tokens, want.Tokens) {
					t.Errorf("the other is %v (%v), alone %v", lasting.decoding.Tokens, lasting.err, want.Tokens)
				}
				return nil
			})
		})
	}
}

// TestDeviceRefusesWeights opens a model that a device has no memory for.
func TestDeviceRefusesWeights(t *testing.T) {
	testdevice.Named(t, "fake0,fake1")
	path := filepath.Join(t.TempDir(), "tiny.gguf")
	if _, err := convert.Convert(context.Background(), "../../testdata/checkpoints/pg1-tiny", path, convert.Options{Type: "f32"}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { testdevice.Room(-1) })
	for _, device := range []string{"fake0", "fake0,fake1", "cpu,fake0"} {
		testdevice.Room(1000)
		_, err := Open(path, Options{Device: device, Threads: 1})
		refused(t, device, err)
	}
}
