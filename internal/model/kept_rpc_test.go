//go:build rpc

package model_test

import (
	"slices"
	"testing"

	"paligemma/internal/gguf"
	"paligemma/internal/model"
	"paligemma/internal/testdevice"
)

// TestDeviceRefusesToKeepTower has a device refuse memory for the graph of a pass of the tower:
// the one that is kept is given up, the pass is computed all the same, and the next one after
// there is memory again is kept.
func TestDeviceRefusesToKeepTower(t *testing.T) {
	t.Cleanup(func() { testdevice.Room(-1) })
	path := convertTo(t, "pg1-tiny", "f16")
	o := onCPU(t)
	o.Device, o.Plain = testdevice.Named(t, "fake0").Name, false
	f, err := gguf.Open(path, gguf.Options{})
	if err != nil {
		t.Fatal(err)
	}
	m, backend := loadOn(t, f, o)
	p := &passes{t, path, m, backend}
	want := p.encode(openOn(t, path, o), nil, 1, 2)
	long := model.Prompt{IDs: slices.Repeat([]int{9}, 600)} // for the memory of a pass
	if _, err := m.Trace(t.Context(), long, nil, model.TraceOptions{LogitsToKeep: 1}); err != nil {
		t.Fatal(err)
	}
	p.encode(m, nil, 1)
	p.backend.TakeCounts()
	testdevice.Room(0)
	for range 2 {
		if got := p.encode(m, nil, 1, 2); !slices.Equal(got, want) {
			t.Error("other features where no graph can be kept")
		}
	}
	testdevice.Room(-1)
	if got := p.encode(m, nil, 1, 2); !slices.Equal(got, want) {
		t.Error("other features once there is memory")
	}
	p.built(5, 1)
}
