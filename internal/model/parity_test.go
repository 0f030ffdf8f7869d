package model_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"

	"paligemma/internal/ggml"
	"paligemma/internal/model"
	"paligemma/internal/testdevice"
)

// f32Tolerance is the bar for F32 runs, in parts of the largest magnitude of
// a tensor. What is reached is about 2e-6.
const f32Tolerance = 1e-5

// checkpoints are tiny random models in the layout of save_pretrained: both
// families, and one with widths that are not multiples of 32.
var checkpoints = []string{"pg1-tiny", "pg1-odd", "pg2-tiny"}

func TestForwardMatchesTransformers(t *testing.T) {
	for _, name := range checkpoints {
		m := load(t, name, "f32")
		if !m.Options().Exact {
			t.Fatalf("%s is not computed in f32", name)
		}
		for _, g := range goldens(t, name) {
			t.Run(name+"/"+g.Case, func(t *testing.T) {
				p := g.prompt(t, m)
				var features []float32
				for _, image := range p.Images {
					features = append(features, values(t, image)...)
				}
				compare(t, "image features", features, g.get(t, "image_features"), f32Tolerance)
				got, err := m.Trace(context.Background(), p, g.suffix(), model.TraceOptions{HiddenStates: true, Attentions: true})
				if err != nil {
					t.Fatal(err)
				}
				logits := g.get(t, "logits")
				compare(t, "logits", got.Logits[max(0, len(got.Logits)-len(logits)):], logits, f32Tolerance)
				for i, h := range got.HiddenStates {
					compare(t, fmt.Sprint("hidden state ", i), h, g.get(t, fmt.Sprint("hidden_", i)), f32Tolerance)
				}
				for i, a := range got.Attentions {
					compare(t, fmt.Sprint("attention ", i), a, g.get(t, fmt.Sprint("attn_", i)), f32Tolerance)
				}
				if g.Suffix == nil {
					return
				}
				if fmt.Sprint(got.Labels) != fmt.Sprint(g.Labels) {
					t.Errorf("labels %v, want %v", got.Labels, g.Labels)
				}
				if math.Abs(got.Loss-g.Loss) > testdevice.Chosen(t).Tolerance(1e-5)*g.Loss {
					t.Errorf("loss %v, want %v", got.Loss, g.Loss)
				}
			})
		}
	}
}

// TestTilesMatchTransformers computes short sequences, too, with the attention
// that only long ones get: in tiles, without a mask.
func TestTilesMatchTransformers(t *testing.T) {
	for _, name := range checkpoints {
		m := openOn(t, convertTo(t, name, "f32"), ggml.Options{Device: "cpu", Threads: 1, Tiles: 1})
		for _, g := range goldens(t, name) {
			p := g.prompt(t, m)
			var features []float32
			for _, image := range p.Images {
				features = append(features, values(t, image)...)
			}
			compare(t, name+" "+g.Case+": image features", features, g.get(t, "image_features"), f32Tolerance)
			if g.Suffix != nil {
				continue // masked: never in tiles
			}
			got, err := m.Trace(context.Background(), p, nil, model.TraceOptions{HiddenStates: true})
			if err != nil {
				t.Fatal(err)
			}
			logits := g.get(t, "logits")
			compare(t, name+" "+g.Case+": logits", got.Logits[max(0, len(got.Logits)-len(logits)):], logits, f32Tolerance)
			for i, h := range got.HiddenStates {
				compare(t, fmt.Sprint(name, " ", g.Case, ": hidden state ", i), h, g.get(t, fmt.Sprint("hidden_", i)), f32Tolerance)
			}
		}
	}
}

