package model_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"paligemma/internal/ggml"
	"paligemma/internal/model"
)

// TestAdaptersOfTheCPU compares all that adapters do on a device with what they do on the
// CPU: those that texts ask for, and those of Load.
func TestAdaptersOfTheCPU(t *testing.T) { adaptersOfTheCPU(t, otherDevice(t)) }

func adaptersOfTheCPU(t *testing.T, o ggml.Options) {
	for _, name := range checkpoints {
		t.Run(name+"/texts", func(t *testing.T) { adaptedTexts(t, name, o) })
		t.Run(name+"/searches", func(t *testing.T) { adaptedSearches(t, name, o) })
		t.Run(name+"/of Load", func(t *testing.T) { changedTexts(t, name, o) })
	}
}

// pair is a model on a device and on the CPU.
type pair struct{ device, cpu *model.Model }

func newPair(t *testing.T, path string, o ggml.Options, changes ...model.Change) pair {
	t.Helper()
	return pair{openOn(t, path, o, changes...), openOn(t, path, ggml.Options{Device: "cpu", Threads: 1}, changes...)}
}

// prompts are a golden's prompt for both, with the features of its images and the adapters
// of a set; nil: with none.
func (p pair) prompts(t *testing.T, g golden, changes []model.Change) (device, cpu model.Prompt) {
	t.Helper()
	of := func(m *model.Model) model.Prompt {
		out := model.Prompt{IDs: g.IDs[:g.prefix]}
		if changes != nil {
			out.Adapters = placed(t, m, changes)
		}
		images, err := m.EncodeAll(t.Context(), g.pixelsOfImage, out.Adapters)
		if err != nil {
			t.Fatal(err)
		}
		out.Images = images
		return out
	}
	device, cpu = of(p.device), of(p.cpu)
	for i, f := range device.Images {
		compare(t, fmt.Sprint("features of image ", i), values(t, f), values(t, cpu.Images[i]), f32Tolerance)
	}
	return device, cpu
}

// adaptedText is a text that a device and the CPU decode.
type adaptedText struct {
	what string
	seq  *model.Sequence // on the device
	cpu  *decoder
	from int // the steps that it takes part in
	to   int
}

// adaptedTexts decodes texts with different adapters, and without any, together, some of
// them forked: each writes the tokens that it does alone on the CPU. Steps without adapters
// are of kept graphs, before others come and when they are gone; at last a text with
// adapters takes the place of one without, in steps of as many.
func adaptedTexts(t *testing.T, checkpoint string, o ggml.Options) {
	path := convertTo(t, checkpoint, "f32")
	p := newPair(t, path, o)
	cache, err := p.device.NewCache(64) // too few: it has to grow
	if err != nil {
		t.Fatal(err)
	}
	defer cache.Close()
	sets := append([][]model.Change{nil, nil}, adapterSets(t, path)...)
	const come, gone, swap = 40, 120, 160
	var all []*adaptedText
	for i, changes := range append(sets, sets[2:]...) {
		x := &adaptedText{what: fmt.Sprintf("text %d", i), from: come + i, to: gone + i}
		if changes == nil {
			x.from, x.to = 0, longText
		}
		switch i {
		case 1:
			x.to = swap
		case len(sets):
			x.from, x.to = swap, longText
		}
		prompt, onCPU := p.prompts(t, goldens(t, checkpoint)[i%3], changes)
		x.seq, x.cpu = cache.NewSequence(30), newDecoder(t, p.cpu, onCPU)
		logits, err := p.device.Prefill(t.Context(), x.seq, prompt)
		if err != nil {
			t.Fatal(err)
		}
		compare(t, x.what+", the prompt", logits, x.cpu.logits, f32Tolerance)
		if i%3 == 2 {
			fork, err := x.seq.Fork(t.Context(), 10)
			if err != nil {
				t.Fatal(err)
			}
			x.seq.Release()
			x.seq = fork
		}
		all = append(all, x)
	}
	for i := range longText {
		var under []*adaptedText
		for _, x := range all {
			if i == x.to {
				x.seq.Release()
			}
			if x.from <= i && i < x.to {
				under = append(under, x)
			}
		}
		stepAdapted(t, p.device, i, under)
	}
	if n := cache.Steps(); n == 0 {
		t.Error("no graph is kept of steps without adapters")
	}
}

