package ggml

import (
	"fmt"
	"os"
	"runtime"
	"testing"
	"time"

	"paligemma/internal/gguf"
)

// The threads of a backend sleep until there is something to compute: they must
// not poll while a model is opened.
func TestThreadsSleep(t *testing.T) {
	before := cpuTimes(t)
	const threads = 8
	e, err := NewBackend(Options{Device: "cpu", Threads: threads, All: true})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	time.Sleep(300 * time.Millisecond)
	asleep := 0
	for thread, used := range cpuTimes(t) {
		if _, old := before[thread]; !old && used < 5*time.Millisecond {
			asleep++
		}
	}
	if asleep < threads-1 {
		t.Errorf("%d threads have used no time to speak of, want %d", asleep, threads-1)
	}
	got, err := compute(t, e, func(g *Graph) Tensor { return g.Scale(g.Float32s([]float32{1, 2}, 2, 1), 2) })
	if err != nil {
		t.Fatal(err)
	}
	near(t, "scaled", got, []float64{2, 4}, 0)
}

// Threads that wait for others in a graph of ggml's operations give their cores away:
// barrier.h changes how ggml waits, as long as ggml is written as it expects.
func TestBarriersSleep(t *testing.T) {
	c := newChain(t, gguf.TypeF32, min(MaxThreads(), max(8, 2*runtime.NumCPU())))
	defer c.close()
	before := barrierSleeps()
	for range 5 {
		if _, err := c.run(t.Context(), 100, 10); err != nil {
			t.Fatal(err)
		}
		if barrierSleeps() > before {
			return
		}
	}
	t.Error("no thread fell asleep in a barrier: does ggml_barrier still wait as barrier.h says?")
}

// cpuTimes are the times that the process's threads have run.
func cpuTimes(t *testing.T) map[string]time.Duration {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/task")
	if err != nil {
		t.Skip(err)
	}
	used := map[string]time.Duration{}
	for _, entry := range entries {
		data, err := os.ReadFile("/proc/self/task/" + entry.Name() + "/schedstat")
		var ns int64
		if _, scanErr := fmt.Sscan(string(data), &ns); err != nil || scanErr != nil {
			continue // a thread that has just ended, or a kernel without it
		}
		used[entry.Name()] = time.Duration(ns)
	}
	if len(used) == 0 {
		t.Skip("the kernel does not tell")
	}
	return used
}
