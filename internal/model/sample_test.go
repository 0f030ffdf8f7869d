package model

import (
	"errors"
	"fmt"
	"math"
	"testing"
)

func TestGreedy(t *testing.T) {
	s, err := newSampler(Sampling{})
	if err != nil {
		t.Fatal(err)
	}
	if id, err := s.next([]float32{1, 5, 5, 2}); id != 1 || err != nil {
		t.Errorf("got %d, %v: want the first of the largest", id, err)
	}
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	for _, logits := range [][]float32{{nan, 1}, {1, nan}, {1, inf}, {-inf, -inf}} {
		if _, err := s.next(logits); !errors.Is(err, ErrNaN) {
			t.Errorf("%v: %v", logits, err)
		}
	}
}

// shares draws many tokens and returns how often each came.
func shares(t *testing.T, o Sampling, logits []float32) []float64 {
	t.Helper()
	s, err := newSampler(o)
	if err != nil {
		t.Fatal(err)
	}
	const n = 20000
	out := make([]float64, len(logits))
	for range n {
		id, err := s.next(logits)
		if err != nil {
			t.Fatal(err)
		}
		out[id] += 1.0 / n
	}
	return out
}

func TestSampling(t *testing.T) {
	ln := func(p float64) float32 { return float32(math.Log(p)) }
	logits := []float32{ln(0.1), ln(0.4), ln(0.3), ln(0.2)}
	for name, c := range map[string]struct {
		o    Sampling
		want []float64
	}{
		"all":                   {Sampling{Temperature: 1}, []float64{0.1, 0.4, 0.3, 0.2}},
		"top-k":                 {Sampling{Temperature: 1, TopK: 2}, []float64{0, 4.0 / 7, 3.0 / 7, 0}},
		"top-p":                 {Sampling{Temperature: 1, TopP: 0.65}, []float64{0, 4.0 / 7, 3.0 / 7, 0}},
		"top-p takes one":       {Sampling{Temperature: 1, TopP: 0.01}, []float64{0, 1, 0, 0}},
		"top-k before top-p":    {Sampling{Temperature: 1, TopK: 3, TopP: 0.7}, []float64{0, 4.0 / 7, 3.0 / 7, 0}},
		"half the temperature":  {Sampling{Temperature: 0.5}, []float64{1.0 / 30, 16.0 / 30, 9.0 / 30, 4.0 / 30}},
		"more than there are":   {Sampling{Temperature: 1, TopK: 99, TopP: 1}, []float64{0.1, 0.4, 0.3, 0.2}},
		"next to no randomness": {Sampling{Temperature: 1e-3}, []float64{0, 1, 0, 0}},
	} {
		t.Run(name, func(t *testing.T) {
			c.o.Seed = 11
			for i, got := range shares(t, c.o, logits) {
				if math.Abs(got-c.want[i]) > 0.015 {
					t.Errorf("token %d came in %.3f of the draws, want %.3f", i, got, c.want[i])
				}
			}
		})
	}
}

func TestSeed(t *testing.T) {
	logits := make([]float32, 1000)
	draw := func(seed uint64) (ids []int) {
		s, err := newSampler(Sampling{Temperature: 1, Seed: seed})
		if err != nil {
			t.Fatal(err)
		}
		for range 8 {
			id, err := s.next(logits)
			if err != nil {
				t.Fatal(err)
			}
			ids = append(ids, id)
		}
		return ids
	}
	a, b, c := draw(1), draw(1), draw(2)
	same := func(x, y []int) bool {
		for i := range x {
			if x[i] != y[i] {
				return false
			}
		}
		return true
	}
	if !same(a, b) || same(a, c) {
		t.Errorf("seed 1: %v and %v, seed 2: %v", a, b, c)
	}
}

func TestSamplingRanges(t *testing.T) {
	nan := math.NaN()
	for _, s := range []Sampling{{Temperature: -1}, {Temperature: nan}, {Temperature: math.Inf(1)}, {TopK: -1}, {TopP: -0.1}, {TopP: 1.1}, {TopP: nan}} {
		if s.Validate() == nil {
			t.Errorf("%+v: no error", s)
		}
	}
}

func TestTopLogProbs(t *testing.T) {
	ln := func(p float64) float32 { return float32(math.Log(p)) }
	got := topLogProbs([]float32{ln(0.1), ln(0.4), ln(0.2), ln(0.1), ln(0.2)}, 3, 3)
	if got.ID != 3 || math.Abs(got.LogProb-math.Log(0.1)) > 1e-6 || len(got.Top) != 3 {
		t.Fatalf("got %+v", got)
	}
	for i, want := range []TokenLogProb{{1, math.Log(0.4)}, {2, math.Log(0.2)}, {4, math.Log(0.2)}} {
		if got.Top[i].ID != want.ID || math.Abs(got.Top[i].LogProb-want.LogProb) > 1e-6 {
			t.Errorf("place %d: %+v, want %+v", i, got.Top[i], want)
		}
	}
	if got := topLogProbs([]float32{1, 2}, 0, 5); len(got.Top) != 2 {
		t.Errorf("%d of two tokens", len(got.Top))
	}
}

func TestLargest(t *testing.T) {
	logits := []float32{2, 5, 1, 5, 3, 2}
	for k, want := range map[int]string{0: "[1 3 4 0 5 2]", 1: "[1]", 2: "[1 3]", 4: "[1 3 4 0]", 6: "[1 3 4 0 5 2]", 9: "[1 3 4 0 5 2]"} {
		if got := fmt.Sprint(largest(logits, k)); got != want {
			t.Errorf("%d largest: %s, want %s", k, got, want)
		}
	}
}
