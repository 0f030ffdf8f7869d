package adapter

import (
	"math"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"paligemma/internal/layout"
	"paligemma/internal/model"
	"paligemma/internal/safetensors"
)

// TestFaults changes each tensor of each kind of adapter, in each way: an error that
// names it.
func TestFaults(t *testing.T) {
	faults := map[string]func(*files, int) bool{
		"removed":  func(f *files, i int) bool { f.tensors = slices.Delete(f.tensors, i, i+1); return true },
		"renamed":  func(f *files, i int) bool { f.tensors[i].Name = rename(f.tensors[i].Name); return true },
		"NaN":      func(f *files, i int) bool { return poison(&f.tensors[i], math.NaN()) },
		"infinite": func(f *files, i int) bool { return poison(&f.tensors[i], math.Inf(-1)) },
		"transposed": func(f *files, i int) bool {
			d := &f.tensors[i]
			before := slices.Clone(d.Shape)
			slices.Reverse(d.Shape)
			return !slices.Equal(before, d.Shape)
		},
		"of another rank": func(f *files, i int) bool { return widen(&f.tensors[i]) },
		"quantized": func(f *files, i int) bool {
			f.tensors[i].DType, f.tensors[i].Shape = safetensors.U8, []int64{int64(len(f.tensors[i].Bytes))}
			return true
		},
		"empty": func(f *files, i int) bool { f.tensors[i].Shape, f.tensors[i].Bytes = []int64{0}, nil; return true },
	}
	for _, name := range []string{"lora", "rslora", "dora", "places", "dora_places", "bias_all", "bias_lora_only", "lora_bias", "norms"} {
		whole := load(t, name)
		sameExtents(t, whole)
		for fault, apply := range faults {
			t.Run(name+"/"+fault, func(t *testing.T) {
				for i, d := range whole.tensors {
					f := whole.clone()
					if !apply(f, i) {
						continue
					}
					_, _, err := f.changes(tiny(), 1)
					refused(t, err, place(fault, f, i, d.Name))
					if fault != "NaN" && fault != "infinite" { // which headers do not tell
						_, headers := f.extents(tiny())
						refused(t, headers, err.Error()[strings.Index(err.Error(), ": "):]) // after the folder
					}
				}
			})
		}
	}
}

// sameExtents makes sure that the headers of an adapter tell what its changes are.
func sameExtents(t *testing.T, f *files) {
	t.Helper()
	changes, _, err := f.changes(tiny(), 1)
	if err != nil {
		t.Fatal(err)
	}
	var want []model.Extent
	for _, c := range changes {
		want = append(want, c.Extent())
	}
	if got, err := f.extents(tiny()); err != nil || !slices.Equal(got, want) {
		t.Errorf("%+v, %v, want %+v", got, err, want)
	}
}

// place is what an error about a tensor must contain.
func place(fault string, f *files, i int, name string) string {
	if fault == "renamed" {
		return f.tensors[i].Name
	}
	if fault != "removed" {
		return name
	}
	if at := strings.Index(name, ".lora_"); at > 0 {
		return strings.TrimPrefix(name[:at], peftPrefix)
	}
	canonical := layout.Canonical(name)
	return strings.ReplaceAll(canonical, ".base_layer.", ".")
}

var layerNumber = regexp.MustCompile(`layers\.\d+|(_embedding|embed_tokens|linear|lm_head|post_layernorm|norm)\.`)

// rename gives a tensor a name that no model has.
func rename(name string) string {
	return layerNumber.ReplaceAllStringFunc(name, func(part string) string {
		if strings.HasPrefix(part, "layers") {
			return "layers.7"
		}
		return "x" + part
	})
}

// poison puts a number that is not finite last.
func poison(d *safetensors.Data, v float64) bool {
	last := safetensors.NewFloat32("", []int64{1}, []float32{float32(v)}).Bytes
	switch d.DType {
	case safetensors.F32:
		copy(d.Bytes[len(d.Bytes)-4:], last)
	case safetensors.BF16:
		copy(d.Bytes[len(d.Bytes)-2:], last[2:])
	case safetensors.F16:
		copy(d.Bytes[len(d.Bytes)-2:], []byte{0, 0x7c})
	}
	return true
}

// widen makes the rank, the smallest dimension that is not 1, larger by one.
func widen(d *safetensors.Data) bool {
	if !strings.Contains(d.Name, "lora_") || len(d.Shape) < 2 {
		return false
	}
	at := 0
	if d.Shape[1] < d.Shape[0] {
		at = 1
	}
	size := len(d.Bytes) / int(d.Shape[at])
	d.Shape[at]++
	d.Bytes = append(d.Bytes, make([]byte, size)...)
	return true
}