func TestGenerateMatchesTransformers(t *testing.T) {
	for _, name := range checkpoints {
		m := load(t, name, "f32")
		for _, g := range goldens(t, name) {
			if g.Suffix != nil || g.MinTop2Gap < testdevice.Chosen(t).Gap() {
				continue
			}
			var streamed []int
			got, err := m.Generate(context.Background(), g.prompt(t, m), model.GenerateOptions{
				MaxTokens: 20, OnToken: func(id int) error { streamed = append(streamed, id); return nil },
			})
			if err != nil {
				t.Fatal(err)
			}
			want, reason := g.Generated, model.FinishLength
			if g.StoppedByEOS {
				want, reason = want[:len(want)-1], model.FinishStop
			}
			if !sameInts(got.Tokens, want) || got.FinishReason != reason {
				t.Errorf("%s %s: %v (%s), want %v (%s); the closest call was %.2g", name, g.Case, got.Tokens, got.FinishReason, want, reason, g.MinTop2Gap)
			}
			if g.StoppedByEOS {
				want = g.Generated
			}
			if !sameInts(streamed, want) || got.PrefillTokens != g.prefix {
				t.Errorf("%s %s: streamed %v of %d tokens", name, g.Case, streamed, got.PrefillTokens)
			}
		}
	}
}

// TestImagePastRows: <image> may be the first id past the embedding, and is then
// refused in a suffix only.
func TestImagePastRows(t *testing.T) {
	const image = 2240
	want := load(t, "pg1-tiny", "f32")
	m := open(t, rewrite(t, convertTo(t, "pg1-tiny", "f32"), map[string]any{"tokenizer.ggml.image_token_id": image}, nil))
	for _, g := range goldens(t, "pg1-tiny")[:3] {
		p := g.prompt(t, want)
		a, err := want.Generate(t.Context(), p, model.GenerateOptions{MaxTokens: 8, TopLogProbs: 1})
		if err != nil {
			t.Fatal(err)
		}
		for i, id := range p.IDs {
			if id == 2176 {
				p.IDs[i] = image
			}
		}
		b, err := m.Generate(t.Context(), p, model.GenerateOptions{MaxTokens: 8, TopLogProbs: 1})
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(a.LogProbs, b.LogProbs) {
			t.Errorf("%s: %v, want %v", g.Case, b.LogProbs, a.LogProbs)
		}
		if _, err := m.Score(t.Context(), p, [][]int{{image, 1}}); err == nil {
			t.Error("a suffix with an image token is scored")
		}
	}
}

// TestIgnoreEOS goes on after the end of the text, for as long as asked.
func TestIgnoreEOS(t *testing.T) {
	m := load(t, "pg1-tiny", "f32")
	ended := false
	for _, g := range goldens(t, "pg1-tiny") {
		if g.Suffix != nil || !g.StoppedByEOS {
			continue
		}
		ended = true
		want := len(g.Generated) + 1
		got, err := m.Generate(t.Context(), g.prompt(t, m), model.GenerateOptions{MaxTokens: want, IgnoreEOS: true})
		if err != nil {
			t.Fatal(err)
		}
		if len(got.Tokens) != want || got.FinishReason != model.FinishLength || !sameInts(got.Tokens[:want-1], g.Generated) {
			t.Errorf("%s: %v (%s), want %v and one more", g.Case, got.Tokens, got.FinishReason, g.Generated)
		}
	}
	if !ended {
		t.Error("no case ends by itself")
	}
}

