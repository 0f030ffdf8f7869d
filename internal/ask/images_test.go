package ask

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"sync"
	"testing"

	"paligemma/internal/adapter"
	"paligemma/internal/adapter/random"
	"paligemma/internal/demo"
	"paligemma/internal/engine"
	"paligemma/internal/preprocess"
)

// openEngine opens the built-in model.
func openEngine(t *testing.T) *engine.Engine {
	t.Helper()
	file, err := demo.Open()
	if err != nil {
		t.Fatal(err)
	}
	e, err := engine.New(file, engine.Options{Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Close)
	return e
}

// picture returns a picture of one pixel, another one for each number.
func picture(n int) []byte { return fmt.Appendf(nil, "P3 1 1 255 %d 0 0\n", n) }

// Equal images are decoded once, also by many at a time, and as many are kept as
// there is room for: those that were asked for last.
func TestImagesKept(t *testing.T) {
	m := NewImages(openEngine(t), 2, NewDecoders(2))
	get := func(n int) *engine.Image {
		image, err := m.Get(t.Context(), picture(n), preprocess.Limits{})
		if err != nil {
			t.Error(err)
		}
		return image
	}
	var all sync.WaitGroup
	same := make([]*engine.Image, 8)
	for i := range same {
		all.Go(func() { same[i] = get(0) })
	}
	all.Wait()
	for _, image := range same {
		if image != same[0] {
			t.Error("it was decoded twice")
		}
	}
	get(1)
	if get(0) != same[0] { // 0 is the later one now
		t.Error("0 is gone")
	}
	get(2)
	if get(0) != same[0] {
		t.Error("0 went in place of 1")
	}
	if s := m.Stats(); s.Kept != 2 || s.Hits != 9 || s.Misses != 3 || s.Bytes != 2*m.engine.ImageBytes() {
		t.Errorf("%+v", s)
	}
}

// Adapters that change the vision tower have images of their own, others share those that
// are there.
func TestImagesOfAdapters(t *testing.T) {
	e := openEngine(t)
	load := func(o random.Options) *engine.Adapters {
		dir := t.TempDir()
		if err := random.Write(dir, e.Config(), o); err != nil {
			t.Fatal(err)
		}
		a, err := e.LoadAdapters(t.Context(), []adapter.Spec{{Path: dir, Scale: 1}})
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	text := load(random.Options{Rank: 1, Spread: 0.1, Text: true})
	tower := load(random.Options{Rank: 1, Spread: 0.1, Tower: true})
	m := NewImages(e, 4, NewDecoders(1))
	get := func(a *engine.Adapters) *engine.Image {
		image, err := m.GetFor(t.Context(), picture(0), preprocess.Limits{}, a)
		if err != nil {
			t.Fatal(err)
		}
		return image
	}
	base, own := get(nil), get(tower)
	if base == own || get(text) != base || get(tower) != own {
		t.Error("images are shared that must not be, or are not that may be")
	}
	if s := m.Stats(); s.Kept != 2 || s.Hits != 2 || s.Bytes != 2*e.ImageBytes() {
		t.Errorf("%+v", s)
	}
}

// Who waits for an image is not disturbed by the end of the one who decodes it.
func TestImagesAbandoned(t *testing.T) {
	m := NewImages(openEngine(t), 2, NewDecoders(1))
	m.decoders <- struct{}{} // somebody decodes another image
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	begin := func(ctx context.Context) {
		_, err := m.Get(ctx, picture(0), preprocess.Limits{})
		ended <- err
	}
	go begin(ctx)
	for m.Stats().Misses == 0 {
	}
	go begin(t.Context())
	for m.Stats().Hits == 0 {
	}
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Fatalf("%v", err)
	}
	m.decoders.Give()
	if err := <-ended; err != nil {
		t.Errorf("the other one: %v", err)
	}
}

// A failure is not kept: another limit may let the picture pass.
func TestImagesFailures(t *testing.T) {
	m := NewImages(openEngine(t), 2, NewDecoders(1))
	if _, err := m.Get(t.Context(), picture(0), preprocess.Limits{MaxBytes: 3}); !errors.Is(err, preprocess.ErrTooLarge) {
		t.Fatalf("%v", err)
	}
	if _, err := m.Get(t.Context(), picture(0), preprocess.Limits{}); err != nil {
		t.Error(err)
	}
}

// A decoder that panics is an error for all who wait, with its place free again, and the
// picture is not kept.
func TestImagesFault(t *testing.T) {
	m := NewImages(openEngine(t), 2, NewDecoders(1))
	kept, mine := m.find(imageKey{hash: sha256.Sum256(picture(0))})
	if !mine {
		t.Fatal("somebody decodes it")
	}
	ended := make(chan error)
	go func() {
		_, err := m.Get(t.Context(), picture(0), preprocess.Limits{}) // waits for the one that fails
		ended <- err
	}()
	for m.Stats().Hits == 0 {
	}
	m.keep(t.Context(), kept, func() (*engine.Image, error) { panic("index out of range") })
	var fault *FaultError
	if err := <-ended; !errors.As(err, &fault) || fault.Fault != "index out of range" || !bytes.Contains(fault.Stack, []byte("TestImagesFault")) {
		t.Errorf("%v", err)
	}
	if _, err := m.Get(t.Context(), picture(0), preprocess.Limits{}); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}

// Who gives up while a picture is decoded does not wait; what the decoder makes is kept.
func TestImagesGivenUp(t *testing.T) {
	m := NewImages(openEngine(t), 2, NewDecoders(1))
	ctx, cancel := context.WithCancel(t.Context())
	key := imageKey{hash: sha256.Sum256(picture(0))}
	kept, _ := m.find(key)
	begun, end := make(chan struct{}), make(chan struct{})
	go m.keep(ctx, kept, func() (*engine.Image, error) {
		close(begun)
		<-end
		return m.decode(picture(0), preprocess.Limits{})
	})
	<-begun
	cancel()
	if _, err := m.Get(ctx, picture(0), preprocess.Limits{}); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	waiting, stop := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() {
		_, err := m.Get(waiting, picture(0), preprocess.Limits{})
		ended <- err
	}()
	for m.Stats().Hits == 0 {
	}
	stop()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	close(end)
	if image, err := m.Get(t.Context(), picture(0), preprocess.Limits{}); err != nil || image != kept.image {
		t.Errorf("%v", err)
	}
}
