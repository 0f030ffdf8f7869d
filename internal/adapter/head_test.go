package adapter

import (
	"slices"
	"strings"
	"testing"

	"paligemma/internal/model"
	"paligemma/internal/safetensors"
)

// TestHead works out which changes give a tied head a matrix of its own.
func TestHead(t *testing.T) {
	const embed, head = "base_model.model.model.language_model.embed_tokens", "base_model.model.lm_head"
	table := []int64{2240, 64}
	tests := []struct {
		name    string
		adapter string
		change  func(*files)
		untied  bool
		values  map[string]float32 // of the tensors that are replaced
	}{
		{"nothing", "lora", func(*files) {}, false, nil},
		{"an update of the head", "head", func(*files) {}, true, nil},
		{"an update of the embedding", "embedding", func(*files) {}, true, nil},
		{"an update of the embedding, kept tied", "embedding", func(f *files) { f.config["ensure_weight_tying"] = true }, false, nil},
		{"an update and the base's copy", "embedding", func(f *files) { f.add(embed+".base_layer.weight", table, 2) }, true, map[string]float32{model.TensorEmbedding: 2, model.TensorHead: 2}},
		{"an update of the head and the base's copy", "head", func(f *files) { f.add(head+".base_layer.weight", table, 2) }, true, map[string]float32{model.TensorEmbedding: 2, model.TensorHead: 2}},
		{"the base's copy alone", "lora", func(f *files) { f.add(embed+".weight", table, 2) }, false, map[string]float32{model.TensorEmbedding: 2}},
		{"the base's copy as the head", "lora", func(f *files) { f.add(head+".weight", table, 2) }, false, map[string]float32{model.TensorEmbedding: 2}},
		{"the base's copy twice", "lora", func(f *files) { f.add(embed+".weight", table, 2); f.add(head+".weight", table, 2) }, false, map[string]float32{model.TensorEmbedding: 2}},
		{"two different ones", "lora", func(f *files) { f.add(embed+".weight", table, 2); f.add(head+".weight", table, 3) }, true, map[string]float32{model.TensorEmbedding: 2, model.TensorHead: 3}},
		{"one update of both", "places", func(f *files) {
			a, b := f.find("lm_head.lora_A.weight"), f.find("lm_head.lora_B.weight")
			*f.find("embed_tokens.lora_embedding_A") = turned(f.t, *b, embed+".lora_embedding_A")
			*f.find("embed_tokens.lora_embedding_B") = turned(f.t, *a, embed+".lora_embedding_B")
		}, false, nil},
		{"two updates", "places", func(*files) {}, true, nil},
		{"a saved head", "lora", func(f *files) {
			f.config["modules_to_save"] = []any{"multi_modal_projector", "lm_head"}
			f.add(head+".weight", table, 2)
		}, true, map[string]float32{model.TensorHead: 2}},
		{"a saved embedding", "lora", func(f *files) {
			f.add(embed+".modules_to_save.default.weight", table, 2)
		}, true, map[string]float32{model.TensorEmbedding: 2}},
		{"both saved", "lora", func(f *files) {
			f.config["modules_to_save"] = []any{"multi_modal_projector", "lm_head", "embed_tokens"}
			f.add(embed+".weight", table, 2)
			f.add(head+".weight", table, 3)
		}, true, map[string]float32{model.TensorEmbedding: 2, model.TensorHead: 3}},
		{"both saved and equal", "lora", func(f *files) {
			f.config["modules_to_save"] = []any{"multi_modal_projector", "lm_head", "embed_tokens"}
			f.add(embed+".weight", table, 2)
			f.add(head+".weight", table, 2)
		}, false, map[string]float32{model.TensorEmbedding: 2}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			f := load(t, test.adapter)
			test.change(f)
			a, err := Open(f.save())
			if err != nil {
				t.Fatal(err)
			}
			defer a.Close()
			r, err := Resolve(tiny(), []Loaded{{a, 1}})
			if err != nil {
				t.Fatal(err)
			}
			if r.Untied != test.untied || r.Config.Tied == test.untied || strings.Contains(strings.Join(r.FileNotes(), "\n"), "286.7 kB as f16") != test.untied {
				t.Errorf("untied: %v, notes %q", r.Untied, r.Notes)
			}
			heads := 0
			for _, e := range r.Edits {
				if e.Tensor == model.TensorHead {
					heads++
				}
				want, replaced := test.values[e.Tensor]
				if e.Tensor != model.TensorHead && e.Tensor != model.TensorEmbedding {
					continue
				}
				if (e.Stored != nil) != replaced {
					t.Errorf("%s is replaced: %v", e.Tensor, e.Stored != nil)
				} else if replaced {
					if values, err := e.Stored.all(); err != nil || values[0] != want {
						t.Errorf("%s has %v, want %v (%v)", e.Tensor, values[0], want, err)
					}
				}
			}
			if heads > 1 || (heads == 1) != test.untied {
				t.Errorf("%d changes of the head", heads)
			}
		})
	}
}

// turned returns a matrix with its rows as columns.
func turned(t testing.TB, d safetensors.Data, name string) safetensors.Data {
	t.Helper()
	values, err := safetensors.Float32s(d.DType, d.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return safetensors.NewFloat32(name, []int64{d.Shape[1], d.Shape[0]}, transposed(values, int(d.Shape[1])))
}

// TestHeadOfSeveral decides for several adapters together, in whatever order: the head
// leaves the embedding if one of them wants that.
func TestHeadOfSeveral(t *testing.T) {
	const embed = "base_model.model.model.language_model.embed_tokens"
	table := []int64{2240, 64}
	for name, test := range map[string]struct {
		adapter string
		a, b    func(*files)
		untied  bool
	}{
		"one keeps it tied": {"embedding", func(*files) {}, func(f *files) { f.config["ensure_weight_tying"] = true }, true},
		"both keep it tied": {"embedding", func(f *files) { f.config["ensure_weight_tying"] = true }, func(f *files) { f.config["ensure_weight_tying"] = true }, false},
		"one saves what the other copies": {"lora", func(f *files) { f.add(embed+".weight", table, 2) },
			func(f *files) { f.add(embed+".modules_to_save.default.weight", table, 2) }, true},
		"both copy the base": {"lora", func(f *files) { f.add(embed+".weight", table, 2) }, func(f *files) { f.add(embed+".weight", table, 2) }, false},
	} {
		t.Run(name, func(t *testing.T) {
			var both []Loaded
			for _, change := range []func(*files){test.a, test.b} {
				f := load(t, test.adapter)
				change(f)
				a, err := Open(f.save())
				if err != nil {
					t.Fatal(err)
				}
				defer a.Close()
				both = append(both, Loaded{a, 1})
			}
			for range 2 {
				r, err := Resolve(tiny(), both)
				if err != nil {
					t.Fatal(err)
				}
				if r.Untied != test.untied {
					t.Errorf("untied: %v", r.Untied)
				}
				slices.Reverse(both)
			}
		})
	}
}
