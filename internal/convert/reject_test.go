package convert

import (
	"context"
	"errors"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"paligemma/internal/model"
	"paligemma/internal/safetensors"
)

// TestReject changes one thing in a sound checkpoint.
func TestReject(t *testing.T) {
	cases := []struct {
		name   string
		change func(c *checkpoint)
		want   []string // parts of the error
	}{
		// Weights.
		{"NaN", func(c *checkpoint) { c.set("layers.1.self_attn.q_proj.weight", 70, float32(math.NaN())) },
			[]string{"language_model.model.layers.1.self_attn.q_proj.weight has NaN at row 1, column 6"}},
		{"Inf", func(c *checkpoint) { c.set("encoder.layers.2.layer_norm1.bias", 3, float32(math.Inf(-1))) },
			[]string{"vision_tower.encoder.layers.2.layer_norm1.bias has -Inf at row 0, column 3"}},
		{"NaN in f16", func(c *checkpoint) {
			c.set("fc1.weight", 0, float32(math.NaN()))
			c.round(safetensors.F16)
		}, []string{"fc1.weight has NaN"}},
		{"missing", func(c *checkpoint) {
			c.remove("layers.0.mlp.up_proj.weight")
			c.remove("encoder.layers.0.mlp.fc1.bias")
		}, []string{"2 tensors are missing", "language_model.model.layers.0.mlp.up_proj.weight", "encoder.layers.0.mlp.fc1.bias", "save or download both again"}},
		{"unknown", func(c *checkpoint) {
			c.add("language_model.model.layers.3.mlp.up_proj.weight", []int64{2}, []float32{1, 2})
		}, []string{"1 tensor is unknown (language_model.model.layers.3.mlp.up_proj.weight)", "config.json is not"}},
		{"misshapen", func(c *checkpoint) {
			d := c.find("layers.2.self_attn.k_proj.weight")
			d.Shape[0], d.Shape[1] = d.Shape[1], d.Shape[0]
			c.find("patch_embedding.weight").Shape = []int64{48, 14, 14, 3}
		}, []string{"k_proj.weight has the shape [64 32], want [32 64]", "patch_embedding.weight has the shape [48 14 14 3], want [48 3 14 14]"}},
		{"many", func(c *checkpoint) { c.text()["num_hidden_layers"] = 30 }, []string{"243 tensors are missing", " … and 240 more"}},
		{"integers", func(c *checkpoint) {
			d := c.find("linear.bias")
			*d = safetensors.NewInt64(d.Name, d.Shape, make([]int64, 64))
		}, []string{"linear.bias is I64", "quantized", "--type"}},
		{"two heads", func(c *checkpoint) {
			c.add("lm_head.weight", []int64{1}, []float32{1})
			c.add("language_model.lm_head.weight", []int64{1}, []float32{2})
		}, []string{`"language_model.lm_head.weight" and "lm_head.weight" are both lm_head.weight and differ`}},
		{"head of another shape", func(c *checkpoint) { c.add("lm_head.weight", []int64{1}, []float32{1}) },
			[]string{"lm_head.weight has the shape [1], want [2240 64]"}},

		// config.json.
		{"another model", func(c *checkpoint) { c.config()["model_type"] = "llama" }, []string{"not a PaliGemma model", `model_type is "llama"`}},
		{"another text model", func(c *checkpoint) { c.text()["model_type"] = "gemma3_text" }, []string{"text_config.model_type", "gemma3_text"}},
		{"another tower", func(c *checkpoint) { c.vision()["model_type"] = "clip" }, []string{"vision_config.model_type", "clip"}},
		{"zero heads", func(c *checkpoint) { c.text()["num_attention_heads"] = 0 }, []string{"config.json", "number of heads is 0"}},
		{"zero kv heads", func(c *checkpoint) { c.text()["num_key_value_heads"] = 0 }, []string{"number of key-value heads is 0"}},
		{"zero head_dim", func(c *checkpoint) { c.text()["head_dim"] = 0 }, []string{"head dimension is 0"}},
		{"zero patch", func(c *checkpoint) { c.vision()["patch_size"] = 0 }, []string{"patch size is 0"}},
		{"zero vision heads", func(c *checkpoint) { c.vision()["num_attention_heads"] = 0 }, []string{"vision tower's number of heads is 0"}},
		{"negative", func(c *checkpoint) { c.text()["hidden_size"] = -4 }, []string{"text_config.hidden_size is -4, want an integer"}},
		{"huge", func(c *checkpoint) { c.text()["num_hidden_layers"] = 2000000000 }, []string{"number of layers is 2000000000"}},
		{"fraction", func(c *checkpoint) { c.text()["hidden_size"] = 64.5 }, []string{"hidden_size is 64.5"}},
		{"strings", func(c *checkpoint) { c.text()["hidden_size"], c.vision()["layer_norm_eps"] = "64", "small" },
			[]string{`hidden_size is "64"`, `layer_norm_eps is "small"`}},
		{"no object", func(c *checkpoint) { c.config()["text_config"] = "gemma" }, []string{`text_config is "gemma", want an object`}},
		{"erf gelu in the text", func(c *checkpoint) { c.text()["hidden_activation"] = "gelu" }, []string{"text_config.hidden_activation", "tanh gelu"}},
		{"erf gelu", func(c *checkpoint) { c.vision()["hidden_act"] = "gelu" }, []string{"vision_config.hidden_act", "tanh gelu"}},
		{"silu", func(c *checkpoint) { c.text()["hidden_act"] = "silu" }, []string{`text_config.hidden_act is "silu"`}},
		{"biases", func(c *checkpoint) { c.text()["attention_bias"] = true }, []string{"attention_bias"}},
		{"rope", func(c *checkpoint) { c.at("config.json", "text_config", "rope_parameters")["rope_type"] = "yarn" },
			[]string{"rope_parameters.rope_type", "yarn"}},
		{"rope scaling", func(c *checkpoint) { c.text()["rope_scaling"] = map[string]any{"type": "linear", "factor": 2} },
			[]string{"rope_scaling.type", "linear"}},
		{"eos", func(c *checkpoint) { c.config()["eos_token_id"] = []any{5, "x"} }, []string{`eos_token_id has "x", want a token's id`}},
		{"image", func(c *checkpoint) { c.config()["image_token_index"] = 256000 }, []string{"<image> is 2176", "256000"}},
		{"small vocabulary", func(c *checkpoint) { c.text()["vocab_size"] = 2000 }, []string{"tokenizer.json", "the token embedding has 2000 rows"}},
		{"vocabulary", func(c *checkpoint) { c.text()["vocab_size"] = 2300 }, []string{"embed_tokens.weight has the shape [2240 64], want [2300 64]"}},

		// The image processor.
		{"bilinear", func(c *checkpoint) { c.at("processor_config.json", "image_processor")["resample"] = 2 }, []string{"image_processor.resample is 2, want 3"}},
		{"rescale", func(c *checkpoint) { c.at("processor_config.json", "image_processor")["rescale_factor"] = 1 }, []string{"rescale_factor is 1, want 1/255"}},
		{"no resize", func(c *checkpoint) { c.at("processor_config.json", "image_processor")["do_resize"] = false }, []string{"do_resize is false"}},
		{"crop", func(c *checkpoint) { c.at("processor_config.json", "image_processor")["do_center_crop"] = true }, []string{"do_center_crop is true"}},
		{"oblong", func(c *checkpoint) { c.at("processor_config.json", "image_processor", "size")["width"] = 70 }, []string{"equal height and width"}},
		{"other size", func(c *checkpoint) {
			size := c.at("processor_config.json", "image_processor", "size")
			size["width"], size["height"] = 70, 70
		}, []string{"size is 70 pixels", "image_size is 56"}},
		{"tokens", func(c *checkpoint) { c.at("processor_config.json", "image_processor")["image_seq_length"] = 25 }, []string{"image_seq_length is 25", "makes 16 tokens"}},
		{"zero std", func(c *checkpoint) {
			c.at("processor_config.json", "image_processor")["image_std"] = []any{0.5, 0, 0.5}
		}, []string{"image_std is [0.5 0 0.5]", "positive"}},
		{"two means", func(c *checkpoint) { c.at("processor_config.json", "image_processor")["image_mean"] = []any{0.5, 0} }, []string{"image_mean is [0.5,0], want one number or three"}},

		// The tokenizer.
		{"no image token", func(c *checkpoint) {
			added := c.json["tokenizer.json"]["added_tokens"].([]any)
			c.json["tokenizer.json"]["added_tokens"] = added[:len(added)-1]
			delete(c.config(), "image_token_index")
		}, []string{"tokenizer.json has no <image> token"}},
		{"unigram", func(c *checkpoint) { c.at("tokenizer.json", "model")["type"] = "Unigram" }, []string{`model.type is "Unigram", want BPE`}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			ck := load(t, "pg1-tiny")
			c.change(ck)
			err := fails(t, ck.save(), Options{}, c.want...)
			if strings.HasPrefix(c.name, "another") && !strings.Contains(c.name, "tower") && !errors.Is(err, model.ErrNotPaliGemma) {
				t.Errorf("%v is not ErrNotPaliGemma", err)
			}
		})
	}
}

