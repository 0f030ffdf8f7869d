package engine

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"testing"
	"time"

	"paligemma/internal/model"
)

const steps = 12 // that texts of these tests take

// openTiny opens a tiny model of f32 weights.
func openTiny(t *testing.T, parallel int) *Engine {
	t.Helper()
	return openTinyWith(t, Options{Parallel: parallel})
}

// textOf makes a request of its own text for each number up to 19. For those up to 14 the best
// logit of each token is 0.02 or more above the second, so that all devices write the same.
func textOf(n int) Request {
	return Request{Prompt: Prompt{Text: "dofrskqlhipjnmgabcte"[n : n+1]}, MaxTokens: steps, IgnoreEOS: true}
}

// alone returns what requests get that have the engine to themselves.
func alone(t *testing.T, e *Engine, n int) [][]int {
	t.Helper()
	want := make([][]int, n)
	for i := range want {
		got, err := e.Generate(t.Context(), textOf(i))
		if err != nil {
			t.Fatal(err)
		}
		want[i] = got.Tokens
	}
	return want
}

// begin makes the generation of a request, with a context of its own.
func begin(t *testing.T, e *Engine, r Request) (*generation, context.CancelFunc) {
	t.Helper()
	prompt, err := e.layOut(t.Context(), r.Prompt)
	if err != nil {
		t.Fatal(err)
	}
	g, err := e.newGeneration(r, prompt, r.MaxTokens)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	g.ctx = ctx
	return g, cancel
}

// newOwner makes another owner of an engine's model, for what runs on the goroutine of the first.
func newOwner(e *Engine, parallel int) *owner {
	return &owner{Engine: &Engine{file: e.file, backend: e.backend, model: e.model, tok: e.tok, config: e.config, ctx: e.ctx, parallel: parallel}}
}

// released reports whether a generation has ended as canceled and its sequence is
// free.
func (g *generation) released() bool {
	return errors.Is(g.err, context.Canceled) && g.seq != nil && *g.seq == model.Sequence{}
}

// owned runs f on the goroutine that owns the model.
func owned(t *testing.T, e *Engine, f func(ctx context.Context) error) {
	t.Helper()
	if err := e.compute(t.Context(), f); err != nil {
		t.Fatal(err)
	}
}

// A request that waits for the model ends at once when it is canceled, whatever
// the model does.
func TestCancelQueued(t *testing.T) {
	e := openTiny(t, 1)
	want := alone(t, e, 1)
	busy, idle := make(chan struct{}), make(chan struct{})
	blocked := make(chan error, 1)
	go func() {
		blocked <- e.compute(context.Background(), func(context.Context) error { close(busy); <-idle; return nil })
	}()
	<-busy
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		_, err := e.Generate(ctx, textOf(1))
		ended <- err
	}()
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) { // while the model is busy
		t.Errorf("queued: %v", err)
	}
	close(idle)
	if err := <-blocked; err != nil {
		t.Error(err)
	}
	if got, err := e.Generate(t.Context(), textOf(0)); err != nil || !slices.Equal(got.Tokens, want[0]) {
		t.Errorf("afterwards: %v, %v", got.Tokens, err)
	}
}

// computing waits until a computation of the engine has begun, or done is closed.
func computing(e *Engine, done <-chan struct{}) {
	for {
		select {
		case <-done:
			return
		default:
			if p := e.Progress(); p.Total > 0 && p.Done > 0 && p.Done < p.Total {
				return
			}
			runtime.Gosched()
		}
	}
}

// Encoding stops in the middle of the tower; the image can be encoded afterwards.
func TestCancelInTower(t *testing.T) {
	e := openTinyWith(t, onCPU(t))
	size := e.config.Vision.ImageSize
	newImage := func() *Image {
		i := &Image{Pixels: make([]float32, 3*size*size), lock: make(chan struct{}, 1)}
		for n := range i.Pixels {
			i.Pixels[n] = float32(n%17)/8 - 1
		}
		return i
	}
	features, err := e.Encode(t.Context(), newImage(), nil)
	if err != nil {
		t.Fatal(err)
	}
	image, want := newImage(), valuesOf(t, e, features)
	for hit := false; !hit; image = newImage() { // it may be over before
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			_, err = e.Encode(ctx, image, nil)
		}()
		computing(e, done)
		cancel()
		<-done
		if hit = err != nil; hit && (!errors.Is(err, context.Canceled) || image.encoded || image.EncodeTime() == 0) {
			t.Fatalf("%v", err)
		}
		if hit {
			got, err := e.Encode(t.Context(), image, nil)
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(valuesOf(t, e, got), want) {
				t.Error("encoded afterwards: other features")
			}
		}
	}
}

