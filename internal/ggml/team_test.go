package ggml

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"runtime"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"paligemma/internal/emulated"
	"paligemma/internal/gguf"
)

// chainWidth is the length of rows in chains.
const chainWidth = 256

// chain is a backend with a matrix: of F32, which ggml's threads multiply, each
// waiting for all others after every operation, or of Q8_0, which a team multiplies
// where the processor has a kernel.
type chain struct {
	backend *Backend
	weights *Store
}

func newChain(t *testing.T, typ gguf.Type, threads int) *chain {
	t.Helper()
	e, err := NewBackend(Options{Device: "cpu", Threads: threads, All: true})
	if err != nil {
		t.Fatal(err)
	}
	w, err := e.NewWeights([]Spec{randomWeights(t, typ, chainWidth, chainWidth, 3)}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return &chain{e, w}
}

func (c *chain) close() {
	c.weights.Close()
	c.backend.Close()
}

// run computes links of a norm, a product and a sum each.
func (c *chain) run(ctx context.Context, rows int64, links int) ([]float32, error) {
	g := c.backend.NewGraph(GraphOptions{})
	defer g.Close()
	w, x := c.weights.Tensors()[0], g.Float32s(random(int(chainWidth*rows), 1), chainWidth, rows)
	ones := g.Float32s(slices.Repeat([]float32{1}, chainWidth), chainWidth)
	for range links {
		x = g.Add(x, g.MulWeights(w, g.Gelu(g.RMSNorm(x, ones, 1e-6))))
	}
	g.Output(x)
	if err := g.Compute(ctx); err != nil {
		return nil, err
	}
	return g.Read(x)
}

var chainTypes = []gguf.Type{gguf.TypeF32, gguf.TypeQ8_0}

// compete keeps as many threads busy as there are cores, until the test ends.
func compete(t *testing.T) {
	t.Helper()
	before := runtime.GOMAXPROCS(runtime.NumCPU() + 2)
	var ended atomic.Bool
	t.Cleanup(func() {
		ended.Store(true)
		runtime.GOMAXPROCS(before)
	})
	for range runtime.NumCPU() {
		go func() {
			runtime.LockOSThread()
			for !ended.Load() {
			}
		}()
	}
}

// Any number of threads computes the same bits, whoever gets the cores: many short
// graphs, of few rows and of many.
func TestThreadsAgree(t *testing.T) {
	compete(t)
	const long = 600
	for _, typ := range chainTypes {
		want := map[int64][]float32{}
		for _, threads := range []int{1, 2, 5, 8} {
			t.Run(fmt.Sprintf("%v/%d", typ, threads), func(t *testing.T) {
				c := newChain(t, typ, threads)
				defer c.close()
				for _, rows := range []int64{1, 7, 70, 300, long, 1} {
					links := 2
					if rows == long { // threads lose their core in the middle of a part
						links = 40
					}
					got, err := c.run(t.Context(), rows, links)
					if err != nil {
						t.Fatal(err)
					}
					if want[rows] == nil {
						want[rows] = got
					}
					if !slices.EqualFunc(got, want[rows], equalBits) {
						t.Fatalf("%d rows differ from those of one thread", rows)
					}
				}
			})
		}
	}
}

func equalBits(a, b float32) bool { return math.Float32bits(a) == math.Float32bits(b) }

// A computation is stopped while threads wait or sleep, and the next one is whole.
func TestStopThreads(t *testing.T) {
	compete(t)
	for _, typ := range chainTypes {
		t.Run(typ.String(), func(t *testing.T) {
			c := newChain(t, typ, 5)
			defer c.close()
			want, err := c.run(t.Context(), 40, 3)
			if err != nil {
				t.Fatal(err)
			}
			for i := range 4 {
				ctx, cancel := context.WithTimeout(t.Context(), time.Duration(i)*time.Millisecond)
				if _, err := c.run(ctx, 40, 2000); !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("stopped after %d ms: %v", i, err)
				}
				cancel()
				got, err := c.run(t.Context(), 40, 3)
				if err != nil {
					t.Fatal(err)
				}
				if !slices.EqualFunc(got, want, equalBits) {
					t.Error("the next computation has other results")
				}
			}
		})
	}
}

// Threads end from any sleep: before the first graph, just after one, and later.
func TestEndThreads(t *testing.T) {
	for _, typ := range chainTypes {
		t.Run(typ.String(), func(t *testing.T) {
			for i := range 24 {
				c := newChain(t, typ, 1+i%8)
				if i%3 > 0 {
					if _, err := c.run(t.Context(), 8, 3); err != nil {
						t.Fatal(err)
					}
				}
				if i%3 > 1 {
					time.Sleep(time.Millisecond)
				}
				c.close()
			}
		})
	}
}

// A process that is stopped and continued again and again computes on.
func TestStopProcess(t *testing.T) {
	if os.Getenv("PALIGEMMA_TEST_COMPUTE") != "" {
		computeUntilEOF(t)
		return
	}
	cmd := emulated.Command(os.Args[0], "-test.run=^TestStopProcess$")
	cmd.Env = append(os.Environ(), "PALIGEMMA_TEST_COMPUTE=1")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Process.Kill() //nolint:errcheck // it has ended
	if _, err := io.ReadFull(out, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	for range 20 {
		for _, signal := range stopAndContinue {
			if err := cmd.Process.Signal(signal); err != nil {
				t.Fatal(err)
			}
			time.Sleep(3 * time.Millisecond)
		}
	}
	in.Close()
	rest, err := io.ReadAll(out)
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("%v: %s", err, rest)
	}
}

// computeUntilEOF writes a byte and computes until the standard input ends.
func computeUntilEOF(t *testing.T) {
	var ended atomic.Bool
	go func() {
		io.Copy(io.Discard, os.Stdin) //nolint:errcheck // any error ends it
		ended.Store(true)
	}()
	var chains []*chain
	for _, typ := range chainTypes {
		c := newChain(t, typ, 4)
		defer c.close()
		chains = append(chains, c)
	}
	fmt.Print(".")
	for n := 0; n < 10 || !ended.Load(); n++ {
		for _, c := range chains {
			if _, err := c.run(t.Context(), 20, 4); err != nil {
				t.Fatal(err)
			}
		}
	}
}
