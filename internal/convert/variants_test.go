package convert

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"paligemma/internal/gguf"
	"paligemma/internal/safetensors"
)

const embedding = "embed_tokens.weight"

// processor is the image processor's settings.
func (c *checkpoint) processor() map[string]any {
	return c.at("processor_config.json", "image_processor")
}

// removeImage takes <image> out of tokenizer.json.
func (c *checkpoint) removeImage() {
	added := c.json["tokenizer.json"]["added_tokens"].([]any)
	c.json["tokenizer.json"]["added_tokens"] = slices.DeleteFunc(added, func(v any) bool { return v.(map[string]any)["content"] == imagePiece })
	delete(c.at("tokenizer.json", "model", "vocab"), imagePiece)
}

// prefixed puts something before all names.
func prefixed(prefix string) func(*checkpoint) {
	return func(c *checkpoint) { c.renameAll(func(name string) string { return prefix + name }) }
}

// variant is a checkpoint with the same weights as its base.
type variant struct {
	name   string
	change func(*checkpoint)
	notes  []string // a part of each note, in order
}

// variants are what trainers and hubs make of a checkpoint without changing what
// it computes. transformers 5 gives the same logits for each that it loads; it
// does not load names with prefixes, modules_to_save, doubled parts and dtype ""
// (it starts with random weights, or refuses), nor image processors with null in
// place of a step.
var variants = []variant{
	// Names.
	{"module", prefixed("module."), nil},
	{"_orig_mod", prefixed("_orig_mod."), nil},
	{"module._orig_mod", prefixed("module._orig_mod."), nil},
	{"_orig_mod.module", prefixed("_orig_mod.module."), nil},
	{"base_model.model", prefixed("base_model.model."), nil},
	{"base_model.model.model", prefixed("base_model.model.model."), nil},
	{"module.base_model.model._orig_mod", prefixed("module.base_model.model._orig_mod."), nil},
	{"model twice", prefixed("model.model."), nil},
	{"pretrained_model", prefixed("pretrained_model."), nil},
	{"_forward_module.model", prefixed("_forward_module.model."), nil},
	{"unknown prefix", prefixed("policy.vlm."), []string{`begin with "policy.vlm."`}},
	{"unknown prefix and model", func(c *checkpoint) {
		c.rename(layouts[2])
		c.renameAll(func(name string) string { return "net." + strings.Replace(name, "model.multi", "multi", 1) })
	}, []string{`begin with "net."`}},
	{"fsdp inside names", func(c *checkpoint) {
		c.renameAll(func(name string) string {
			name = strings.Replace(name, ".layers.", ".layers._fsdp_wrapped_module.", 1)
			return "_fsdp_wrapped_module." + strings.Replace(name, ".mlp.", "._checkpoint_wrapped_module.mlp.", 1)
		})
	}, nil},
	{"prefix on some", func(c *checkpoint) {
		for i := range c.tensors {
			if i%2 == 0 {
				c.tensors[i].Name = "module." + c.tensors[i].Name
			}
		}
	}, nil},
	{"modules_to_save", func(c *checkpoint) {
		d := c.find(embedding)
		module := strings.TrimSuffix(d.Name, "weight")
		c.copyAs(embedding, module+"original_module.weight")
		d = c.find(embedding)
		d.Name = module + "modules_to_save.default.weight"
		c.set("original_module.weight", 0, 1, 2, 3) // must not be read
		c.renameAll(func(name string) string { return "base_model.model." + name })
	}, []string{"original_module.weight, which modules_to_save replaces"}},

	// Tied weights.
	{"head alone", func(c *checkpoint) { c.find(embedding).Name = "lm_head.weight" }, []string{"stored as lm_head.weight alone"}},
	{"head alone, old name", func(c *checkpoint) { c.find(embedding).Name = "language_model.lm_head.weight" },
		[]string{"stored as language_model.lm_head.weight alone"}},
	{"head alone, model", func(c *checkpoint) { c.find(embedding).Name = "model.lm_head.weight" }, []string{"stored as model.lm_head.weight alone"}},
	{"head alone, prefix", func(c *checkpoint) {
		c.find(embedding).Name = "lm_head.weight"
		prefixed("module.")(c)
	}, []string{"stored as module.lm_head.weight alone"}},
	{"head equal", func(c *checkpoint) { c.copyAs(embedding, "lm_head.weight") }, []string{"lm_head.weight is equal"}},
	{"two heads, equal", func(c *checkpoint) {
		c.copyAs(embedding, "lm_head.weight")
		c.copyAs(embedding, "language_model.lm_head.weight")
	}, []string{"lm_head.weight, stored twice", "lm_head.weight is equal"}},
	{"two heads and no embedding", func(c *checkpoint) {
		c.copyAs(embedding, "lm_head.weight")
		c.find(embedding).Name = "language_model.lm_head.weight"
	}, []string{"lm_head.weight, stored twice", "lm_head.weight alone"}},
	{"embedding twice", func(c *checkpoint) { c.copyAs(embedding, "module."+c.find(embedding).Name) }, []string{"embed_tokens.weight, stored twice"}},
	{"head empty", func(c *checkpoint) { c.add("lm_head.weight", []int64{0}, nil) }, []string{"lm_head.weight is empty"}},
	{"head of no type", func(c *checkpoint) {
		c.tensors = append(c.tensors, safetensors.Data{Name: "lm_head.weight", Shape: []int64{0}})
	}, []string{"lm_head.weight is empty"}},
	{"head equal, said untied", func(c *checkpoint) {
		c.config()["tie_word_embeddings"] = false
		c.copyAs(embedding, "lm_head.weight")
	}, []string{"lm_head.weight is equal"}},
	{"head equal in F64", func(c *checkpoint) {
		c.copyAs(embedding, "lm_head.weight")
		c.widen(c.find("lm_head.weight"))
	}, []string{"lm_head.weight is equal"}},

	// Types and leftovers.
	{"F64 among others", func(c *checkpoint) { c.widen(c.find(embedding)); c.widen(c.find("layers.1.mlp.up_proj.weight")) }, nil},
	{"F64", func(c *checkpoint) {
		for i := range c.tensors {
			c.widen(&c.tensors[i])
		}
	}, nil},
	{"quantization_config", func(c *checkpoint) {
		c.config()["quantization_config"] = map[string]any{"quant_method": "bitsandbytes", "load_in_4bit": true}
	}, []string{`config.json: quantization_config ("bitsandbytes") is ignored`}},
	{"quantization_config of the text", func(c *checkpoint) {
		c.text()["quantization_config"] = map[string]any{"quant_method": "gptq"}
	}, []string{`text_config.quantization_config ("gptq") is ignored`}},
	{"quantization_config null", func(c *checkpoint) { c.config()["quantization_config"] = nil }, nil},
	{"value head", func(c *checkpoint) {
		c.add("v_head.summary.weight", []int64{1, 2}, []float32{1, 2})
		c.add("v_head.summary.bias", []int64{1}, []float32{1})
	}, []string{"2 tensors, no part of PaliGemma, are ignored: v_head.summary.bias, v_head.summary.weight"}},
	{"classifier", func(c *checkpoint) {
		for i := range 5 {
			c.add(fmt.Sprint("score.", i), []int64{1}, []float32{1})
		}
	}, []string{"5 tensors, no part of PaliGemma, are ignored: score.0, score.1, score.2 … and 2 more"}},
	{"scales of another module", func(c *checkpoint) { c.add("adapter.input_scale", []int64{1}, []float32{1}) }, []string{"tensor adapter.input_scale, no part of PaliGemma"}},
	{"an empty tensor", func(c *checkpoint) { c.add("extra", []int64{0}, nil) }, []string{"tensor extra, no part of PaliGemma, is ignored"}},
	{"buffers and a pooling head", func(c *checkpoint) {
		c.add("vision_tower.vision_model.embeddings.position_ids", []int64{1, 2}, []float32{0, 1})
		c.add("model.language_model.rotary_emb.inv_freq", []int64{1}, []float32{1})
		c.add("model.vision_tower.vision_model.head.probe", []int64{1}, []float32{1})
	}, []string{"2 tensors, buffers that are computed", "of SigLIP's pooling head"}},

	// Special tokens.
	{"pad is eos", func(c *checkpoint) { c.config()["pad_token_id"], c.text()["pad_token_id"] = 1, 1 }, nil},
	{"pad is -1", func(c *checkpoint) { c.config()["pad_token_id"], c.text()["pad_token_id"] = -1, -1 }, nil},
	{"pad is null", func(c *checkpoint) { c.config()["pad_token_id"], c.text()["pad_token_id"] = nil, nil }, nil},
	{"no pad", func(c *checkpoint) { delete(c.config(), "pad_token_id"); delete(c.text(), "pad_token_id") }, nil},
	{"pad of the text is eos", func(c *checkpoint) { delete(c.config(), "pad_token_id"); c.text()["pad_token_id"] = 1 }, nil},
	{"bos is null", func(c *checkpoint) { c.config()["bos_token_id"], c.text()["bos_token_id"] = nil, nil }, nil},
	{"bos is another", func(c *checkpoint) { c.config()["bos_token_id"] = 9 }, []string{"bos_token_id 9 is ignored"}},
	{"eos is -1", func(c *checkpoint) { c.config()["eos_token_id"] = -1 }, nil},
	{"two keys of the image token", func(c *checkpoint) { c.config()["image_token_id"] = 2176 }, nil},

	// The image processor.
	{"size as a list", func(c *checkpoint) { c.processor()["size"] = []any{56, 56} }, nil},
	{"size as a number", func(c *checkpoint) { c.processor()["size"] = 56 }, nil},
	{"shortest edge", func(c *checkpoint) { c.processor()["size"] = map[string]any{"shortest_edge": 56} }, []string{"names the shortest edge"}},
	{"crop of the same size", func(c *checkpoint) {
		c.processor()["do_center_crop"], c.processor()["crop_size"] = true, map[string]any{"height": 56, "width": 56}
	}, nil},
	{"crop of the same size as a number", func(c *checkpoint) { c.processor()["do_center_crop"], c.processor()["crop_size"] = true, 56 }, nil},
	{"padding to no size", func(c *checkpoint) { c.processor()["do_pad"] = true }, nil},
	{"one mean", func(c *checkpoint) { c.processor()["image_mean"], c.processor()["image_std"] = 0.5, 0.5 }, nil},
	{"nulls", func(c *checkpoint) {
		for _, key := range []string{"do_resize", "do_rescale", "do_normalize", "do_pad", "do_convert_rgb", "rescale_factor", "resample", "image_mean", "image_std", "size", "image_seq_length"} {
			c.processor()[key] = nil
		}
	}, nil},
	{"two processors", func(c *checkpoint) { c.json["preprocessor_config.json"] = map[string]any{"resample": 0} }, nil},

	// JSON.
	{"NaN", func(c *checkpoint) {
		c.files["config.json"] = strings.Replace(toJSON(c, "config.json"), `"initializer_range":0.02`, `"initializer_range": NaN`, 1)
		c.files["generation_config.json"] = `{"eos_token_id": 1, "temperature": -Infinity, "a\"NaN": [Infinity, "NaN"]}`
	}, nil},
	{"no model_type", func(c *checkpoint) { delete(c.config(), "model_type") }, nil},
	{"layer_types of Gemma", func(c *checkpoint) {
		if c.text()["model_type"] == "gemma" {
			c.text()["layer_types"] = []any{"full_attention", "full_attention", "full_attention"}
		}
	}, nil},
	{"rope_scaling default", func(c *checkpoint) { c.text()["rope_scaling"] = map[string]any{"rope_type": "default"} }, nil},
	{"no generation_config.json", func(c *checkpoint) { delete(c.json, "generation_config.json") }, nil},
	{"a damaged generation_config.json", func(c *checkpoint) { c.files["generation_config.json"] = "{" }, []string{"generation_config.json is ignored"}},

	// The tokenizer.
	{"added_tokens.json", func(c *checkpoint) {
		c.removeImage()
		c.json["added_tokens.json"] = map[string]any{imagePiece: 2176}
	}, []string{"lacks 1 token, which added_tokens.json names: <image>"}},
	{"added_tokens_decoder", func(c *checkpoint) {
		c.removeImage()
		c.json["tokenizer_config.json"]["added_tokens_decoder"] = map[string]any{
			"2176": map[string]any{"content": imagePiece, "special": true, "normalized": false},
			"0":    map[string]any{"content": "<pad>", "special": true},
		}
	}, []string{"lacks 1 token, which tokenizer_config.json names: <image>"}},
	{"no image token", (*checkpoint).removeImage, []string{"lacks 1 token, which config.json names: <image>"}},
	{"added_tokens.json that says nothing new", func(c *checkpoint) {
		c.json["added_tokens.json"] = map[string]any{imagePiece: 2176, "<pad>": 0}
		c.json["special_tokens_map.json"] = map[string]any{"bos_token": "<bos>", "eos_token": map[string]any{"content": "<eos>"}}
	}, nil},

	// Files next to the checkpoint.
	{"an adapter", func(c *checkpoint) { c.files["adapter_config.json"], c.files["adapter_model.safetensors"] = "{}", "x" },
		[]string{"the adapter in the folder (adapter_model.safetensors) is not applied"}},
	{"consolidated weights", func(c *checkpoint) {
		c.files["consolidated.safetensors"], c.files["pytorch_model.bin"], c.files["training_args.bin"] = "x", "x", "x"
		c.files["checkpoint-5/config.json"] = "{}"
	}, []string{"1 file of weights is in the folder not read: consolidated.safetensors"}},
}

