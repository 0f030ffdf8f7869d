//go:build rpc

package engine

import (
	"context"
	"errors"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"paligemma/internal/adapter"
	"paligemma/internal/adapter/random"
	"paligemma/internal/convert"
	"paligemma/internal/ggml"
	"paligemma/internal/model"
	"paligemma/internal/testdevice"
)

// TestEncodeTogether has images of several requests wait, which a device then encodes in
// one pass; who gives up is left out, and disturbs no other.
func TestEncodeTogether(t *testing.T) {
	e := openTinyWith(t, Options{Device: testdevice.Named(t, "fake0").Name})
	alone := openTinyWith(t, Options{Device: "cpu"})
	const requests = 5
	images := make([]*Image, requests)
	for i := range images {
		images[i] = gray(t, e, byte(40*i))
	}
	free := occupy(t, e)
	gone, giveUp := context.WithCancel(t.Context())
	var all sync.WaitGroup
	errs := make([]error, requests)
	for i, image := range images {
		ctx := t.Context()
		if i == 0 {
			ctx = gone
		}
		all.Go(func() { _, errs[i] = e.Encode(ctx, image, nil) })
	}
	untilWaiting(e, requests)
	giveUp()
	untilWaiting(e, requests-1)
	before := testdevice.Computed()
	free()
	all.Wait()
	if got := testdevice.Computed() - before; got != 1 {
		t.Errorf("%d passes, want 1", got)
	}
	if errs[0] == nil || images[0].encoded {
		t.Errorf("given up: %v, encoded %v", errs[0], images[0].encoded)
	}
	for i, image := range images[1:] {
		if errs[1+i] != nil {
			t.Fatal(errs[1+i])
		}
		if got := image.EncodeGraphs(); got != (ggml.Counts{Computed: 1, Built: 1, Splits: 1}) {
			t.Errorf("image %d: %+v", 1+i, got)
		}
		want, err := alone.Encode(t.Context(), gray(t, alone, byte(40*(1+i))), nil)
		if err != nil {
			t.Fatal(err)
		}
		got, err := e.EncodedValues(t.Context(), image)
		if err != nil || len(got) != len(want.Values) {
			t.Fatalf("image %d: %d values, %v", 1+i, len(got), err)
		}
		for j, v := range want.Values {
			if d := math.Abs(float64(v - got[j])); d > 1e-4 {
				t.Fatalf("image %d: value %d is off by %.2g", 1+i, j, d)
			}
		}
	}
	if again, err := e.Encode(t.Context(), images[0], nil); err != nil || again.Tokens == 0 {
		t.Errorf("asked again: %d tokens, %v", again.Tokens, err)
	}
	if len(e.encodings.waiting) != 0 {
		t.Error("somebody still waits")
	}
}

// occupy has the owner of a model do nothing else until free is called.
func occupy(t *testing.T, e *Engine) (free func()) {
	busy, end := make(chan struct{}), make(chan struct{})
	go func() {
		_ = e.compute(t.Context(), func(context.Context) error { close(busy); <-end; return nil })
	}()
	<-busy
	return func() { close(end) }
}

// untilWaiting returns when a number of images wait.
func untilWaiting(e *Engine, n int) {
	waiting := func() int {
		e.encodings.Lock()
		defer e.encodings.Unlock()
		return len(e.encodings.waiting)
	}
	for waiting() != n {
		time.Sleep(time.Millisecond)
	}
}