// TestNames reads one adapter under the names of all layouts, with the adapter's
// name in them and behind other prefixes: the same changes.
func TestNames(t *testing.T) {
	renames := map[string]func(string) string{
		"transformers 4.41": func(n string) string {
			n = strings.Replace(n, "model.model.language_model.", "model.language_model.model.", 1)
			n = strings.Replace(n, "model.model.vision_tower.", "model.vision_tower.vision_model.", 1)
			return strings.Replace(n, "model.model.multi_modal", "model.multi_modal", 1)
		},
		"transformers 4.52":  func(n string) string { return strings.Replace(n, "vision_tower.", "vision_tower.vision_model.", 1) },
		"the adapter's name": func(n string) string { return regexp.MustCompile(`(lora_[AB])\.`).ReplaceAllString(n, "$1.default.") },
		"another name": func(n string) string {
			return regexp.MustCompile(`(lora_[AB])\.`).ReplaceAllString(n, "$1.my_adapter.")
		},
		"modules_to_save": func(n string) string {
			return strings.Replace(n, "projector.", "projector.modules_to_save.default.", 1)
		},
		"old modules_to_save": func(n string) string { return strings.Replace(n, "projector.", "projector.modules_to_save.", 1) },
		"without PEFT's":      func(n string) string { return strings.TrimPrefix(n, peftPrefix) },
		"DataParallel":        func(n string) string { return "module." + n },
		"a policy's":          func(n string) string { return peftPrefix + "policy." + strings.TrimPrefix(n, peftPrefix) },
		"FSDP and checkpoints": func(n string) string {
			return strings.Replace(n, "layers.1.", "_fsdp_wrapped_module.layers.1._checkpoint_wrapped_module.", 1)
		},
	}
	whole := load(t, "lora")
	want, notes, err := whole.changes(tiny(), 1)
	if err != nil || len(notes) > 0 {
		t.Fatal(err, notes)
	}
	for name, rename := range renames {
		t.Run(name, func(t *testing.T) {
			f := whole.clone()
			for i := range f.tensors {
				f.tensors[i].Name = rename(f.tensors[i].Name)
			}
			got, _, err := f.changes(tiny(), 1)
			if err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(got, want) {
				t.Error("the changes differ")
			}
		})
	}
}

// TestMagnitudeNames reads DoRA's magnitudes by the names that versions of PEFT gave them.
func TestMagnitudeNames(t *testing.T) {
	whole := load(t, "dora")
	want, _, err := whole.changes(tiny(), 1)
	if err != nil {
		t.Fatal(err)
	}
	for _, suffix := range []string{"", ".weight", ".default", ".default.weight"} {
		f := whole.clone()
		for i := range f.tensors {
			if at := strings.Index(f.tensors[i].Name, partMagnitude); at > 0 {
				f.tensors[i].Name = f.tensors[i].Name[:at] + partMagnitude + suffix
			}
		}
		got, _, err := f.changes(tiny(), 1)
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%q: the changes differ", suffix)
		}
	}
}

// TestUnknownTensors refuses what has no place.
func TestUnknownTensors(t *testing.T) {
	for name, parts := range map[string][]string{
		"base_model.model.model.language_model.layers.0.self_attn.q_norm.lora_A.weight":                                {"q_norm", "no place"},
		"base_model.model.model.language_model.layers.0.mlp.gate_proj.lora_diag.default":                               {"lora_diag", "merge"},
		"base_model.model.model.language_model.embed_tokens.token_adapter.trainable_tokens_delta":                      {"token_adapter", "merge"},
		"base_model.model.model.multi_modal_projector.original_module.linear.weight":                                   {"original_module"},
		"base_model.model.model.multi_modal_projector.linear.weight_extra":                                             {"weight_extra", "no place"},
		"base_model.model.model.language_model.layers.0.input_layernorm.lora_A.weight":                                 {"input_layernorm", "another kind of layer"},
		"base_model.model.model.language_model.embed_tokens.lora_A.weight":                                             {"embed_tokens", "another kind of layer"},
		"base_model.model.model.language_model.layers.0.self_attn.q_proj.lora_A.other.weight":                          {"q_proj.lora_A.other", "one adapter"},
		"base_model.model.model.multi_modal_projector.modules_to_save.default.linear.weight":                           {"modules_to_save", "both replace"},
		"base_model.model.model.language_model.layers.0.self_attn.q_proj.lora_B.bias":                                  {"lora_B.bias", "lora_bias"},
		"base_model.model.model.language_model.layers.0.self_attn.q_proj.lora_A.a.b.weight":                            {"lora_A.a.b", "not supported"},
		"base_model.model.model.language_model.layers.0.self_attn.q_proj.lora_magnitude_vector.default.weight":         {"lora_magnitude_vector", "use_dora"},
		"base_model.model.model.language_model.layers.0.mlp.gate_proj.ia3_l":                                           {"ia3_l", "no place"},
		"base_model.model.model.language_model.layers.0.self_attn.rotary_emb.nothing":                                  {"rotary_emb.nothing"},
		"base_model.model.model.vision_tower.vision_model.head.attention.out_proj.weight":                              {"head.attention"},
		"base_model.model.model.language_model.layers.0.self_attn.q_proj.lora_embedding_A." + strings.Repeat("x", 300): {"q_proj.lora_", "…", "another kind of layer"},
	} {
		t.Run(name, func(t *testing.T) {
			f := load(t, "lora")
			f.add(name, []int64{64, 48}, 1)
			_, _, err := f.changes(tiny(), 1)
			refused(t, err, parts...)
		})
	}
	t.Run("a buffer", func(t *testing.T) {
		f := load(t, "lora")
		f.add("base_model.model.model.vision_tower.embeddings.position_ids", []int64{1, 16}, 1)
		if _, _, err := f.changes(tiny(), 1); err != nil {
			t.Error(err)
		}
	})
}

