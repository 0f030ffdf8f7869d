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
