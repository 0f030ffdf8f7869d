package engine_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"paligemma/internal/convert"
	"paligemma/internal/engine"
	"paligemma/internal/preprocess"
)

const testdata = "../../testdata"

// converted makes the f32 file of a tiny checkpoint.
func converted(t testing.TB, name string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name+".gguf")
	if _, err := convert.Convert(t.Context(), filepath.Join(testdata, "checkpoints", name), path, convert.Options{Type: "f32"}); err != nil {
		t.Fatal(err)
	}
	return path
}

func open(t testing.TB, path string, parallel int) *engine.Engine {
	t.Helper()
	e, err := engine.Open(path, engine.OnTestDevice(t, engine.Options{Parallel: parallel}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Close)
	return e
}

func newImage(t testing.TB, e *engine.Engine, name string) *engine.Image {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(testdata, "images", name))
	if err != nil {
		t.Fatal(err)
	}
	source, err := preprocess.Open(data, preprocess.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	image, err := e.NewImage(source)
	if err != nil {
		t.Fatal(err)
	}
	return image
}

// Twenty requests of all kinds at once get what each gets alone, on the CPU bit for bit.
func TestTogether(t *testing.T) {
	for _, name := range []string{"pg1-tiny", "pg2-tiny"} {
		t.Run(name, func(t *testing.T) {
			path := converted(t, name)
			alone := open(t, path, 1)
			var want []answer
			for _, ask := range asks(t, alone, nil) {
				want = append(want, ask.alone(t, alone))
			}
			e := open(t, path, 5) // fewer than there are
			all := asks(t, e, nil)
			var wg sync.WaitGroup
			for i := range 2 * len(all) {
				wg.Go(func() {
					n := i % len(all)
					all[n].check(t, e, want[n])
				})
			}
			wg.Wait()
		})
	}
}

// A request that is canceled at any moment, waiting, in the tower, in prefill or
// decoding, ends, and disturbs no other.
func TestCancel(t *testing.T) {
	e := open(t, converted(t, "pg1-tiny"), 4)
	steady := engine.Request{Prompt: engine.Prompt{Text: "x"}, MaxTokens: 50, IgnoreEOS: true}
	want, err := e.Generate(t.Context(), steady)
	if err != nil {
		t.Fatal(err)
	}
	request := func(beams int) engine.Request {
		return engine.Request{Prompt: engine.Prompt{Text: "caption en", Images: []*engine.Image{newImage(t, e, "scene.png")}}, MaxTokens: 4000, Beams: beams, IgnoreEOS: true}
	}
	whole, err := e.Generate(t.Context(), request(3))
	if err != nil {
		t.Fatal(err)
	}
	random := rand.New(rand.NewPCG(1, 2))
	var wg sync.WaitGroup
	for i := range 60 {
		r := request(0)
		after, tokens := time.Duration(random.IntN(60_000))*time.Microsecond, random.IntN(9)
		wg.Go(func() {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			switch i % 4 {
			case 0:
				r.Beams = 3
				fallthrough
			case 1:
				time.AfterFunc(after, cancel)
			default: // while it is decoded
				r.OnToken = func(int, string) error {
					if tokens--; tokens == 0 {
						go cancel()
					}
					return nil
				}
				tokens++
			}
			got, err := e.Generate(ctx, r)
			if err == nil && r.Beams > 0 && reflect.DeepEqual(got.Beams, whole.Beams) {
				return // beams end by themselves, some before they are canceled
			}
			if !errors.Is(err, context.Canceled) {
				t.Errorf("canceled: %v", err)
			}
		})
		wg.Go(func() {
			got, err := e.Generate(t.Context(), steady)
			if err != nil || !reflect.DeepEqual(got.Tokens, want.Tokens) {
				t.Errorf("next to a canceled one: %v, %v", got.Tokens, err)
			}
		})
	}
	wg.Wait()
}

// What is over in the reader's eyes ends the generation.
func TestOnTokenFails(t *testing.T) {
	e := open(t, converted(t, "pg1-tiny"), 0)
	failure := errors.New("closed pipe")
	tokens := 0
	_, err := e.Generate(t.Context(), engine.Request{
		Prompt: engine.Prompt{Text: "x"}, MaxTokens: 8000, IgnoreEOS: true,
		OnToken: func(int, string) error {
			if tokens++; tokens == 3 {
				return failure
			}
			return nil
		},
	})
	if err != failure || tokens != 3 {
		t.Errorf("%v after %d tokens", err, tokens)
	}
}

// Closing ends what is under way and what is asked later.
func TestClose(t *testing.T) {
	path := converted(t, "pg1-tiny")
	e, err := engine.Open(path, engine.OnTestDevice(t, engine.Options{Parallel: 2}))
	if err != nil {
		t.Fatal(err)
	}
	endless := engine.Request{Prompt: engine.Prompt{Text: "x"}, MaxTokens: 8000, IgnoreEOS: true}
	begun := make(chan struct{}, 100)
	var wg sync.WaitGroup
	for range 4 { // two of which wait
		wg.Go(func() {
			r := endless
			r.OnToken = func(int, string) error { begun <- struct{}{}; return nil }
			r.MaxTokens = 90
			for {
				if _, err := e.Generate(context.Background(), r); err != nil {
					if !errors.Is(err, engine.ErrClosed) {
						t.Errorf("under way: %v", err)
					}
					return
				}
			}
		})
	}
	go func() {
		for range begun { // nobody waits for the reader
		}
	}()
	time.Sleep(30 * time.Millisecond)
	e.Close()
	wg.Wait()
	close(begun)
	if _, err := e.Generate(context.Background(), endless); !errors.Is(err, engine.ErrClosed) {
		t.Errorf("afterwards: %v", err)
	}
}

// Thousands of requests leave nothing behind.
func TestFlat(t *testing.T) {
	e := open(t, converted(t, "pg1-tiny"), 8)
	ask := func(n int) {
		var wg sync.WaitGroup
		for i := range 16 {
			wg.Go(func() {
				for j := range n / 16 {
					ctx, cancel := context.WithCancel(t.Context())
					r := engine.Request{Prompt: engine.Prompt{Text: strings.Repeat("x ", 1+(i+j)%9)}, MaxTokens: 1 + j%4}
					if j%5 == 4 {
						cancel()
					}
					if _, err := e.Generate(ctx, r); err != nil && !errors.Is(err, context.Canceled) {
						t.Error(err)
					}
					cancel()
				}
			})
		}
		wg.Wait()
	}
	ask(160)
	before, goroutines := resident(t), runtime.NumGoroutine()
	ask(1600)
	if grown := resident(t) - before; grown > 8<<20 {
		t.Errorf("memory grew by %d bytes", grown)
	}
	if n := runtime.NumGoroutine(); n > goroutines+4 {
		t.Errorf("%d goroutines, %d before", n, goroutines)
	}
}

// resident is the memory in use, after what is free was given back.
func resident(t *testing.T) int64 {
	t.Helper()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	data, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return int64(m.HeapInuse)
	}
	var size, pages int64
	if _, err := fmt.Sscan(string(data), &size, &pages); err != nil {
		t.Fatal(err)
	}
	return pages*int64(os.Getpagesize()) - int64(m.HeapIdle-m.HeapReleased)
}

