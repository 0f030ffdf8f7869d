package engine

import (
	"path/filepath"
	"strings"
	"testing"

	"paligemma/internal/adapter"
	"paligemma/internal/limits"
)

// TestDeviceMemory names the device that has too little memory.
func TestDeviceMemory(t *testing.T) {
	err := &MemoryError{Needs: 9e9, Has: 8e9, Device: "cuda1"}
	for _, want := range []string{"not enough memory on cuda1: needs 9.0 GB, has 8.0 GB", "--gpu-layers", "--force"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q lacks %q", err, want)
		}
	}
}

// TestAdapterMemory counts updates four times and stored tensors twice, in F32.
func TestAdapterMemory(t *testing.T) {
	all, err := adapter.OpenAll([]adapter.Spec{{Path: filepath.Join("..", "..", "testdata", "adapters", "lora"), Scale: 1}})
	if err != nil {
		t.Fatal(err)
	}
	defer adapter.CloseAll(all)
	const stored = 64*48 + 64 // the projector
	if got := adapterMemory(all); got != 4*(4*(15_232-stored)+2*stored) {
		t.Errorf("%d bytes", got)
	}
}

func TestNeed(t *testing.T) {
	const gib = 1 << 30
	all := limits.Memory{Physical: limits.Unlimited, Address: limits.Unlimited, Data: limits.Unlimited}
	with := func(set func(m *limits.Memory)) limits.Memory {
		m := all
		set(&m)
		return m
	}
	for _, c := range []struct {
		name string
		need need
		free limits.Memory
		want string
	}{
		{"no limits", need{mapped: 100 * gib, own: gib}, all, ""},
		{"it fits", need{mapped: 2 * gib, own: gib}, with(func(m *limits.Memory) { m.Physical = 3 * gib }), ""},
		{"mapped counts", need{mapped: 2*gib + 1, own: gib}, with(func(m *limits.Memory) { m.Physical = 3 * gib }), "needs 3.2 GB, has 3.2 GB"},
		{"address space", need{mapped: 2 * gib}, with(func(m *limits.Memory) { m.Address = 2 * gib }), "needs 3.2 GB, has 2.1 GB"},
		{"mapped is not data", need{mapped: 2 * gib, own: gib}, with(func(m *limits.Memory) { m.Data = gib }), ""},
		{"data", need{own: 3 * gib}, with(func(m *limits.Memory) { m.Data = gib }), "needs 3.2 GB, has 1.1 GB"},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := c.need.check(c.free)
			if (err == nil) != (c.want == "") || err != nil && (!strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "--force")) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

// TestPlannedAdapters counts what is added to the model, and what is offered as far as it is
// kept; what cannot be opened is told to who asks for it.
func TestPlannedAdapters(t *testing.T) {
	dir := filepath.Join("..", "..", "testdata", "adapters")
	lora, rslora := adapter.Spec{Path: filepath.Join(dir, "lora"), Scale: 1}, adapter.Spec{Path: filepath.Join(dir, "rslora"), Scale: 0.5}
	e := openTinyWith(t, Options{})
	planned := func(o Options) int64 {
		t.Helper()
		o.Device = "cpu"
		p, err := o.Plan(e.file.Header)
		if err != nil {
			t.Fatal(err)
		}
		return p.Shares[0].Adapters
	}
	const bytes = 4 * 15_232
	other := planned(Options{Adapters: []adapter.Spec{rslora}})
	for name, c := range map[string]struct {
		o    Options
		want int64
	}{
		"none":             {Options{}, 0},
		"added":            {Options{Adapters: []adapter.Spec{lora}}, bytes},
		"two":              {Options{Adapters: []adapter.Spec{lora, rslora}}, bytes + other},
		"left out":         {Options{Adapters: []adapter.Spec{{Path: lora.Path}}}, 0},
		"offered":          {Options{Adapters: []adapter.Spec{lora}, Offered: []adapter.Spec{rslora}, OfferedBytes: 1 << 30}, bytes + other},
		"offered, missing": {Options{Offered: []adapter.Spec{{Path: "missing", Scale: 1}, rslora}, OfferedBytes: 1 << 30}, other},
	} {
		t.Run(name, func(t *testing.T) {
			if got := planned(c.o); got != c.want || other == 0 {
				t.Errorf("%d bytes, want %d", got, c.want)
			}
		})
	}
	for name, spec := range map[string]adapter.Spec{"missing": {Path: "missing", Scale: 1}, "of another model": {Path: filepath.Join(dir, "pg2_lora"), Scale: 1}} {
		if _, err := (Options{Device: "cpu", Adapters: []adapter.Spec{spec}}).Plan(e.file.Header); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