// TestRejectGemma2 does so where only Gemma 2 has the field.
func TestRejectGemma2(t *testing.T) {
	for name, change := range map[string]func(m map[string]any){
		"attn_logit_softcapping is null": func(m map[string]any) { m["attn_logit_softcapping"] = nil },
		"sliding_window is null":         func(m map[string]any) { m["sliding_window"] = nil },
		"attention scale":                func(m map[string]any) { m["query_pre_attn_scalar"] = 0 },
		"final soft-cap":                 func(m map[string]any) { m["final_logit_softcapping"] = -30 },
		"layer_types has \"full_attention\" for layer 0": func(m map[string]any) {
			m["layer_types"] = []any{"full_attention", "full_attention"}
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := load(t, "pg2-tiny")
			change(c.text())
			fails(t, c.save(), Options{}, name)
		})
	}
}

// TestFolders gives folders that lack files, or are something else.
func TestFolders(t *testing.T) {
	remove := func(names ...string) string {
		dir := load(t, "pg1-tiny").save()
		for _, n := range names {
			if err := os.Remove(filepath.Join(dir, n)); err != nil {
				t.Fatal(err)
			}
		}
		return dir
	}
	write := func(dir, name, text string) string {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return dir
	}
	for _, c := range []struct {
		dir  string
		want []string
	}{
		{filepath.Join(t.TempDir(), "none"), []string{"none", "no such file"}},
		{remove("config.json"), []string{"config.json is missing", "copy"}},
		{remove("model.safetensors"), []string{"model.safetensors"}},
		{remove("tokenizer.json"), []string{"tokenizer is missing", "copy tokenizer.json or tokenizer.model"}},
		{write(remove("tokenizer.json"), "tokenizer.model", "x"), []string{"tokenizer.model", "not a sentencepiece model", "tokenizer.json"}},
		{write(remove("config.json"), "adapter_config.json", "{}"), []string{"LoRA adapter", "--lora"}},
		{write(remove(), "config.json", "{"), []string{"config.json", "bad json at byte 1"}},
		{write(remove(), "config.json", "[]"), []string{"config.json", "not a json object"}},
		{write(remove(), "config.json", `{"model_type":"paligemma","model_type":"llama"}`), []string{`key "model_type" is there twice`}},
		{write(remove(), "config.json", strings.Repeat(" ", maxConfigBytes+1)), []string{"config.json: more than 4194304 bytes"}},
		{write(remove(), "processor_config.json", `{"image_processor":{"a":1,"a":2}}`), []string{"processor_config.json", "twice"}},
		{write(remove("processor_config.json"), "preprocessor_config.json", `{"resample":0}`), []string{"preprocessor_config.json: resample is 0"}},
		{write(remove(), "tokenizer.json", `{"model":{},"model":{}}`), []string{"tokenizer.json", `key "model" is there twice`}},
		{write(remove(), "model.safetensors", "x"), []string{"model.safetensors"}},
	} {
		fails(t, c.dir, Options{}, c.want...)
	}
	if _, err := Convert(context.Background(), filepath.Join(t.TempDir(), "none"), filepath.Join(t.TempDir(), "o"), Options{}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v is not ErrNotExist", err)
	}
	if err := fails(t, tinyDir("pg1-tiny"), Options{Type: "q7"}, "q7", "q8_0"); !errors.Is(err, ErrUnknownType) {
		t.Errorf("%v is not ErrUnknownType", err)
	}
	if _, report := run(t, remove("processor_config.json"), Options{}); len(report.Notes) != 1 {
		t.Errorf("notes %q", report.Notes)
	}
	if _, report := run(t, remove("generation_config.json", "tokenizer_config.json"), Options{}); len(report.Notes) != 0 {
		t.Errorf("notes %q", report.Notes)
	}
}