// stepAdapted gives texts the CPU's tokens, and compares what comes after these: every
// other step only the likeliest token.
func stepAdapted(t *testing.T, m *model.Model, step int, texts []*adaptedText) {
	t.Helper()
	var tokens []model.Token
	for _, x := range texts {
		id, _ := x.cpu.best()
		tokens = append(tokens, model.Token{Sequence: x.seq, ID: id, Greedy: step%2 == 0})
		x.cpu.next(t, id)
	}
	next, err := m.Next(t.Context(), tokens)
	if err != nil {
		t.Fatal(err)
	}
	for i, x := range texts {
		got := decoder{logits: next[i].Logits}
		best := next[i].Best
		if next[i].Logits != nil {
			best, _ = got.best()
			compare(t, fmt.Sprintf("%s, step %d", x.what, step), got.logits, x.cpu.logits, f32Tolerance)
		}
		if want, _ := x.cpu.best(); best != want {
			t.Fatalf("%s: step %d gives the token %d, on the CPU %d", x.what, step, best, want)
		}
	}
}

// adaptedSearches compares beams, scores and traces with adapters.
func adaptedSearches(t *testing.T, checkpoint string, o ggml.Options) {
	path := convertTo(t, checkpoint, "f32")
	p := newPair(t, path, o)
	for i, changes := range adapterSets(t, path) {
		device, cpu := p.prompts(t, goldens(t, checkpoint)[i%3], changes)
		search := func(m *model.Model, q model.Prompt) model.Generation {
			g, err := m.BeamSearch(t.Context(), q, 4, 20)
			if err != nil {
				t.Fatal(err)
			}
			return g
		}
		got, want := search(p.device, device), search(p.cpu, cpu)
		for j, b := range want.Beams {
			if !slices.Equal(b.Tokens, got.Beams[j].Tokens) {
				t.Errorf("set %d: beam %d is %v, on the CPU %v", i, j, got.Beams[j].Tokens, b.Tokens)
			}
		}
		score := func(m *model.Model, q model.Prompt) (all []float32) {
			scores, err := m.Score(t.Context(), q, [][]int{{5, 6, 7}, {5, 9}, {40, 41, 42, 43}})
			if err != nil {
				t.Fatal(err)
			}
			for _, s := range scores {
				all = append(all, float32(s.Sum))
			}
			return all
		}
		compare(t, fmt.Sprintf("set %d, scores", i), score(p.device, device), score(p.cpu, cpu), f32Tolerance)
		trace := func(m *model.Model, q model.Prompt) model.Trace {
			got, err := m.Trace(t.Context(), q, []int{5, 6, 7}, model.TraceOptions{HiddenStates: true, Attentions: true})
			if err != nil {
				t.Fatal(err)
			}
			return got
		}
		a, b := trace(p.device, device), trace(p.cpu, cpu)
		compare(t, fmt.Sprintf("set %d, logits", i), a.Logits, b.Logits, f32Tolerance)
		for layer := range b.HiddenStates {
			compare(t, fmt.Sprintf("set %d, hidden states %d", i, layer), a.HiddenStates[layer], b.HiddenStates[layer], f32Tolerance)
		}
	}
}

// changedTexts compares texts of models that adapters changed when they were loaded.
func changedTexts(t *testing.T, checkpoint string, o ggml.Options) {
	path := convertTo(t, checkpoint, "f32")
	specs := specsOf(t, path)
	const down, norm, queries = "blk.1.ffn_down.weight", "blk.0.attn_norm.weight", "blk.0.attn_q.weight"
	d := dice{rand.New(rand.NewPCG(3, 4))}
	update := func(name string) model.Change {
		return model.Change{Tensor: name, LowRank: []model.LowRank{d.update(specs[name], 3, 0.7)}}
	}
	replace := func(name string) model.Change {
		n := 1
		for _, dim := range specs[name].Shape {
			n *= dim
		}
		return model.Change{Tensor: name, Values: d.values(n, 0.05)}
	}
	biased := update(down)
	biased.Bias = d.values(specs[down].Shape[1], 0.3)
	for _, c := range []struct {
		name    string
		changes []model.Change
	}{
		{"embedding and head", []model.Change{update(model.TensorEmbedding)}},
		{"embedding", []model.Change{replace(model.TensorEmbedding), {Tensor: model.TensorHead}}},
		{"head", []model.Change{update(model.TensorHead)}},
		{"a new head", []model.Change{replace(model.TensorHead), update(queries)}},
		{"bias", []model.Change{biased}},
		{"values", []model.Change{replace(queries), replace(norm), replace("mm.0.bias")}},
		{"tower and projector", []model.Change{update("v.blk.1.attn_k.weight"), update("mm.0.weight")}},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := newPair(t, path, o, c.changes...)
			device, cpu := p.prompts(t, goldens(t, checkpoint)[0], nil)
			sameText(t, newDecoder(t, p.device, device), newDecoder(t, p.cpu, cpu), 0)
		})
	}
}
