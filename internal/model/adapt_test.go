package model_test

import (
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"paligemma/internal/adapter"
	"paligemma/internal/ggml"
	"paligemma/internal/gguf"
	"paligemma/internal/model"
	"paligemma/internal/safetensors"
	"paligemma/internal/testdevice"
)

// adapted is a model with adapters, and what PEFT's unmerged model gives.
type adapted struct {
	Checkpoint string
	Adapters   []struct {
		Name  string
		Scale float64
	}
}

// adaptedCases reads testdata/adapters.
func adaptedCases(t *testing.T) (cases map[string]adapted) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(testdata, "adapters", "cases.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, &cases); err != nil {
		t.Fatal(err)
	}
	return cases
}

// changes resolves the adapters against a file.
func (c adapted) changes(t *testing.T, path string) []model.Change {
	t.Helper()
	var specs []adapter.Spec
	for _, a := range c.Adapters {
		specs = append(specs, adapter.Spec{Path: filepath.Join(testdata, "adapters", a.Name), Scale: a.Scale})
	}
	all, err := adapter.OpenAll(specs)
	if err != nil {
		t.Fatal(err)
	}
	defer adapter.CloseAll(all)
	changes, _, err := adapter.Changes(configOf(t, path), all)
	if err != nil {
		t.Fatal(err)
	}
	return changes
}