// TestPassOfOneTower has images of requests with different adapters wait: those go together
// whose vision tower is the same, and it is the right one.
func TestPassOfOneTower(t *testing.T) {
	e := openTinyWith(t, Options{Device: testdevice.Named(t, "fake0").Name})
	spec := randomAdapter(t, e, random.Options{Rank: 2, Seed: 1, Spread: 0.2, Tower: true})
	tower := loadAdapters(t, e, spec)
	text := loadAdapters(t, e, randomAdapter(t, e, random.Options{Rank: 2, Seed: 2, Spread: 0.2, Text: true}))
	own := openTinyWith(t, Options{Adapters: []adapter.Spec{spec}})
	var all []*encoding
	for i, a := range []*Adapters{nil, tower, text, tower} {
		all = append(all, e.await(t.Context(), gray(t, e, byte(40*i)).Pixels, a))
	}
	for i, want := range [][]*encoding{{all[0], all[2]}, {all[1], all[3]}} {
		if got := e.pass(all[i]); !slices.Equal(got, want) {
			t.Errorf("image %d is in a pass of %d, or of others", i, len(got))
		}
	}
	owned(t, e, func(ctx context.Context) error { e.encode(ctx, all[1]); return all[1].err })
	// Those that are done, or given up, are in no pass of others.
	late := e.await(t.Context(), all[1].pixels, tower)
	defer e.forget(late)
	all[0].cancel()
	if n, m := len(e.pass(late)), len(e.pass(all[2])); n != 1 || m != 1 {
		t.Errorf("passes of %d and %d images, want 1", n, m)
	}
	for range e.model.ImagesPerPass() {
		defer e.forget(e.await(t.Context(), all[0].pixels, nil))
	}
	if n := len(e.pass(all[2])); n != e.model.ImagesPerPass() {
		t.Errorf("a pass of %d images, want %d", n, e.model.ImagesPerPass())
	}
	for i, w := range all {
		if e.forget(w) != (i == 1 || i == 3) {
			t.Fatalf("image %d: encoded %v", i, w.done)
		} else if !w.done {
			continue
		}
		got, err := w.features.Read()
		if err != nil {
			t.Fatal(err)
		}
		want, err := own.EncodedValues(t.Context(), gray(t, own, byte(40*i)))
		if err != nil {
			t.Fatal(err)
		}
		for j, v := range want {
			if d := math.Abs(float64(v - got[j])); d > 1e-4 {
				t.Fatalf("image %d: value %d is off by %.2g", i, j, d)
			}
		}
	}
}

// TestPromptOfImages encodes the images of one prompt in one pass, one of them twice.
func TestPromptOfImages(t *testing.T) {
	e := openTinyWith(t, Options{Device: testdevice.Named(t, "fake1").Name})
	first, second := gray(t, e, 10), gray(t, e, 200)
	free, before := occupy(t, e), testdevice.Computed()
	go func() {
		untilWaiting(e, 2)
		free()
	}()
	got, err := e.EncodeAll(t.Context(), []*Image{first, second, first}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if n := testdevice.Computed() - before; n != 1 {
		t.Errorf("%d passes, want 1", n)
	}
	if took := first.EncodeTime(); took == 0 || took != second.EncodeTime() {
		t.Errorf("%v and %v in one pass", took, second.EncodeTime())
	}
	if len(got) != 3 {
		t.Fatalf("%d features, want 3", len(got))
	}
	values := make([][]float32, len(got))
	for i, f := range got {
		if values[i], err = f.Read(); err != nil {
			t.Fatal(err)
		}
	}
	if &values[0][0] != &values[2][0] || values[0][0] == values[1][0] {
		t.Error("features in another order")
	}
}

// TestNoRoom refuses a model that a device has no room for, and leaves that device out
// where another has it.
func TestNoRoom(t *testing.T) {
	testdevice.Named(t, "fake2")
	path := filepath.Join(t.TempDir(), "tiny.gguf")
	if _, err := convert.Convert(t.Context(), "../../testdata/checkpoints/pg1-tiny", path, convert.Options{Type: "f32"}); err != nil {
		t.Fatal(err)
	}
	before := testdevice.Sent()
	_, err := Open(path, Options{Device: "fake2", Threads: 1})
	if short := (*MemoryError)(nil); !errors.As(err, &short) || short.Device != "fake2" || short.Has != 100<<20 || short.Needs <= short.Has {
		t.Errorf("%v, want a MemoryError of fake2", err)
	}
	_, err = Open(path, Options{Device: "fake2", Threads: 1, Adapters: []adapter.Spec{{Path: "../../testdata/adapters/lora", Scale: 1}}})
	if with := (*MemoryError)(nil); !errors.As(err, &with) || with.Adapters != 4*15_232 || !strings.Contains(err.Error(), "(60.9 kB of it for adapters)") {
		t.Errorf("with an adapter: %v", err)
	}
	if testdevice.Sent() != before {
		t.Error("weights were sent before it was refused")
	}
	for _, c := range []struct {
		o    Options
		want string
	}{
		{Options{Device: "fake2", Force: true}, "fake2"},
		{Options{Device: "fake0,fake2"}, "fake0"},
		{Options{Device: "fake0,cpu", Split: model.Split{Last: 1}}, "fake0,cpu"},
	} {
		c.o.Threads = 1
		e, err := Open(path, c.o)
		if err != nil {
			t.Fatal(err)
		}
		if got := ggml.Names(e.Devices()); got != c.want {
			t.Errorf("%s: computes on %s, want %s", c.o.Device, got, c.want)
		}
		e.Close()
	}
}