// A model file that is changed while it is in use is an error, not a crash.
func TestModelChanged(t *testing.T) {
	path := converted(t, "pg1-tiny")
	e := open(t, path, 1)
	r := engine.Request{Prompt: engine.Prompt{Text: "x"}, MaxTokens: 1}
	if _, err := e.Generate(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	image := newImage(t, e, "scene.png")
	if err := os.Chtimes(path, time.Now(), time.Now().Add(-time.Hour)); err != nil {
		t.Fatal(err)
	}
	var bad *engine.ModelError
	if _, err := e.Generate(t.Context(), r); !errors.As(err, &bad) || !strings.Contains(err.Error(), path) {
		t.Errorf("generate: %v", err)
	}
	if _, err := e.Encode(t.Context(), image, nil); !errors.As(err, &bad) {
		t.Errorf("encode: %v", err)
	}
}

func TestOpenRefuses(t *testing.T) {
	dir := t.TempDir()
	junk := filepath.Join(dir, "junk.gguf")
	if err := os.WriteFile(junk, []byte("GGUF and no more"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, path := range map[string]string{"missing": filepath.Join(dir, "none"), "folder": dir, "junk": junk} {
		t.Run(name, func(t *testing.T) {
			var bad *engine.ModelError
			if _, err := engine.Open(path, engine.Options{}); !errors.As(err, &bad) || !strings.Contains(err.Error(), path) {
				t.Errorf("%v", err)
			}
		})
	}
}
