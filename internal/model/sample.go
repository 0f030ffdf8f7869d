package model

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"paligemma/internal/ggml"
)

// Sampling says how the next token is chosen. The zero value is greedy.
type Sampling struct {
	Temperature float64 // 0: the most likely token
	TopK        int     // of the K most likely; 0: all
	TopP        float64 // of the smallest set with at least this probability; 0 or 1: all
	Seed        uint64  // of the random numbers: the same seed gives the same text
}

// SamplingError is a value that Sampling cannot have.
type SamplingError struct {
	Field string // as its flag is called: "top-k"
	Value any
	Want  string
}

func (e *SamplingError) Error() string {
	return fmt.Sprintf("%s %v: want %s", e.Field, e.Value, e.Want)
}

// Validate checks the ranges. Errors are SamplingErrors.
func (s Sampling) Validate() error {
	switch {
	case !(s.Temperature >= 0) || math.IsInf(s.Temperature, 0):
		return &SamplingError{"temperature", s.Temperature, "0 or more"}
	case s.TopK < 0:
		return &SamplingError{"top-k", s.TopK, "0 or more"}
	case !(s.TopP >= 0 && s.TopP <= 1):
		return &SamplingError{"top-p", s.TopP, "0 to 1"}
	}
	return nil
}

// ErrNaN says that the model computed NaN or infinite logits.
var ErrNaN = errors.New("the logits are not numbers: the model file is damaged or overflows in this type")

type sampler struct {
	Sampling
	random *rand.Rand
}

func newSampler(s Sampling) (*sampler, error) {
	if err := s.Validate(); err != nil {
		return nil, err
	}
	return &sampler{s, rand.New(rand.NewPCG(s.Seed, 0))}, nil
}

// choose picks a token by what is known.
func (s *sampler) choose(n Next) (int, error) {
	if n.Logits == nil {
		return n.Best, nil
	}
	return s.next(n.Logits)
}

// next picks a token by its logits.
func (s *sampler) next(logits []float32) (int, error) {
	best, err := argmax(logits)
	if err != nil || s.Temperature == 0 {
		return best, err
	}
	return s.draw(logits), nil
}

// argmax is the first index of the largest logit.
func argmax(logits []float32) (int, error) {
	best := ggml.Largest(logits)
	if best < 0 || math.IsInf(float64(logits[best]), 0) {
		return 0, ErrNaN
	}
	return best, nil
}

// draw samples in the order of transformers: temperature, top-k, top-p.
func (s *sampler) draw(logits []float32) int {
	ids := largest(logits, s.TopK)
	p := make([]float64, len(ids))
	total := 0.0
	for i, id := range ids {
		p[i] = math.Exp((float64(logits[id]) - float64(logits[ids[0]])) / s.Temperature)
		total += p[i]
	}
	if s.TopP > 0 && s.TopP < 1 {
		sum := 0.0
		for i := range p {
			if sum += p[i]; sum >= s.TopP*total {
				p, total = p[:i+1], sum
				break
			}
		}
	}
	r := s.random.Float64() * total
	for i := range p {
		if r -= p[i]; r < 0 {
			return ids[i]
		}
	}
	return ids[len(p)-1]
}

// largest gives the indices of the k largest logits (of all, if k is 0) in
// descending order, equal ones in the order of their indices.
func largest(logits []float32, k int) []int {
	descending := func(a, b int) int {
		return cmp.Or(cmp.Compare(logits[b], logits[a]), cmp.Compare(a, b))
	}
	ids := make([]int, 0, len(logits))
	if k <= 0 || k >= len(logits) {
		for i := range logits {
			ids = append(ids, i)
		}
		slices.SortFunc(ids, descending)
		return ids
	}
	for i, v := range logits {
		if len(ids) == k && v <= logits[ids[k-1]] {
			continue
		}
		at, _ := slices.BinarySearchFunc(ids, i, descending)
		ids = slices.Insert(ids, at, i)
		ids = ids[:min(k, len(ids))]
	}
	return ids
}