// TestImageSize leaves out all but one of the places that tell it.
func TestImageSize(t *testing.T) {
	for i, change := range []func(c *checkpoint){
		func(c *checkpoint) { delete(c.vision(), "image_size") },
		func(c *checkpoint) { delete(c.json, "processor_config.json") },
		func(c *checkpoint) { delete(c.vision(), "image_size"); delete(c.json, "processor_config.json") },
		func(c *checkpoint) { c.at("processor_config.json", "image_processor")["size"] = 56 },
		func(c *checkpoint) { c.config()["eos_token_id"] = []any{107, 1} },
		func(c *checkpoint) { delete(c.config(), "image_token_index") },
	} {
		c := load(t, "pg1-tiny")
		change(c)
		if _, report := run(t, c.save(), Options{}); report.Config.Vision.ImageSize != 56 || report.Config.Tokens.Image != 2176 {
			t.Errorf("change %d gives %+v", i, report.Config)
		}
	}
}

// TestOverflow converts values that 16 bits do not hold.
func TestOverflow(t *testing.T) {
	at := func(v float32) string {
		c := load(t, "pg1-tiny")
		c.set("layers.1.mlp.up_proj.weight", 5, v)
		return c.save()
	}
	half, large, huge := at(-65504), at(70000), at(1e38)
	for _, typ := range []string{"f16", "f32", "q4_1"} {
		run(t, half, Options{Type: typ})
	}
	for _, typ := range []string{"bf16", "f32", "q8_0"} {
		run(t, large, Options{Type: typ})
	}
	fails(t, large, Options{Type: "f16"}, "language_model.model.layers.1.mlp.up_proj.weight has values up to 70000, too large for f16")
	for _, typ := range Types() {
		if typ.Name == "f32" || typ.Name == "bf16" {
			run(t, huge, Options{Type: typ.Name})
		} else {
			fails(t, huge, Options{Type: typ.Name}, "up_proj.weight has values up to 1e+38, too large")
		}
	}
}