func toJSON(c *checkpoint, name string) string {
	b, err := json.Marshal(c.json[name])
	if err != nil {
		c.t.Fatal(err)
	}
	return string(b)
}

// forms are how a checkpoint may be stored.
var forms = []struct {
	name  string
	apply func(*checkpoint)
}{
	{"one file", func(*checkpoint) {}},
	{"shards", func(c *checkpoint) { c.shards = 3 }},
	{"BF16", func(c *checkpoint) { c.round(safetensors.BF16) }},
	{"F16 of 2024", func(c *checkpoint) { c.round(safetensors.F16); c.rename(layouts[0]) }},
	{"module tree", func(c *checkpoint) { c.rename(layouts[2]); c.shards = 2 }},
}

// TestVariants wants the same bytes of every tensor, the same tokenizer and the
// same configuration from each variant, in one of the forms, as from its base.
func TestVariants(t *testing.T) {
	for b, base := range []string{"pg1-tiny", "pg2-tiny"} {
		type result struct {
			file   *gguf.File
			report *Report
		}
		want := map[int]result{}
		for i, v := range variants {
			form := (i + 2*b) % len(forms)
			t.Run(base+"/"+forms[form].name+"/"+v.name, func(t *testing.T) {
				if want[form].file == nil {
					c := load(t, base)
					forms[form].apply(c)
					f, report := runFor(t, c.save())
					want[form] = result{f, report}
				}
				c := load(t, base)
				forms[form].apply(c)
				v.change(c)
				dir := c.save()
				got, report := run(t, dir, Options{Type: "f32"})
				sameTensors(t, want[form].file, got)
				sameTokens(t, want[form].file, got)
				if !reflect.DeepEqual(report.Config, want[form].report.Config) {
					t.Errorf("configuration %+v, want %+v", report.Config, want[form].report.Config)
				}
				checkNotes(t, report.Notes, v.notes)
			})
		}
		for _, r := range want {
			r.file.Close()
		}
	}
}

