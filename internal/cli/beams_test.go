package cli

import (
	"encoding/json"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"paligemma/internal/ask"
	"paligemma/internal/engine"
	"paligemma/internal/model"
	"paligemma/internal/result"
)

// TestBeamGoldens compares --beams and score with transformers' beam search and
// log-softmax.
func TestBeamGoldens(t *testing.T) {
	data, err := os.ReadFile("../../testdata/goldens/beams_scores.json")
	if err != nil {
		t.Fatal(err)
	}
	var file map[string][]struct {
		Case   string
		Image  json.RawMessage
		Prompt string
		Beams  map[string][]struct {
			IDs   []int
			Score float64
			Text  string
		}
		Scores []struct {
			Suffix    string
			IDs       []int
			LogProbs  []float64
			Sum, Mean float64
		}
	}
	if err := json.Unmarshal(data, &file); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"pg1-tiny", "pg2-tiny"} {
		m := filepath.Join(t.TempDir(), "m.gguf")
		if code, _, errs := runArgs(t, t.Context(), false, "convert", "../../testdata/checkpoints/"+name, m, "--type", "f32", "-q"); code != 0 {
			t.Fatal(errs)
		}
		tried := 0
		for _, g := range file[name] {
			c := goldenCase{Image: g.Image, Prompt: g.Prompt}
			args, exact := c.args(t, "generate", m)
			if !exact || tried == 3 {
				continue
			}
			tried++
			ask := func(more ...string) (r result.Result) {
				t.Helper()
				code, out, errs := runArgs(t, t.Context(), false, append(slices.Clone(args), append(more, "--format", "json")...)...)
				if err := json.Unmarshal([]byte(out), &r); code != 0 || err != nil {
					t.Fatalf("%d, %v, %s", code, err, errs)
				}
				return r
			}
			for n, beams := range g.Beams {
				r := ask("--beams", n, "--num-return", n, "--max-tokens", "20")
				if len(r.Alternatives) != len(beams) {
					t.Fatalf("%s %s: %d of %d beams", name, g.Case, len(r.Alternatives), len(beams))
				}
				for i, want := range beams {
					got := r.Alternatives[i]
					ids := want.IDs
					if end := slices.Index(ids, 1); end >= 0 {
						ids = ids[:end]
					}
					if !slices.Equal(got.Tokens, ids) || got.Text != want.Text || math.Abs(got.Score-want.Score) > 1e-4 {
						t.Errorf("%s %s: beam %d of %s: %q %g, want %q %g", name, g.Case, i, n, got.Text, got.Score, want.Text, want.Score)
					}
				}
				if *r.Text != beams[0].Text {
					t.Errorf("%s %s: text %q, want %q", name, g.Case, *r.Text, beams[0].Text)
				}
			}
			args[0] = "score"
			var more []string
			for _, s := range g.Scores {
				more = append(more, "--suffix", s.Suffix)
			}
			r := ask(more...)
			if !slices.IsSortedFunc(*r.Scores, func(a, b result.Score) int { return int(math.Copysign(1, b.Sum-a.Sum)) }) {
				t.Errorf("%s %s: not in order", name, g.Case)
			}
			for _, want := range g.Scores {
				i := slices.IndexFunc(*r.Scores, func(s result.Score) bool { return s.Suffix == want.Suffix })
				if i < 0 {
					t.Fatalf("%s %s: %q is missing", name, g.Case, want.Suffix)
				}
				got := (*r.Scores)[i]
				if !slices.Equal(got.Tokens, want.IDs) || len(got.LogProbs) != len(want.LogProbs) {
					t.Errorf("%s %s %q: tokens %v, want %v", name, g.Case, want.Suffix, got.Tokens, want.IDs)
					continue
				}
				for j, p := range want.LogProbs {
					if math.Abs(got.LogProbs[j]-p) > 1e-4 {
						t.Errorf("%s %s %q: token %d: %g, want %g", name, g.Case, want.Suffix, j, got.LogProbs[j], p)
					}
				}
				if math.Abs(got.Loss+want.Mean) > 1e-4 || math.Abs(got.Sum-want.Sum) > 1e-4*math.Abs(want.Sum) ||
					math.Abs(math.Log(got.Perplexity)-got.Loss) > 1e-9 || got.Mean != -got.Loss {
					t.Errorf("%s %s %q: %+v, want sum %g, mean %g", name, g.Case, want.Suffix, got, want.Sum, want.Mean)
				}
			}
		}
		if tried < 3 {
			t.Errorf("%s: %d cases", name, tried)
		}
	}
}

// The log-probabilities of a text's tokens are those that score gives the text,
// wherever it decodes to the very tokens.
func TestLogProbsAreScores(t *testing.T) {
	scene := filepath.Join(fixture(t, "IMAGES"), "scene.png")
	args := []string{scene, "-m", fixture(t, "MODEL"), "--prompt", "caption en", "--format", "json"}
	var written, scored result.Result
	code, out, errs := runArgs(t, t.Context(), false, append([]string{"generate", "--logprobs", "1", "--max-tokens", "3"}, args...)...)
	if err := json.Unmarshal([]byte(out), &written); code != 0 || err != nil {
		t.Fatal(err, errs)
	}
	code, out, errs = runArgs(t, t.Context(), false, append([]string{"score", "--suffix", *written.Text}, args...)...)
	if err := json.Unmarshal([]byte(out), &scored); code != 0 || err != nil {
		t.Fatal(err, errs)
	}
	s := (*scored.Scores)[0]
	if !slices.Equal(s.Tokens[:3], *written.Tokens) {
		t.Skipf("%q encodes as %v", *written.Text, s.Tokens)
	}
	var text strings.Builder
	for i, p := range *written.LogProbs {
		text.WriteString(p.Text)
		if math.Abs(p.LogProb-s.LogProbs[i]) > 1e-4 {
			t.Errorf("token %d: %g, score says %g", i, p.LogProb, s.LogProbs[i])
		}
		if p.Top[0].Token != p.Token || p.Top[0].LogProb != p.LogProb {
			t.Errorf("token %d is not the most likely one: %+v", i, p)
		}
	}
	if text.String() != *written.Text {
		t.Errorf("texts of tokens %q, text %q", text.String(), *written.Text)
	}
}

// With --num-return each text is one line, whatever is in it.
func TestAlternativesAreLines(t *testing.T) {
	var out strings.Builder
	a := &app{Streams: Streams{Out: &out, Err: io.Discard}, common: commonOptions{Format: formatText}}
	e, err := a.openModel(modelOptions{Model: fixture(t, "MODEL"), Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	var beams []model.Beam
	for _, text := range []string{"a\nb", "c"} {
		ids, err := e.Tokenizer().Encode(text)
		if err != nil {
			t.Fatal(err)
		}
		beams = append(beams, model.Beam{Tokens: ids})
	}
	q := request{items: []item{{prompts: []string{""}}}, sampling: samplingOptions{Writing: ask.Writing{Beams: 2, NumReturn: 2}}}
	r := &run{app: a, request: q, engine: e, printer: a.newPrinter(q.layout())}
	if err := r.printTexts("", engine.Result{Generation: model.Generation{Tokens: beams[0].Tokens, Beams: beams}}); err != nil {
		t.Fatal(err)
	}
	if want := "a\\nb\nc\n"; out.String() != want {
		t.Errorf("%q, want %q", out.String(), want)
	}
}
