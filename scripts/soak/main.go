// Command soak sends thousands of requests to one engine, 16 at a time: images,
// texts of all lengths, scores and masks, a fifth of them canceled on the way.
// It prints the resident memory after every thousand, which should stay the same.
//
//	go run ./scripts/soak -n 10000                   # the built-in model
//	go run ./scripts/soak -n 10000 -m model.gguf
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"paligemma/internal/demo"
	"paligemma/internal/engine"
	"paligemma/internal/preprocess"
)

func main() {
	path := flag.String("m", "", "GGUF `FILE` of the model; the built-in one if empty")
	image := flag.String("image", "testdata/scenes/demo.png", "the `FILE` of the image")
	n := flag.Int("n", 10000, "`N` requests")
	flag.Parse()
	if err := run(*path, *image, *n); err != nil {
		fmt.Fprintln(os.Stderr, "soak:", err)
		os.Exit(1)
	}
}

func open(path string) (*engine.Engine, error) {
	o := engine.Options{Device: "cpu", Threads: 1, Parallel: 8}
	if path != "" {
		return engine.Open(path, o)
	}
	file, err := demo.Open()
	if err != nil {
		return nil, err
	}
	return engine.New(file, o)
}

func run(path, image string, n int) error {
	e, err := open(path)
	if err != nil {
		return err
	}
	defer e.Close()
	masks, err := e.NewMasks(nil)
	if err != nil {
		return err
	}
	if masks != nil {
		defer masks.Close()
	}
	data, err := os.ReadFile(image)
	if err != nil {
		return err
	}
	c := &client{engine: e, masks: masks, image: data}
	errs := make([]error, 16)
	for done := 0; done < n; {
		group := min(1000, n-done)
		var wg sync.WaitGroup
		next := int64(done)
		for w := range errs {
			wg.Go(func() {
				for errs[w] == nil {
					i := atomic.AddInt64(&next, 1)
					if i > int64(done+group) {
						return
					}
					errs[w] = c.ask(int(i))
				}
			})
		}
		wg.Wait()
		if err := errors.Join(errs...); err != nil {
			return err
		}
		done += group
		rss, err := resident()
		if err != nil {
			return err
		}
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		fmt.Printf("%6d requests, %d canceled, %d goroutines: %.1f MB, %.2f MB of it Go's objects\n",
			done, c.canceled.Load(), runtime.NumGoroutine(), float64(rss)/1e6, float64(m.HeapAlloc)/1e6)
	}
	return nil
}

// client sends requests.
type client struct {
	engine   *engine.Engine
	masks    *engine.Masks
	image    []byte
	canceled atomic.Int64
}

// ask sends request i; the number says what it is.
func (c *client) ask(i int) error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	if i%5 == 0 {
		time.AfterFunc(time.Duration(i%23)*time.Millisecond, cancel)
	}
	err := c.send(ctx, i)
	if errors.Is(err, context.Canceled) {
		c.canceled.Add(1)
		err = nil
	}
	return err
}

func (c *client) send(ctx context.Context, i int) error {
	prompt := engine.Prompt{Text: strings.Repeat("detect circle ", 1+i%7)}
	if i%2 == 0 {
		source, err := preprocess.Open(c.image, preprocess.Limits{})
		if err != nil {
			return err
		}
		image, err := c.engine.NewImage(source)
		if err != nil {
			return err
		}
		prompt.Images = []*engine.Image{image}
	}
	if i%11 == 0 {
		_, err := c.engine.Score(ctx, prompt, []string{"a circle", "two"})
		return err
	}
	r := engine.Request{Prompt: prompt, MaxTokens: 1 + i%12, LogProbs: i%3 == 0}
	if i%13 == 0 {
		r.Beams = 3
	}
	got, err := c.engine.Generate(ctx, r)
	if err != nil {
		return err
	}
	_, err = engine.FindObjects(ctx, got.Text, engine.ObjectOptions{Masks: c.masks, Spans: c.engine.Spans(got.Generation)})
	return err
}

// resident returns the memory in use, after what is free was given back.
func resident() (int64, error) {
	debug.FreeOSMemory()
	data, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0, err
	}
	var size, pages int64
	if _, err := fmt.Sscan(string(data), &size, &pages); err != nil {
		return 0, err
	}
	return pages * int64(os.Getpagesize()), nil
}