// runFor is run for a file that outlives the test.
func runFor(t *testing.T, dir string) (*gguf.File, *Report) {
	t.Helper()
	out := filepath.Join(t.TempDir(), "out.gguf")
	report, err := Convert(t.Context(), dir, out, Options{Type: "f32", Name: "test"})
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	f, err := gguf.FromBytes(out, b)
	if err != nil {
		t.Fatal(err)
	}
	return f, report
}

// sameTokens wants two files to have the same tokens and types.
func sameTokens(t *testing.T, a, b *gguf.File) {
	t.Helper()
	for _, key := range []string{"tokenizer.ggml.tokens", "tokenizer.ggml.token_type", "tokenizer.ggml.scores"} {
		if !reflect.DeepEqual(a.Value(key), b.Value(key)) {
			t.Errorf("%s differs", key)
		}
	}
}

// checkNotes wants one note with each of the parts, in order, and no other.
func checkNotes(t *testing.T, notes, parts []string) {
	t.Helper()
	if len(notes) != len(parts) {
		t.Errorf("%d notes %q, want %q", len(notes), notes, parts)
		return
	}
	for i, part := range parts {
		if !strings.Contains(notes[i], part) || len(notes[i]) > 500 || strings.Contains(notes[i], "\n") {
			t.Errorf("note %q, want %q", notes[i], part)
		}
	}
}