// TestTraceKeeps checks that the cheaper ways to the last logits give the same.
func TestTraceKeeps(t *testing.T) {
	m := load(t, "pg2-tiny", "f32")
	g := goldens(t, "pg2-tiny")[12]
	p := g.prompt(t, m)
	vocab := m.Config().Text.Vocab
	all, err := m.Trace(context.Background(), p, g.suffix(), model.TraceOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range []model.TraceOptions{{LogitsToKeep: 1}, {LogitsToKeep: 3, HiddenStates: true}, {LogitsToKeep: len(g.IDs)}} {
		got, err := m.Trace(context.Background(), p, g.suffix(), o)
		if err != nil {
			t.Fatal(err)
		}
		if got.LogitRows != o.LogitsToKeep || len(got.Logits) != o.LogitsToKeep*vocab {
			t.Errorf("%+v: %d rows, %d logits", o, got.LogitRows, len(got.Logits))
		}
		compare(t, fmt.Sprintf("%+v", o), got.Logits, all.Logits[len(all.Logits)-len(got.Logits):], 1e-6)
		if math.Abs(got.Loss-all.Loss) > testdevice.Chosen(t).Tolerance(1e-6)*all.Loss {
			t.Errorf("%+v: loss %v, want %v", o, got.Loss, all.Loss)
		}
	}
	for _, keep := range []int{-1, len(g.IDs) + 1} {
		if _, err := m.Trace(context.Background(), p, g.suffix(), model.TraceOptions{LogitsToKeep: keep}); err == nil {
			t.Errorf("%d rows of logits: no error", keep)
		}
	}
}

// TestTypes bounds what each type costs on models whose widths are below the
// block size of the K types: the worst case.
func TestTypes(t *testing.T) {
	for typ, limit := range map[string]float64{"f16": 0.005, "bf16": 0.03, "q8_0": 0.10} {
		for _, name := range checkpoints {
			m := load(t, name, typ)
			if m.Options().Exact {
				t.Errorf("%s %s claims to be f32", name, typ)
			}
			worst := 0.0
			for _, g := range goldens(t, name) {
				logits := g.get(t, "logits")
				got, err := m.Trace(context.Background(), g.prompt(t, m), g.suffix(), model.TraceOptions{})
				if err != nil {
					t.Fatal(err)
				}
				worst = max(worst, relativeL2(got.Logits[len(got.Logits)-len(logits):], logits))
			}
			t.Logf("%s %s: %.2f %% relative L2", name, typ, 100*worst)
			if limit := testdevice.Chosen(t).TypeTolerance(typ, limit); !(worst <= limit) {
				t.Errorf("%s %s: %.2f %% relative L2, want %.2f %%", name, typ, 100*worst, 100*limit)
			}
		}
	}
}

// TestJoined compares the projections in one product, as they are in a file of
// ours, with those in three.
func TestJoined(t *testing.T) {
	for _, name := range checkpoints {
		for _, typ := range []string{"f32", "q4_k_m"} {
			m := load(t, name, typ)
			if joined, layers := m.Joined(); joined == 0 && layers > 0 || typ == "f32" && joined < layers {
				t.Errorf("%s %s: %d of %d layers are joined", name, typ, joined, layers)
			}
			g := goldens(t, name)[0]
			trace := func() model.Trace {
				got, err := m.Trace(context.Background(), g.prompt(t, m), g.suffix(), model.TraceOptions{})
				if err != nil {
					t.Fatal(err)
				}
				return got
			}
			joined := trace()
			m.Separate()
			compare(t, name+" "+typ, joined.Logits, trace().Logits, testdevice.Chosen(t).TypeTolerance(typ, 1e-6))
		}
	}
}

// TestJoinedBiases compares attention of the tower with its biases as one tensor with that of
// three, which has the same bits: with those of the file, and with some that adapters replace.
func TestJoinedBiases(t *testing.T) {
	biases := func(layers []string, names ...string) (all []model.Change) {
		for _, layer := range layers {
			for _, name := range names {
				all = append(all, model.Change{Tensor: "v.blk." + layer + ".attn_" + name + ".bias"})
			}
		}
		return all
	}
	path := convertTo(t, "pg1-odd", "f16") // 384 bytes of biases: CUDA begins tensors at multiples of 128
	specs := specsOf(t, path)
	d := dice{rand.New(rand.NewPCG(5, 6))}
	var features [][]float32
	for _, c := range []struct {
		name    string
		changes []model.Change
		apart   int // layers whose biases cannot be one tensor
	}{
		{"of the file", nil, 0},
		{"queries of one layer", biases([]string{"1"}, "q"), 1},
		{"values of all layers", biases([]string{"0", "1"}, "v"), 2},
		{"all", biases([]string{"0", "1"}, "q", "k", "v"), 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			for i := range c.changes {
				c.changes[i].Values = d.values(specs[c.changes[i].Tensor].Shape[0], 0.5)
			}
			joined, apart := openOn(t, path, otherDevice(t), c.changes...), openOn(t, path, otherDevice(t), c.changes...)
			layers := joined.Config().Vision.Layers
			if n := joined.JoinedBiases(); n < layers-c.apart || c.name != "all" && n != layers-c.apart {
				t.Errorf("%d of %d layers have one tensor of biases", n, layers)
			}
			apart.SeparateBiases()
			encode := func(m *model.Model) []float32 {
				f, err := m.Encode(t.Context(), picture(m, 3))
				if err != nil {
					t.Fatal(err)
				}
				return values(t, f)
			}
			got := encode(joined)
			if !slices.Equal(got, encode(apart)) {
				t.Error("features have other bits with biases in one tensor")
			}
			if slices.ContainsFunc(features, func(other []float32) bool { return slices.Equal(got, other) }) {
				t.Error("biases change nothing")
			}
			features = append(features, got)
		})
	}
}