// configOf is the configuration in a file.
func configOf(t *testing.T, path string) model.Config {
	t.Helper()
	file, err := gguf.Open(path, gguf.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	c, err := model.ReadConfig(file.Header)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// adaptedGolden reads a tensor of a case.
func adaptedGolden(t *testing.T, name string) []float32 {
	t.Helper()
	f, err := safetensors.Open(filepath.Join(testdata, "adapters", "goldens.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	entry, _ := f.Lookup(name)
	data, err := f.ReadAll(entry)
	if err != nil {
		t.Fatal(err)
	}
	values, err := safetensors.Float32s(entry.DType, data)
	if err != nil {
		t.Fatal(err)
	}
	return values
}

// results are the features and the logits of a model's first golden.
func results(t *testing.T, m *model.Model, checkpoint string) (features, logits []float32) {
	t.Helper()
	g := goldens(t, checkpoint)[0]
	p := g.prompt(t, m)
	trace, err := m.Trace(t.Context(), p, g.suffix(), model.TraceOptions{HiddenStates: true, Attentions: true})
	if err != nil {
		t.Fatal(err)
	}
	return values(t, p.Images[0]), trace.Logits
}

// TestAdaptersAsPEFT compares a base with adapters with PEFT's unmerged models: within
// rounding where all is F32, and as close as without an adapter in other types.
func TestAdaptersAsPEFT(t *testing.T) {
	for typ, limit := range map[string]float64{"f32": f32Tolerance, "f16": 0.005, "bf16": 0.03, "q8_0": 0.10} {
		for name, c := range adaptedCases(t) {
			t.Run(typ+"/"+name, func(t *testing.T) {
				path := convertTo(t, c.Checkpoint, typ)
				changes := c.changes(t, path)
				if strings.Contains(name, "dora") {
					refuses(t, path, changes, "paligemma convert CHECKPOINT OUT.gguf --lora")
					return
				}
				m := openOn(t, path, testDevice(t), changes...)
				features, logits := results(t, m, c.Checkpoint)
				want := adaptedGolden(t, name+".logits")
				logits = logits[len(logits)-len(want):]
				limit := testdevice.Chosen(t).TypeTolerance(typ, limit)
				if typ == "f32" {
					compare(t, "image features", features, adaptedGolden(t, name+".image_features"), limit)
					compare(t, "logits", logits, want, limit)
				} else if off := relativeL2(logits, want); !(off <= limit) {
					t.Errorf("%.2f %% relative L2, want %.2f %%", 100*off, 100*limit)
				}
			})
		}
	}
}

// refuses fails unless a file with changes is an error of that text.
func refuses(t *testing.T, path string, changes []model.Change, want string) {
	t.Helper()
	file, err := gguf.Open(path, gguf.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	backend, err := ggml.NewBackend(testDevice(t))
	if err != nil {
		t.Fatal(err)
	}
	defer backend.Close()
	m, err := model.Load(file, backend, changes...)
	if err == nil {
		m.Close()
		t.Fatalf("no error, want %q", want)
	}
	if !strings.Contains(err.Error(), want) {
		t.Errorf("%v, want %q", err, want)
	}
}

// dice makes changes.
type dice struct{ *rand.Rand }

func (d dice) values(n int, scale float64) []float32 {
	out := make([]float32, n)
	for i := range out {
		out[i] = float32(scale * d.NormFloat64())
	}
	return out
}

func (d dice) update(spec model.TensorSpec, rank int, scale float32) model.LowRank {
	return model.LowRank{Rank: rank, A: d.values(rank*spec.Shape[0], 0.1), B: d.values(rank*spec.Shape[1], 0.1), Scale: scale}
}

// specsOf are a file's tensors by their names, the head included.
func specsOf(t *testing.T, path string) map[string]model.TensorSpec {
	t.Helper()
	specs := map[string]model.TensorSpec{}
	for _, s := range configOf(t, path).Tensors() {
		specs[s.Name] = s
	}
	head := specs[model.TensorEmbedding]
	head.Name = model.TensorHead
	specs[head.Name] = head
	return specs
}

// merged is a change that replaces the values that another one updates, which are those
// of the file unless it replaces them, too.
func merged(t *testing.T, path string, c model.Change) model.Change {
	t.Helper()
	file, err := gguf.Open(path, gguf.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	name := c.Tensor
	if name == model.TensorHead {
		name = model.TensorEmbedding // these models are tied
	}
	entry, _ := file.Lookup(name)
	width := int(entry.Shape[0])
	values := slices.Clone(c.Values)
	if values == nil {
		values = make([]float32, len(file.Data(entry))/4)
		if err := ggml.Dequantize(entry.Type, values, file.Data(entry), width); err != nil {
			t.Fatal(err)
		}
	}
	for _, u := range c.LowRank {
		for i := range values {
			sum := 0.0
			for r := range u.Rank {
				sum += float64(u.B[i/width*u.Rank+r]) * float64(u.A[r*width+i%width])
			}
			values[i] += float32(float64(u.Scale) * sum)
		}
	}
	return model.Change{Tensor: c.Tensor, Values: values, Bias: c.Bias}
}

// TestUpdatesAreMerged compares updates of each kind of tensor with the merged values:
// alone, of some of queries, keys and values, and of all tensors at once.
func TestUpdatesAreMerged(t *testing.T) {
	for _, checkpoint := range checkpoints {
		path := convertTo(t, checkpoint, "f32")
		specs := specsOf(t, path)
		kinds := map[string][]string{
			"embedding and head": {model.TensorEmbedding},
			"embedding":          {model.TensorEmbedding, model.TensorHead},
			"head":               {model.TensorHead},
			"patches":            {"v.patch_embd.weight"},
			"positions":          {"v.position_embd.weight"},
			"projector":          {"mm.0.weight"},
			"tower queries":      {"v.blk.0.attn_q.weight"},
			"tower":              {"v.blk.1.attn_k.weight", "v.blk.1.attn_v.weight", "v.blk.0.attn_out.weight", "v.blk.0.ffn_up.weight", "v.blk.1.ffn_down.weight"},
			"queries, values":    {"blk.0.attn_q.weight", "blk.0.attn_v.weight"},
			"keys":               {"blk.1.attn_k.weight"},
			"attention output":   {"blk.0.attn_output.weight"},
			"gate":               {"blk.0.ffn_gate.weight"},
			"gate, up, down":     {"blk.1.ffn_gate.weight", "blk.1.ffn_up.weight", "blk.1.ffn_down.weight"},
		}
		for name, s := range specs {
			if len(s.Shape) == 2 {
				kinds["all"] = append(kinds["all"], name)
			}
		}
		slices.Sort(kinds["all"])
		for kind, names := range kinds {
			t.Run(checkpoint+"/"+kind, func(t *testing.T) {
				d := dice{rand.New(rand.NewPCG(3, 4))}
				var changes, whole []model.Change
				for _, name := range names {
					c := model.Change{Tensor: name, LowRank: []model.LowRank{d.update(specs[name], 3, 0.7), d.update(specs[name], 1, -2)}}
					if kind == "embedding" && name == model.TensorHead {
						c = model.Change{Tensor: name} // the head stays what it is
					}
					changes, whole = append(changes, c), append(whole, merged(t, path, c))
				}
				features, logits := results(t, openOn(t, path, testDevice(t), changes...), checkpoint)
				wantFeatures, wantLogits := results(t, openOn(t, path, testDevice(t), whole...), checkpoint)
				compare(t, "image features", features, wantFeatures, f32Tolerance)
				compare(t, "logits", logits, wantLogits, f32Tolerance)
				if _, base := results(t, load(t, checkpoint, "f32"), checkpoint); slices.Equal(logits, base) {
					t.Error("the updates do nothing")
				}
			})
		}
	}
}

// TestBiases compares biases of matrices with what they are in the formulas: SigLIP adds
// biases that can be replaced, and Gemma's can only be seen to matter.
func TestBiases(t *testing.T) {
	const checkpoint = "pg1-tiny"
	path := convertTo(t, checkpoint, "f32")
	specs := specsOf(t, path)
	base, baseLogits := results(t, load(t, checkpoint, "f32"), checkpoint)
	d := dice{rand.New(rand.NewPCG(5, 6))}
	for _, name := range []string{"v.blk.0.attn_q", "v.blk.0.attn_v", "v.blk.1.ffn_up", "v.blk.1.ffn_down", "mm.0", "v.patch_embd"} {
		t.Run(name, func(t *testing.T) {
			bias := d.values(specs[name+".weight"].Shape[1], 0.3)
			features, _ := results(t, openOn(t, path, testDevice(t), model.Change{Tensor: name + ".weight", Bias: bias}), checkpoint)
			whole := merged(t, path, model.Change{Tensor: name + ".bias"})
			for i, b := range bias {
				whole.Values[i] += b
			}
			want, _ := results(t, openOn(t, path, testDevice(t), whole), checkpoint)
			compare(t, "image features", features, want, f32Tolerance)
			if slices.Equal(features, base) {
				t.Error("the bias does nothing")
			}
		})
	}
	for _, name := range []string{"blk.0.attn_k.weight", "blk.1.attn_v.weight", "blk.0.ffn_gate.weight", "blk.1.ffn_down.weight", model.TensorHead} {
		t.Run(name, func(t *testing.T) {
			_, logits := results(t, openOn(t, path, testDevice(t), model.Change{Tensor: name, Bias: d.values(specs[name].Shape[1], 0.3)}), checkpoint)
			if slices.Equal(logits, baseLogits) {
				t.Error("the bias does nothing")
			}
		})
	}
}

// TestScaleZero leaves the base as it is, to the last bit.
func TestScaleZero(t *testing.T) {
	for _, typ := range []string{"f32", "q8_0", "q4_k_m"} {
		path := convertTo(t, "pg2-tiny", typ)
		var changes []model.Change
		d := dice{rand.New(rand.NewPCG(3, 4))}
		for name, s := range specsOf(t, path) {
			if len(s.Shape) == 2 && name != model.TensorHead {
				changes = append(changes, model.Change{Tensor: name, LowRank: []model.LowRank{d.update(s, 3, 0)}})
			}
		}
		features, logits := results(t, openOn(t, path, testDevice(t), changes...), "pg2-tiny")
		wantFeatures, wantLogits := results(t, load(t, "pg2-tiny", typ), "pg2-tiny")
		if !slices.Equal(features, wantFeatures) || !slices.Equal(logits, wantLogits) {
			t.Errorf("%s: other bits", typ)
		}
	}
}

// TestAdaptedSequencesAlone is TestSequencesAlone with adapters.
func TestAdaptedSequencesAlone(t *testing.T) {
	cases := adaptedCases(t)
	for _, name := range []string{"lora", "lora_bias_text", "pg2_lora"} {
		for _, typ := range []string{"f32", "q8_0"} {
			t.Run(name+" "+typ, func(t *testing.T) {
				path := convertTo(t, cases[name].Checkpoint, typ)
				m := openOn(t, path, testDevice(t), cases[name].changes(t, path)...)
				if !m.SameInCompany() {
					t.Log("this device or processor promises it for f32 only")
					return
				}
				c := newCrowd(t, m, promptsOf(t, m, cases[name].Checkpoint), 2)
				for range 60 {
					c.act()
				}
				c.compare()
			})
		}
	}
}

// TestChangesRefused gives each change that does not fit the tensor that it names.
func TestChangesRefused(t *testing.T) {
	path := convertTo(t, "pg1-tiny", "f32")
	specs := specsOf(t, path)
	const name, norm = "blk.0.ffn_down.weight", "blk.0.attn_norm.weight"
	in, out := specs[name].Shape[0], specs[name].Shape[1]
	floats := func(n int) []float32 { return make([]float32, n) }
	update := func(rank, a, b int, scale float64) model.Change {
		return model.Change{Tensor: name, LowRank: []model.LowRank{{Rank: rank, A: floats(a), B: floats(b), Scale: float32(scale)}}}
	}
	dora := update(2, 2*in, 2*out, 1)
	dora.LowRank[0].Magnitude = floats(out)
	for what, c := range map[string]struct {
		changes []model.Change
		want    string
	}{
		"unknown":         {[]model.Change{{Tensor: "blk.99.ffn_down.weight"}}, "blk.99.ffn_down.weight, which is unknown"},
		"twice":           {[]model.Change{{Tensor: name}, {Tensor: name}}, name + " is changed twice"},
		"few values":      {[]model.Change{{Tensor: name, Values: floats(in*out - 1)}}, fmt.Sprintf("%s: an adapter replaces %d values by %d", name, in*out, in*out-1)},
		"no values":       {[]model.Change{{Tensor: name, Values: floats(0)}}, "by 0"},
		"long vector":     {[]model.Change{{Tensor: norm, Values: floats(65)}}, "replaces 64 values by 65"},
		"vector":          {[]model.Change{{Tensor: norm, LowRank: []model.LowRank{{Rank: 1, A: floats(64), B: floats(1), Scale: 1}}}}, "as a matrix, which it is not"},
		"vector's bias":   {[]model.Change{{Tensor: norm, Bias: floats(64)}}, "bias of 64 values does not fit"},
		"embedding bias":  {[]model.Change{{Tensor: model.TensorEmbedding, Bias: floats(specs[model.TensorEmbedding].Shape[1])}}, "does not fit"},
		"long bias":       {[]model.Change{{Tensor: name, Bias: floats(out + 1)}}, "does not fit"},
		"rank 0":          {[]model.Change{update(0, 0, 0, 1)}, "rank is 0"},
		"negative rank":   {[]model.Change{update(-1, in, out, 1)}, "rank is -1"},
		"huge rank":       {[]model.Change{update(math.MaxInt, in, out, 1)}, "rank is"},
		"narrow A":        {[]model.Change{update(2, 2*in-2, 2*out, 1)}, "of rank 2"},
		"short B":         {[]model.Change{update(2, 2*in, 2*out-2, 1)}, "of rank 2"},
		"swapped":         {[]model.Change{update(2, 2*out, 2*in, 1)}, "of rank 2"},
		"NaN":             {[]model.Change{update(2, 2*in, 2*out, math.NaN())}, "scale is NaN"},
		"infinity":        {[]model.Change{update(2, 2*in, 2*out, math.Inf(1))}, "scale is +Inf"},
		"wrong, scale 0":  {[]model.Change{update(2, 2*in-2, 2*out, 0)}, "of rank 2"},
		"DoRA":            {[]model.Change{dora}, "DoRA"},
		"several of them": {[]model.Change{{Tensor: "x"}, dora}, "; tensor " + name},
	} {
		t.Run(what, func(t *testing.T) { refuses(t, path, c.changes, c.want) })
	}
}