// TestAliases reads the embedding by a name that only metadata gives it.
func TestAliases(t *testing.T) {
	want, _ := run(t, tinyDir("pg1-tiny"), Options{Type: "f32"})
	for _, head := range []string{"lm_head.weight", "language_model.lm_head.weight"} {
		for _, tie := range []bool{true, false} {
			c := load(t, "pg1-tiny")
			c.meta = map[string]string{"format": "pt", c.find(embedding).Name: head}
			c.find(embedding).Name = head
			c.config()["tie_word_embeddings"] = tie
			got, _ := run(t, c.save(), Options{Type: "f32"})
			sameTensors(t, want, got)

			c = load(t, "pg1-tiny")
			c.meta = map[string]string{"module." + head: c.find(embedding).Name}
			c.config()["tie_word_embeddings"] = tie
			got, _ = run(t, c.save(), Options{Type: "f32"})
			sameTensors(t, want, got)
		}
	}
}

// TestIndex: an index may name a head that is stored nowhere, or lack what is.
func TestIndex(t *testing.T) {
	want, _ := run(t, tinyDir("pg1-tiny"), Options{Type: "f32"})
	for name, entry := range map[string]any{
		"lm_head.weight":                   "model-00002-of-00003.safetensors",
		"extra":                            "model-00001-of-00003.safetensors",
		"language_model.model.norm.weight": nil,
		"language_model.model.layers.0.self_attn.q_proj.weight":       "model-00003-of-00003.safetensors",
		"vision_tower.encoder.layers.0.self_attn.q_proj.weight":       nil,
		"language_model.model.layers.0.mlp.another_projection.weight": "model-00001-of-00003.safetensors",
	} {
		t.Run(name, func(t *testing.T) {
			c := load(t, "pg1-tiny")
			c.shards = 3
			c.index[name] = entry
			got, report := run(t, c.save(), Options{Type: "f32"})
			sameTensors(t, want, got)
			if len(report.Notes) != 1 || !strings.HasPrefix(report.Notes[0], "model.safetensors.index.json ") || !strings.Contains(report.Notes[0], name) {
				t.Errorf("notes %q", report.Notes)
			}
		})
	}
	c := load(t, "pg1-tiny")
	c.shards = 3
	c.index["lm_head.weight"] = "model-00004-of-00004.safetensors"
	fails(t, c.save(), Options{}, "1 of 4 shards are missing: model-00004-of-00004.safetensors", "download")
}
