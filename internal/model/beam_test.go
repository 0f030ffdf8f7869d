package model_test

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"paligemma/internal/model"
	"paligemma/internal/testdevice"
)

// beamGolden is what transformers' beam search and log-softmax give.
type beamGolden struct {
	Case  string
	Beams map[string][]struct {
		IDs   []int
		Score float64
	}
	Scores []struct {
		IDs       []int
		LogProbs  []float64
		Sum, Mean float64
	}
}

func beamGoldens(t *testing.T, name string) map[string]beamGolden {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(testdata, "goldens", "beams_scores.json"))
	if err != nil {
		t.Fatal(err)
	}
	var file map[string][]beamGolden
	if err := json.Unmarshal(data, &file); err != nil {
		t.Fatal(err)
	}
	out := map[string]beamGolden{}
	for _, g := range file[name] {
		out[g.Case] = g
	}
	if len(out) == 0 {
		t.Fatalf("no goldens of %s", name)
	}
	return out
}

func TestBeamSearchMatchesTransformers(t *testing.T) {
	for _, name := range []string{"pg1-tiny", "pg2-tiny"} {
		t.Run(name, func(t *testing.T) {
			m := load(t, name, "f32")
			want := beamGoldens(t, name)
			for _, g := range goldens(t, name) {
				golden, ok := want[g.Case]
				if !ok {
					continue
				}
				p := g.prompt(t, m)
				for n, beams := range map[int]string{2: "2", 4: "4"} {
					gen, err := m.BeamSearch(context.Background(), p, n, 20)
					if err != nil {
						t.Fatal(err)
					}
					got := gen.Beams
					if len(got) != n {
						t.Errorf("%s %s: %d beams of %d", name, g.Case, len(got), n)
						continue
					}
					for i, w := range golden.Beams[beams] {
						ids, stop := w.IDs, false
						if end := slices.Index(ids, 1); end >= 0 {
							ids, stop = ids[:end], true
						}
						checkBeam(t, fmt.Sprintf("%s %s: beam %d of %d", name, g.Case, i, n), got, i, model.Beam{Tokens: ids, Score: w.Score, Stop: stop})
					}
				}
			}
		})
	}
}

// checkBeam fails unless beam i is the one wanted. A GPU's roundings may choose other beams:
// there the score must be right of the beam of that text, if it was found.
func checkBeam(t *testing.T, what string, beams []model.Beam, i int, want model.Beam) {
	t.Helper()
	if testdevice.Chosen(t).Gap() > 0 {
		if i = slices.IndexFunc(beams, func(b model.Beam) bool { return sameInts(b.Tokens, want.Tokens) }); i < 0 {
			return
		}
	}
	got := beams[i]
	if !sameInts(got.Tokens, want.Tokens) || got.Stop != want.Stop || math.Abs(got.Score-want.Score) > testdevice.Chosen(t).LogProbTolerance(1e-4) {
		t.Errorf("%s is %v (%.5f, %v), want %v (%.5f, %v)", what, got.Tokens, got.Score, got.Stop, want.Tokens, want.Score, want.Stop)
	}
}

func TestScoreMatchesTransformers(t *testing.T) {
	tolerance := testdevice.Chosen(t).LogProbTolerance(1e-4)
	for _, name := range []string{"pg1-tiny", "pg2-tiny"} {
		t.Run(name, func(t *testing.T) {
			m := load(t, name, "f32")
			want := beamGoldens(t, name)
			for _, g := range goldens(t, name) {
				golden, ok := want[g.Case]
				if !ok {
					continue
				}
				var suffixes [][]int
				for _, s := range golden.Scores {
					suffixes = append(suffixes, s.IDs)
				}
				p := g.prompt(t, m)
				got, err := m.Score(context.Background(), p, suffixes)
				if err != nil {
					t.Fatal(err)
				}
				for i, w := range golden.Scores {
					for j, lp := range w.LogProbs {
						if math.Abs(got[i].LogProbs[j]-lp) > tolerance {
							t.Errorf("%s %s: suffix %d, token %d: %.6f, want %.6f", name, g.Case, i, j, got[i].LogProbs[j], lp)
						}
					}
					if math.Abs(got[i].Sum-w.Sum) > tolerance*math.Abs(w.Sum) || math.Abs(got[i].Mean-w.Mean) > tolerance*math.Abs(w.Mean) {
						t.Errorf("%s %s: suffix %d: sum %v mean %v, want %v %v", name, g.Case, i, got[i].Sum, got[i].Mean, w.Sum, w.Mean)
					}
				}
			}
		})
	}
}

// TestScoreGroups scores more suffixes than fit in one batch: each must come
// out as it does alone.
func TestScoreGroups(t *testing.T) {
	m := load(t, "pg2-tiny", "f32")
	g := goldens(t, "pg2-tiny")[0]
	p := g.prompt(t, m)
	var suffixes [][]int
	for i := range 150 {
		s := make([]int, 1+i%4)
		for j := range s {
			s[j] = 100 + 7*i + j
		}
		s[len(s)-1] = 1
		suffixes = append(suffixes, s)
	}
	suffixes = append(suffixes, make([]int, 200)) // longer than a batch is meant to be
	all, err := m.Score(context.Background(), p, suffixes)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(suffixes); i += 25 {
		alone, err := m.Score(context.Background(), p, suffixes[i:i+1])
		if err != nil {
			t.Fatal(err)
		}
		if math.Abs(alone[0].Sum-all[i].Sum) > testdevice.Chosen(t).LogProbTolerance(1e-4)*math.Abs(all[i].Sum) {
			t.Errorf("suffix %d: %v in a group, %v alone", i, all[i].Sum, alone[0].Sum)
		}
	}
	for _, bad := range [][][]int{{{}}, {{99999}}, {{-1, 1}}} {
		if _, err := m.Score(context.Background(), p, bad); err == nil {
			t.Errorf("%v: no error", bad)
		}
	}
}

func TestBeamLimits(t *testing.T) {
	m := load(t, "pg1-tiny", "f32")
	p := model.Prompt{IDs: []int{2, 14}}
	for _, c := range [][2]int{{0, 5}, {65, 5}, {2, 0}} {
		if _, err := m.BeamSearch(context.Background(), p, c[0], c[1]); err == nil {
			t.Errorf("%v: no error", c)
		}
	}
	// One beam is greedy search.
	greedy, err := m.Generate(context.Background(), p, model.GenerateOptions{MaxTokens: 8})
	if err != nil {
		t.Fatal(err)
	}
	search, err := m.BeamSearch(context.Background(), p, 1, 8)
	if err != nil {
		t.Fatal(err)
	}
	if !sameInts(search.Tokens, greedy.Tokens) || !sameInts(search.Beams[0].Tokens, greedy.Tokens) {
		t.Errorf("one beam %v, greedy %v", search.Beams, greedy.Tokens)
	}
}
