package adapter

import (
	"encoding/json"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestTruncatedConfig opens every beginning of a configuration but the whole.
func TestTruncatedConfig(t *testing.T) {
	dir := load(t, "rslora").save()
	path := filepath.Join(dir, ConfigName)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for n := range len(whole) {
		if err := os.WriteFile(path, whole[:n], 0o644); err != nil {
			t.Fatal(err)
		}
		_, err := Open(dir)
		refused(t, err, dir, ConfigName)
	}
}

// TestConfigRefused says what cannot be read, and what to do.
func TestConfigRefused(t *testing.T) {
	for name, test := range map[string]struct {
		set   map[string]any
		parts []string
	}{
		"another kind":          {map[string]any{"peft_type": "LOHA"}, []string{`"LOHA"`, "merge_and_unload"}},
		"no kind":               {map[string]any{"peft_type": nil}, []string{"peft_type is missing"}},
		"aLoRA":                 {map[string]any{"alora_invocation_tokens": []int{1}}, []string{"alora_invocation_tokens", "cannot be merged"}},
		"replicated layers":     {map[string]any{"layer_replication": []any{[]int{0, 2}}}, []string{"layer_replication", "merge"}},
		"trainable tokens":      {map[string]any{"trainable_token_indices": []int{1, 2}}, []string{"trainable_token_indices", "merge"}},
		"parameters":            {map[string]any{"target_parameters": []string{"x"}}, []string{"target_parameters", "merge"}},
		"BD-LoRA":               {map[string]any{"use_bdlora": map[string]any{"nblocks": 2}}, []string{"use_bdlora"}},
		"QALoRA":                {map[string]any{"use_qalora": true}, []string{"use_qalora"}},
		"Arrow":                 {map[string]any{"arrow_config": map[string]any{"top_k": 2}}, []string{"arrow_config"}},
		"KaSA":                  {map[string]any{"kasa_config": map[string]any{"beta": 2}}, []string{"kasa_config"}},
		"MonteCLoRA":            {map[string]any{"monteclora_config": map[string]any{"a": 2}}, []string{"monteclora_config"}},
		"PiSSA":                 {map[string]any{"init_lora_weights": "pissa_niter_4"}, []string{"init_lora_weights", "path_initial_model_for_weight_conversion"}},
		"OLoRA":                 {map[string]any{"init_lora_weights": "olora"}, []string{"init_lora_weights"}},
		"rank 0":                {map[string]any{"r": 0}, []string{"r: "}},
		"a fraction as a rank":  {map[string]any{"r": 1.5}, []string{"r: "}},
		"a huge rank":           {map[string]any{"r": 1 << 30}, []string{"r: "}},
		"a text as alpha":       {map[string]any{"lora_alpha": "8"}, []string{"lora_alpha: want a number"}},
		"a huge alpha":          {map[string]any{"lora_alpha": 1e300}, []string{"lora_alpha", "out of range"}},
		"a bias":                {map[string]any{"bias": "some"}, []string{`bias is "some"`}},
		"DoRA and lora_bias":    {map[string]any{"use_dora": true, "lora_bias": true}, []string{"use_dora and lora_bias"}},
		"a number for a truth":  {map[string]any{"use_rslora": 1}, []string{"use_rslora"}},
		"a list of numbers":     {map[string]any{"modules_to_save": []int{1}}, []string{"modules_to_save"}},
		"a pattern of texts":    {map[string]any{"alpha_pattern": map[string]string{"q_proj": "1"}}, []string{"alpha_pattern", "q_proj"}},
		"a list as a pattern":   {map[string]any{"rank_pattern": []int{1}}, []string{"rank_pattern"}},
		"a pattern of rank 0":   {map[string]any{"rank_pattern": map[string]int{"q_proj": 0}}, []string{"rank_pattern", "q_proj"}},
		"too many names":        {map[string]any{"target_modules": slices.Repeat([]string{"x"}, maxNames+1)}, []string{"target_modules", "more than"}},
		"a long name of a kind": {map[string]any{"peft_type": strings.Repeat("x", 5000)}, []string{"peft_type", "…"}},
	} {
		t.Run(name, func(t *testing.T) {
			f := load(t, "lora")
			maps.Copy(f.config, test.set)
			_, err := Open(f.save())
			refused(t, err, append(test.parts, ConfigName)...)
		})
	}
}

// TestPatternRefused refuses a pattern that may mean something else than it would
// here, where it counts.
func TestPatternRefused(t *testing.T) {
	for _, key := range []string{"(?!vision).*q_proj", "q_proj(", `(.)\1`, strings.Repeat("(a|b)", maxPattern)} {
		f := load(t, "lora")
		f.config["alpha_pattern"] = map[string]any{key: 4}
		_, _, err := f.changes(tiny(), 1)
		refused(t, err, "alpha_pattern", "the key")
	}
}

// TestOldConfigs reads what versions of PEFT before the newer settings wrote.
func TestOldConfigs(t *testing.T) {
	want, _, err := load(t, "head").changes(tiny(), 1)
	if err != nil {
		t.Fatal(err)
	}
	for name, config := range map[string]string{
		// 0.3: few settings, and one (enable_lora) that went away.
		"0.3": `{"base_model_name_or_path": "google/paligemma-3b-pt-224", "bias": "none", "enable_lora": null, "fan_in_fan_out": false, "inference_mode": true,
			"lora_alpha": 4, "lora_dropout": 0.05, "merge_weights": false, "modules_to_save": null, "peft_type": "LORA", "r": 2, "target_modules": ["lm_head"], "task_type": "CAUSAL_LM"}`,
		// As published with adapters of PaliGemma in 2024 (PEFT 0.11).
		"0.11": `{"alpha_pattern": {}, "auto_mapping": null, "base_model_name_or_path": "google/paligemma-3b-pt-224", "bias": "none", "fan_in_fan_out": false, "inference_mode": true,
			"init_lora_weights": "gaussian", "layer_replication": null, "layers_pattern": null, "layers_to_transform": null, "loftq_config": {}, "lora_alpha": 4, "lora_dropout": 0.0,
			"megatron_config": null, "megatron_core": "megatron.core", "modules_to_save": null, "peft_type": "LORA", "r": 2, "rank_pattern": {}, "revision": null,
			"target_modules": ["o_proj", "k_proj", "q_proj", "gate_proj", "up_proj", "v_proj", "down_proj"], "task_type": "CAUSAL_LM", "use_dora": false, "use_rslora": false}`,
		"a float as alpha": `{"peft_type": "lora", "r": 2, "lora_alpha": 4.0, "target_modules": "all-linear"}`,
		"a regular expression of targets": `{"peft_type": "LORA", "r": 2, "lora_alpha": 4,
			"target_modules": "(?:.*?(?:language|text).*?(?:self_attn|attention|attn|mlp|feed_forward|ffn|dense).*?(?:q_proj|k_proj).*?)|(?:\\bmodel\\.layers\\.[\\d]{1,}\\.(?!vision))"}`,
		// As published with adapters of other models in 2023 (PEFT 0.6) and 2026 (PEFT 0.18).
		"0.6": `{"auto_mapping": null, "base_model_name_or_path": "microsoft/llava-med-v1.5-mistral-7b", "bias": "none", "fan_in_fan_out": false, "inference_mode": true,
			"init_lora_weights": true, "layers_pattern": null, "layers_to_transform": null, "lora_alpha": 4, "lora_dropout": 0.05, "modules_to_save": null, "peft_type": "LORA",
			"r": 2, "revision": null, "target_modules": ["q_proj"], "task_type": "CAUSAL_LM"}`,
		"0.18": `{"alora_invocation_tokens": null, "arrow_config": null, "base_model_name_or_path": "google/gemma-2-9b-it", "bias": "none", "corda_config": null, "ensure_weight_tying": false,
			"eva_config": null, "exclude_modules": null, "layers_to_transform": [16, 17], "loftq_config": {}, "lora_alpha": 4, "lora_bias": false, "megatron_core": "megatron.core",
			"peft_type": "LORA", "peft_version": "0.18.1", "qalora_group_size": 16, "r": 2, "revision": "unsloth", "lora_dropout": 0, "target_modules": ["v_proj"],
			"target_parameters": null, "trainable_token_indices": null, "use_dora": false, "use_qalora": false, "use_rslora": false}`,
	} {
		t.Run(name, func(t *testing.T) {
			f := load(t, "head")
			f.config = nil
			if err := json.Unmarshal([]byte(config), &f.config); err != nil {
				t.Fatal(err)
			}
			got, notes, err := f.changes(tiny(), 1)
			if err != nil {
				t.Fatal(err)
			}
			if len(got) != len(want) || got[0].LowRank[0].Scale != want[0].LowRank[0].Scale {
				t.Errorf("the changes differ; notes %q", notes)
			}
		})
	}
}

// FuzzConfig reads configurations that anyone may have written: no panic, and an
// error is a line.
func FuzzConfig(f *testing.F) {
	for _, name := range []string{"lora", "rslora", "bias_all"} {
		b, err := os.ReadFile(filepath.Join("..", "..", "testdata", "adapters", name, ConfigName))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(b))
	}
	f.Add(`{"peft_type":"LORA","r":1,"alpha_pattern":{"(a":1,"a.b":2},"target_modules":"x"}`)
	f.Fuzz(func(t *testing.T, text string) {
		c, err := parseConfig(text)
		if err != nil {
			if strings.Contains(err.Error(), "\n") || len(err.Error()) > 2000 {
				t.Errorf("error %q", err)
			}
			return
		}
		rank, err := c.rankOf("model.layers.0.q_proj")
		if err != nil {
			return
		}
		if scale, err := c.scaleOf("model.layers.0.q_proj", rank); rank < 1 || err == nil && math.IsNaN(scale) {
			t.Errorf("rank %d, scale %v", rank, scale)
		}
	})
}
