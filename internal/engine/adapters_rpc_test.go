//go:build rpc

package engine

import (
	"slices"
	"sync"
	"testing"

	"paligemma/internal/adapter/random"
)

// TestAdaptersOnDevices has requests with different adapters, and without any, answered
// together by other devices, with a layer on each where there are several: texts that are
// kept for when they come again, pictures, beams and scores are the CPU's.
func TestAdaptersOnDevices(t *testing.T) {
	cpu := openTinyWith(t, Options{Device: "cpu"})
	specs := []random.Options{
		{Rank: 3, Seed: 1, Spread: 0.2, Text: true},
		{Rank: 2, Seed: 2, Spread: 0.2, Text: true, Tower: true},
		{Rank: 4, Seed: 3, Spread: 0.2, Tower: true},
	}
	for _, names := range []string{"rpc0", "rpc0,rpc1", "rpc0,cpu", "cpu,rpc0", "fake0", "fake0,fake1"} {
		t.Run(names, func(t *testing.T) {
			e := openTinyWith(t, onDevices(t, names))
			sets, onCPU := []*Adapters{nil}, []*Adapters{nil}
			for _, o := range specs {
				spec := randomAdapter(t, e, o)
				sets, onCPU = append(sets, loadAdapters(t, e, spec)), append(onCPU, loadAdapters(t, cpu, spec))
			}
			var want [][]int
			for i, a := range onCPU {
				want = append(want, answers(t, cpu, i, a)...)
			}
			for round := range 2 {
				got := make([][][]int, len(sets))
				var all sync.WaitGroup
				for i, a := range sets {
					all.Go(func() { got[i] = answers(t, e, i, a) })
				}
				all.Wait()
				for i, tokens := range slices.Concat(got...) {
					if !slices.Equal(tokens, want[i]) {
						t.Errorf("round %d, answer %d is %v, on the CPU %v", round, i, tokens, want[i])
					}
				}
			}
			if s := e.Stats(); s.PrefixHits < int64(2*len(sets)) {
				t.Errorf("%+v: prompts were computed again", s)
			}
			for i := range sets[1:] {
				sets[1+i].Release()
				onCPU[1+i].Release()
			}
			if got := answers(t, e, 0, nil); !slices.EqualFunc(got, want[:len(got)], slices.Equal) {
				t.Error("without adapters, once they are gone: other answers")
			}
		})
	}
}

// answers are the tokens of requests of each kind, and the order of choices by their scores.
func answers(t *testing.T, e *Engine, n int, a *Adapters) (all [][]int) {
	image := gray(t, e, byte(60*n))
	for _, r := range []Request{
		{MaxTokens: 60, Prompt: Prompt{Text: "x y"}, IgnoreEOS: true},
		{MaxTokens: 60, Prompt: Prompt{Text: "x", Images: []*Image{image}}, IgnoreEOS: true},
		{MaxTokens: 20, Prompt: Prompt{Text: "z"}, Beams: 3},
	} {
		r.Adapters = a
		got, err := e.Generate(t.Context(), r)
		if err != nil {
			t.Error(err)
			return nil
		}
		again, err := e.Generate(t.Context(), r)
		if err != nil || !slices.Equal(got.Tokens, again.Tokens) {
			t.Errorf("asked again: %v, before %v, %v", again.Tokens, got.Tokens, err)
		}
		all = append(all, got.Tokens)
	}
	scores, err := e.Score(t.Context(), Prompt{Text: "x", Images: []*Image{image}, Adapters: a}, []string{"a b", "c", "d d d", "e"})
	if err != nil {
		t.Error(err)
		return nil
	}
	order := []int{0, 1, 2, 3}
	slices.SortFunc(order, func(i, j int) int {
		if scores.Scores[i].Sum > scores.Scores[j].Sum {
			return -1
		}
		return 1
	})
	return append(all, order)
}
