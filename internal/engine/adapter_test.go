package engine_test

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"

	"paligemma/internal/adapter"
	"paligemma/internal/adapter/random"
	"paligemma/internal/engine"
	"paligemma/internal/testdevice"
)

// openAdapted opens a model with test adapters.
func openAdapted(t testing.TB, path string, adapters ...adapter.Spec) *engine.Engine {
	t.Helper()
	for i, a := range adapters {
		adapters[i].Path = filepath.Join(testdata, "adapters", a.Path)
	}
	e, err := engine.Open(path, engine.OnTestDevice(t, engine.Options{Adapters: adapters}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Close)
	return e
}

// TestEnginesWithAdapters opens one file with different adapters, and asks all engines at
// once, where the device lets them: each answers as it does alone, and no two answer the same.
func TestEnginesWithAdapters(t *testing.T) {
	path := converted(t, "pg1-tiny")
	engines := []*engine.Engine{
		open(t, path, 0),
		openAdapted(t, path, adapter.Spec{Path: "lora", Scale: 1}),
		openAdapted(t, path, adapter.Spec{Path: "lora", Scale: 0.5}, adapter.Spec{Path: "rslora", Scale: -1}),
	}
	var want [3][]answer
	for i, e := range engines {
		for _, ask := range asks(t, e, nil) {
			want[i] = append(want[i], ask.alone(t, e))
		}
		if i > 0 && reflect.DeepEqual(want[i], want[i-1]) {
			t.Errorf("engine %d answers as the one before", i)
		}
	}
	var all sync.WaitGroup
	for i, e := range engines {
		for j, ask := range asks(t, e, nil) {
			all.Go(func() { ask.check(t, e, want[i][j]) })
		}
		if !testdevice.Chosen(t).Concurrent() {
			all.Wait()
		}
	}
	all.Wait()
}

// TestAdaptersTogether asks one engine with several adapters at once, each for some of the
// requests: each gets, on the CPU bit for bit, what an engine with its adapters alone gives.
func TestAdaptersTogether(t *testing.T) {
	for _, name := range []string{"pg1-tiny", "pg2-tiny"} {
		t.Run(name, func(t *testing.T) {
			path := converted(t, name)
			e := open(t, path, 6)
			write := func(o random.Options) adapter.Spec {
				dir := filepath.Join(t.TempDir(), "adapter")
				if err := random.Write(dir, e.Config(), o); err != nil {
					t.Fatal(err)
				}
				return adapter.Spec{Path: dir, Scale: 1}
			}
			text := write(random.Options{Rank: 4, Seed: 1, Spread: 0.1, Text: true})
			tower := write(random.Options{Rank: 2, Seed: 2, Spread: 0.1, Tower: true})
			both := write(random.Options{Rank: 3, Seed: 3, Spread: 0.1, Text: true, Tower: true})
			both.Scale = -0.7
			var requests []ask
			var want []answer
			for i, specs := range [][]adapter.Spec{nil, {text}, {tower}, {text, both}} {
				alone, err := engine.Open(path, engine.OnTestDevice(t, engine.Options{Adapters: specs}))
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(alone.Close)
				var adapters *engine.Adapters
				if specs != nil {
					if adapters, err = e.LoadAdapters(t.Context(), specs); err != nil {
						t.Fatal(err)
					}
				}
				for _, ask := range asks(t, alone, nil) {
					want = append(want, ask.alone(t, alone))
				}
				requests = append(requests, asks(t, e, adapters)...)
				if n := len(want) / (i + 1); i > 0 && reflect.DeepEqual(want[i*n], want[(i-1)*n]) {
					t.Errorf("set %d answers as the one before", i)
				}
			}
			var all sync.WaitGroup
			for i := range 2 * len(requests) {
				all.Go(func() {
					n := i * 7 % len(requests)
					requests[n].check(t, e, want[n])
				})
			}
			all.Wait()
			if s := e.Stats(); s.Groups <= s.Steps {
				t.Errorf("%d groups in %d steps: no step served several adapters", s.Groups, s.Steps)
			}
		})
	}
}

// TestAdapterErrors opens models with adapters that cannot be added: the fault is the
// model's.
func TestAdapterErrors(t *testing.T) {
	path := converted(t, "pg1-tiny")
	empty := t.TempDir()
	damaged := t.TempDir()
	for _, name := range []string{"adapter_config.json", "adapter_model.safetensors"} {
		data, err := os.ReadFile(filepath.Join(testdata, "adapters", "lora", name))
		if err != nil {
			t.Fatal(err)
		}
		if filepath.Ext(name) == ".safetensors" {
			data = data[:len(data)-4]
		}
		if err := os.WriteFile(filepath.Join(damaged, name), data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for name, c := range map[string]struct{ adapter, want string }{
		"missing":    {filepath.Join(empty, "nothing"), "nothing"},
		"empty":      {empty, empty},
		"damaged":    {damaged, damaged},
		"other base": {filepath.Join(testdata, "adapters", "pg2_lora"), "pg2_lora"},
		"DoRA":       {filepath.Join(testdata, "adapters", "dora"), "convert CHECKPOINT OUT.gguf --lora"},
	} {
		t.Run(name, func(t *testing.T) {
			e, err := engine.Open(path, engine.OnTestDevice(t, engine.Options{Adapters: []adapter.Spec{{Path: c.adapter, Scale: 1}}}))
			if err == nil {
				e.Close()
			}
			if bad := (*engine.ModelError)(nil); !errors.As(err, &bad) || !strings.Contains(err.Error(), c.want) || len(err.Error()) > 500 {
				t.Errorf("%v, want %q", err, c.want)
			}
		})
	}
}