// TestOtherBase names the tensor and the dimensions where the base is another.
func TestOtherBase(t *testing.T) {
	c := tiny()
	c.Text.Hidden = 80
	_, _, err := load(t, "lora").changes(c, 1)
	refused(t, err, "lora_B.weight", "[64 4]", "[80 4]", `"pg1-tiny"`)
	c = tiny()
	c.Text.Layers = 2
	_, _, err = load(t, "lora").changes(c, 1)
	refused(t, err, "layers.2.", "no place")
}

// TestScales compares the factors of updates with PEFT's rules.
func TestScales(t *testing.T) {
	f := load(t, "rslora")
	got, _, err := f.changes(tiny(), -0.5)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []struct {
		tensor string
		rank   int
		scale  float64
	}{
		{"v.blk.1.attn_v.weight", 4, 5.5 / 2},
		{"blk.0.attn_v.weight", 4, 2.0 / 2},
		{"blk.0.attn_k.weight", 4, 3.0 / 2},
		{"blk.1.ffn_gate.weight", 2, 3 / math.Sqrt(2)},
		{"blk.2.ffn_gate.weight", 3, 3 / math.Sqrt(3)},
	} {
		i := slices.IndexFunc(got, func(c model.Change) bool { return c.Tensor == want.tensor })
		if i < 0 {
			t.Fatalf("no change of %s", want.tensor)
		}
		if low := got[i].LowRank[0]; low.Rank != want.rank || low.Scale != float32(-0.5*want.scale) {
			t.Errorf("%s: rank %d, scale %v, want %d, %v", want.tensor, low.Rank, low.Scale, want.rank, -0.5*want.scale)
		}
	}
}

// TestScaleZero leaves an adapter out, but for its faults.
func TestScaleZero(t *testing.T) {
	got, notes, err := load(t, "places").changes(tiny(), 0)
	if err != nil || len(got) > 0 || len(notes) != 1 || !strings.Contains(notes[0], "scale 0") {
		t.Error(len(got), notes, err)
	}
	f := load(t, "places")
	f.tensors[0].Name += "x"
	_, _, err = f.changes(tiny(), 0)
	refused(t, err, f.tensors[0].Name)
}

// TestSums adds adapters up.
func TestSums(t *testing.T) {
	open := func(name string, scale float64) Loaded {
		a, err := Open(filepath.Join("..", "..", "testdata", "adapters", name))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { a.Close() })
		return Loaded{a, scale}
	}
	one, two := open("lora", 1), open("rslora", 2)
	got, _, err := Changes(tiny(), []Loaded{one, two})
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(got, func(c model.Change) bool { return c.Tensor == "blk.0.attn_v.weight" })
	if len(got[i].LowRank) != 2 || got[i].LowRank[0].Scale != 0.75 || got[i].LowRank[1].Scale != 2 {
		t.Errorf("%d updates of %s", len(got[i].LowRank), got[i].Tensor)
	}
	order := map[string]int{}
	for i, spec := range tiny().Tensors() {
		order[spec.Name] = i
	}
	if !slices.IsSortedFunc(got, func(a, b model.Change) int { return order[a.Tensor] - order[b.Tensor] }) {
		t.Error("the changes are not in file order")
	}
	biases, _, err := Changes(tiny(), []Loaded{open("lora_bias", 1), open("lora_bias", -1)})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range biases {
		if slices.ContainsFunc(c.Bias, func(b float32) bool { return b != 0 }) || len(c.Bias) == 0 {
			t.Errorf("%s: biases do not cancel", c.Tensor)
		}
	}
	if _, _, err := Changes(tiny(), []Loaded{one, open("lora", 0.5)}); err != nil {
		t.Errorf("equal saved modules: %v", err)
	}
	f := load(t, "lora")
	f.find("linear.bias").Bytes[2] ^= 1
	other, err := Open(f.save())
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	_, _, err = Changes(tiny(), []Loaded{one, {other, 1}})
	refused(t, err, "linear.bias", "replaces", "lora")
	_, _, err = Changes(tiny(), []Loaded{one, open("dora", 1)})
	refused(t, err, "DoRA", "quantize --lora")
	_, _, err = Changes(tiny(), []Loaded{open("dora", 1), one})
	refused(t, err, "DoRA", "quantize --lora")
}

// TestChanged notices a file that was changed while it was read.
func TestChanged(t *testing.T) {
	dir := load(t, "lora").save()
	a, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	if err := os.Truncate(filepath.Join(dir, WeightsName), 10_000); err != nil {
		t.Fatal(err)
	}
	if _, _, err := Changes(tiny(), []Loaded{{a, 1}}); err == nil {
		t.Error("no error")
	}
}
