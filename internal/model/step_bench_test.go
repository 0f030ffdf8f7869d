package model_test

import (
	"fmt"
	"os"
	"slices"
	"testing"
	"time"

	"paligemma/internal/demo"
	"paligemma/internal/ggml"
	"paligemma/internal/gguf"
	"paligemma/internal/model"
)

// BenchmarkStep makes steps of several sequences after a prompt of 264 tokens, with
// the built-in model or that of $PALIGEMMA_BENCH_MODEL: each with a prompt of its
// own, or forks of one.
func BenchmarkStep(b *testing.B) {
	m := benchmarkModel(b)
	for _, forks := range []bool{false, true} {
		for _, n := range []int{1, 2, 4, 8, 16} {
			b.Run(fmt.Sprintf("sequences=%d/forks=%v", n, forks), func(b *testing.B) { benchmarkStep(b, m, n, forks) })
		}
	}
}

// BenchmarkPrefill computes a prompt of 264 tokens, with the same model.
func BenchmarkPrefill(b *testing.B) {
	m := benchmarkModel(b)
	cache, err := m.NewCache(len(benchmarkPrompt().IDs))
	if err != nil {
		b.Fatal(err)
	}
	defer cache.Close()
	for b.Loop() {
		s := cache.NewSequence(0)
		if _, err := m.Prefill(b.Context(), s, benchmarkPrompt()); err != nil {
			b.Fatal(err)
		}
		s.Release()
	}
}

func benchmarkPrompt() model.Prompt {
	ids := make([]int, 264)
	for i := range ids {
		ids[i] = 5 + i%100
	}
	return model.Prompt{IDs: ids}
}

func benchmarkModel(b *testing.B) *model.Model {
	file, err := demo.Open()
	if path := os.Getenv("PALIGEMMA_BENCH_MODEL"); path != "" {
		file, err = gguf.Open(path, gguf.Options{})
	}
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { file.Close() })
	backend, err := ggml.NewBackend(ggml.Options{})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(backend.Close)
	m, err := model.Load(file, backend)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(m.Close)
	return m
}

func benchmarkStep(b *testing.B, m *model.Model, n int, forks bool) {
	cache, err := m.NewCache(n * 288)
	if err != nil {
		b.Fatal(err)
	}
	defer cache.Close()
	tokens := make([]model.Token, n)
	for i := range tokens {
		var s *model.Sequence
		if i == 0 || !forks {
			s = cache.NewSequence(288)
			_, err = m.Prefill(b.Context(), s, benchmarkPrompt())
		} else {
			s, err = tokens[0].Sequence.Fork(b.Context(), 24)
		}
		if err != nil {
			b.Fatal(err)
		}
		tokens[i] = model.Token{Sequence: s, ID: 7}
	}
	for b.Loop() {
		if _, err := m.Step(b.Context(), tokens); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(n*b.N)/b.Elapsed().Seconds(), "tokens/s")
}

// BenchmarkStepOfDevice makes steps of a model that is next to nothing to compute, as a
// device gets them, of one text and of many: host-ms is the median of what a step takes
// besides its computation.
func BenchmarkStepOfDevice(b *testing.B) {
	for _, c := range []struct{ sequences, layers, prompt, room int }{{1, 18, 3, 4096}, {64, 2, 264, 320}} {
		b.Run(fmt.Sprintf("sequences=%d", c.sequences), func(b *testing.B) {
			m, backend := deviceModel(b, c.layers)
			cache, err := m.NewCache(c.sequences * c.room)
			if err != nil {
				b.Fatal(err)
			}
			defer cache.Close()
			tokens := make([]model.Token, c.sequences)
			for i := range tokens {
				tokens[i] = model.Token{Sequence: cache.NewSequence(c.room), ID: 7, Greedy: true}
				if _, err := m.Prefill(b.Context(), tokens[i].Sequence, model.Prompt{IDs: slices.Repeat([]int{14}, c.prompt)}); err != nil {
					b.Fatal(err)
				}
			}
			var host []time.Duration
			for b.Loop() {
				start, before := time.Now(), backend.Busy()
				if _, err := m.Next(b.Context(), tokens); err != nil {
					b.Fatal(err)
				}
				host = append(host, time.Since(start)-(backend.Busy()-before))
			}
			slices.Sort(host)
			b.ReportMetric(host[len(host)/2].Seconds()*1e3, "host-ms")
		})
	}
}

// deviceModel is a model of zeros, computed as a device does.
func deviceModel(b *testing.B, layers int) (*model.Model, *ggml.Backend) {
	b.Helper()
	file := zeros(b, narrow(layers, 8, 1))
	b.Cleanup(func() { file.Close() })
	backend, err := ggml.NewBackend(ggml.Options{Device: "cpu", Plain: true, Threads: 1})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(backend.Close)
	m, err := model.Load(file, backend)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(m.Close)
	return m, backend
}