// A sequence is free when its prefill was canceled.
func TestCancelInPrefill(t *testing.T) {
	e := openTinyWith(t, onCPU(t))
	want := alone(t, e, 1)
	owned(t, e, func(context.Context) error {
		cache, err := e.model.NewCache(4096)
		if err != nil {
			return err
		}
		defer cache.Close()
		for hit := false; !hit; { // it may be over before
			long := Request{Prompt: Prompt{IDs: make([]int, 3000)}, MaxTokens: steps, IgnoreEOS: true}
			for i := range long.IDs {
				long.IDs[i] = e.config.Tokens.BOS
			}
			g, cancel := begin(t, e, long)
			done := make(chan struct{})
			go func() {
				computing(e, done)
				cancel()
			}()
			o := &owner{Engine: e, cache: cache}
			goes := o.prefill(g)
			close(done)
			<-g.ctx.Done()
			if goes {
				o.active = []*generation{g}
				if o.step(); len(o.active) > 0 {
					t.Error("it goes on after a step")
				}
			} else {
				hit = true
			}
			if !g.released() {
				t.Fatalf("not released: %v", g.err)
			}
		}
		return nil
	})
	if got, err := e.Generate(t.Context(), textOf(0)); err != nil || !slices.Equal(got.Tokens, want[0]) {
		t.Errorf("afterwards: %v, %v", got.Tokens, err)
	}
}

// The sequence of a text is free one step after it was canceled, its cells are
// used again, and the other texts are what they are alone.
func TestCancelDecoding(t *testing.T) {
	e := openTiny(t, 3)
	want := alone(t, e, 4)
	owned(t, e, func(context.Context) error {
		var all []*generation
		var cancels []context.CancelFunc
		cells := 0
		for i := range 4 {
			g, cancel := begin(t, e, textOf(i))
			all, cancels = append(all, g), append(cancels, cancel)
			cells = max(cells, len(g.prompt.IDs)+g.limit)
		}
		cache, err := e.model.NewCache(3 * 2 * cells) // spans are rounded up
		if err != nil {
			return err
		}
		defer cache.Close()
		o := &owner{Engine: e, cache: cache}
		for _, g := range all[:3] {
			o.admit(g)
		}
		for range 3 {
			o.step()
		}
		bytes := cache.Bytes()
		cancels[1]()
		o.step()
		if len(o.active) != 2 || !all[1].released() {
			t.Fatalf("%d go on, released: %v, %v", len(o.active), all[1].released(), all[1].err)
		}
		for i, n := range []int{5, 4, 5} {
			if got := all[i].decoding.Tokens; !slices.Equal(got, want[i][:n]) {
				t.Errorf("text %d is %v after the step, want %v", i, got, want[i][:n])
			}
		}
		o.admit(all[3])
		for len(o.active) > 0 {
			o.step()
		}
		for _, i := range []int{0, 2, 3} {
			if got := all[i].decoding.Tokens; all[i].err != nil || !slices.Equal(got, want[i]) {
				t.Errorf("text %d is %v, want %v: %v", i, got, want[i], all[i].err)
			}
		}
		if now := cache.Bytes(); now != bytes {
			t.Errorf("the cache has %d bytes, %d before", now, bytes)
		}
		return nil
	})
}

// The times of a text's tokens are those of the model, not of a slow reader.
func TestTokenTimes(t *testing.T) {
	e := openTiny(t, 1)
	r := textOf(0)
	const slow = 20 * time.Millisecond
	var learned []time.Time
	r.OnToken = func(int, string) error {
		time.Sleep(slow)
		learned = append(learned, time.Now())
		return nil
	}
	got, err := e.Generate(t.Context(), r)
	if err != nil || len(learned) != steps {
		t.Fatalf("%d tokens, %v", len(learned), err)
	}
	if lag := learned[0].Sub(got.FirstToken); lag < slow {
		t.Errorf("the first token is stamped %v before its reader knows it, want %v or more", lag, slow)
	}
	if got.LastToken.Before(got.FirstToken) || got.LastToken.After(learned[steps-1]) {
		t.Errorf("from %v to %v", got.FirstToken, got.LastToken)
	}
}