// TestEveryTypeRuns generates with each type, whatever the text.
func TestEveryTypeRuns(t *testing.T) {
	for _, typ := range []string{"q6_k", "q5_k_m", "q5_0", "q5_1", "q4_k_m", "q4_k_s", "q4_0", "q4_1", "q3_k_m", "q2_k", "iq4_nl", "iq4_xs"} {
		for _, name := range checkpoints {
			m := load(t, name, typ)
			g := goldens(t, name)[0]
			if _, err := m.Generate(context.Background(), g.prompt(t, m), model.GenerateOptions{MaxTokens: 4}); err != nil {
				t.Errorf("%s %s: %v", name, typ, err)
			}
		}
	}
}

// TestRepeats ends a text before a token that is the same as the one before it.
func TestRepeats(t *testing.T) {
	m := load(t, "pg1-tiny", "f32")
	for _, g := range goldens(t, "pg1-tiny")[:2] {
		p := g.prompt(t, m)
		o := model.GenerateOptions{MaxTokens: 20, TopLogProbs: 1}
		whole, err := m.Generate(context.Background(), p, o)
		if err != nil {
			t.Fatal(err)
		}
		n, last := 0, -1
		o.OnToken = func(id int) error {
			again := id == last
			n, last = n+1, id
			if again {
				return fmt.Errorf("enough: %w", model.Repeat{Keep: n - 2})
			}
			return nil
		}
		got, err := m.Generate(context.Background(), p, o)
		if err != nil {
			t.Fatal(err)
		}
		keep := 0
		for keep+1 < len(whole.Tokens) && whole.Tokens[keep] != whole.Tokens[keep+1] {
			keep++
		}
		if keep+1 == len(whole.Tokens) {
			t.Fatalf("%v does not repeat a token", whole.Tokens)
		}
		if !sameInts(got.Tokens, whole.Tokens[:keep]) || got.Dropped != 2 || got.FinishReason != model.FinishRepeat || len(got.LogProbs) != keep {
			t.Errorf("%v, %d dropped, %s, %d log-probabilities; want %v", got.Tokens, got.Dropped, got.FinishReason, len(got.LogProbs), whole.Tokens[:keep])
		}
	}
}

// TestOnTokenEnds ends a text by an error of the caller's.
func TestOnTokenEnds(t *testing.T) {
	m := load(t, "pg1-tiny", "f32")
	enough := errors.New("enough")
	n := 0
	got, err := m.Generate(context.Background(), model.Prompt{IDs: []int{2, 14}}, model.GenerateOptions{MaxTokens: 9, OnToken: func(int) error {
		if n++; n == 3 {
			return enough
		}
		return nil
	}})
	if !errors.Is(err, enough) || len(got.Tokens) != 3 {
		t.Errorf("%v, %v", got.Tokens, err)
	}
}
