package model_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"paligemma/internal/model"
)

// stopGoldens is what transformers writes with several stop tokens
// (eos_token_id as a list), up to and with the first of them.
type stopGoldens struct {
	Model string
	Stop  []int
	Cases []struct {
		Case      string
		Generated []int `json:"generated_ids"`
		Beams     map[string][]struct {
			IDs   []int
			Score float64
		}
	}
}

// ended cuts what transformers wrote before the stop token, and reports whether
// there is one.
func (g stopGoldens) ended(ids []int) ([]int, bool) {
	end := slices.IndexFunc(ids, func(id int) bool { return slices.Contains(g.Stop, id) })
	if end < 0 {
		return ids, false
	}
	return ids[:end], true
}

// TestStopTokens generates with the stop tokens that a file names, greedily and
// with beams.
func TestStopTokens(t *testing.T) {
	data, err := os.ReadFile(filepath.Join(testdata, "goldens", "stop_tokens.json"))
	if err != nil {
		t.Fatal(err)
	}
	var all []stopGoldens
	if err := json.Unmarshal(data, &all); err != nil {
		t.Fatal(err)
	}
	for set, want := range all {
		name := want.Model
		var stop []int32
		for _, id := range want.Stop {
			stop = append(stop, int32(id))
		}
		m := open(t, rewrite(t, convertTo(t, name, "f32"), map[string]any{"tokenizer.ggml.eos_token_ids": stop}, nil))
		prompts := map[string]model.Prompt{}
		for _, g := range goldens(t, name) {
			prompts[g.Case] = g.prompt(t, m)
		}
		for _, c := range want.Cases {
			t.Run(fmt.Sprint(name, "/", set, "/", c.Case), func(t *testing.T) {
				ids, stopped := want.ended(c.Generated)
				got, err := m.Generate(t.Context(), prompts[c.Case], model.GenerateOptions{MaxTokens: 20})
				if err != nil {
					t.Fatal(err)
				}
				checkStop(t, got, ids, stopped)
				for n, key := range map[int]string{2: "2", 4: "4"} {
					search, err := m.BeamSearch(t.Context(), prompts[c.Case], n, 20)
					if err != nil {
						t.Fatal(err)
					}
					beams := search.Beams
					for i, w := range c.Beams[key] {
						ids, stopped := want.ended(w.IDs)
						checkBeam(t, fmt.Sprintf("beam %d of %d", i, n), beams, i, model.Beam{Tokens: ids, Score: w.Score, Stop: stopped})
					}
				}
			})
		}
	}
}

func checkStop(t *testing.T, got model.Generation, ids []int, stopped bool) {
	t.Helper()
	reason := model.FinishLength
	if stopped {
		reason = model.FinishStop
	}
	if !sameInts(got.Tokens, ids) || got.FinishReason != reason {
		t.Errorf("%v (%s), want %v (%s)", got.Tokens, got.FinishReason, ids, reason)
	}
}

// TestStopInPlaceOfEOS: where a file names stop tokens, eos is one of them or
// none.
func TestStopInPlaceOfEOS(t *testing.T) {
	k := model.TokenConfig{EOS: 1}
	if !k.Ends(1) || k.Ends(107) {
		t.Error("without stop tokens eos ends a text")
	}
	k.Stop = []int{107}
	if k.Ends(1) || !k.Ends(107) {
		t.Error("stop tokens count, not eos")
	}
}
