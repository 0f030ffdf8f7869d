package adapter

import (
	"encoding/json"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// TestTruncated opens every beginning of an adapter's weights but the whole.
func TestTruncated(t *testing.T) {
	f := load(t, "head")
	dir := f.save()
	path := filepath.Join(dir, weightsName)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	step := 1
	for n := 0; n < len(whole); n += step {
		if n > 600 {
			step = 97 // behind the header all are alike
		}
		if err := os.WriteFile(path, whole[:n], 0o644); err != nil {
			t.Fatal(err)
		}
		a, err := Open(dir)
		if err == nil {
			a.Close()
			t.Fatalf("%d of %d bytes are an adapter", n, len(whole))
		}
		refused(t, err, dir)
	}
}

// TestTruncatedConfig opens every beginning of a configuration but the whole.
func TestTruncatedConfig(t *testing.T) {
	dir := load(t, "rslora").save()
	path := filepath.Join(dir, configName)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for n := range len(whole) {
		if err := os.WriteFile(path, whole[:n], 0o644); err != nil {
			t.Fatal(err)
		}
		_, err := Open(dir)
		refused(t, err, dir, configName)
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
			refused(t, err, append(test.parts, configName)...)
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

// TestFind matches patterns as PEFT's get_pattern_key.
func TestFind(t *testing.T) {
	const module = "model.language_model.layers.10.self_attn.q_proj"
	for key, want := range map[string]bool{
		"q_proj":                           true,
		"self_attn.q_proj":                 true,
		"selfXattn.q_proj":                 false,
		"self.attn.q_proj":                 true, // a point is any character
		"_proj":                            false,
		"proj":                             false,
		module:                             true,
		"^" + module:                       true,
		"^language_model.*":                false,
		`layers\.\d+\.self_attn\.q_proj`:   true,
		`layers\.\d\.self_attn\.q_proj`:    false,
		"q_proj|v_proj":                    true,
		"v_proj|k_proj":                    false,
		"layers.10":                        false,
		"layers.10.*":                      true,
		".*q_proj":                         true,
		"[q]_proj":                         true,
		"[_]proj":                          false, // not after a point
		"":                                 false,
		"x." + module:                      false,
		`.*language_model.*\.(q|v)_proj`:   true,
		`(?i)Q_PROJ`:                       true,
		"model.language_model.layers.1.*":  true,
		`model\.language_model\.layers\.1`: false,
	} {
		p := compile(key, 5)
		if p.err != nil {
			t.Fatal(p.err)
		}
		got, err := find([]patternValue{compile("nothing", 4), p, compile(".*", 6)}, module, 7)
		if err != nil || (got == 5) != want {
			t.Errorf("%q matches: %v, want %v (%v)", key, got == 5, want, err)
		}
	}
}

// TestPatternLimits bounds what regular expressions may take.
func TestPatternLimits(t *testing.T) {
	many := map[string]int{}
	for i := range 200 {
		many[`(.{1,900})x\d`+strconv.Itoa(i)] = 1
	}
	layers := map[string]int{}
	for i := range 500 {
		layers[`model\.language_model\.layers\.`+strconv.Itoa(i)+`\.self_attn\.(q|k|v|o)_proj`] = 1
	}
	for name, test := range map[string]struct {
		pattern map[string]int
		want    string
	}{
		"a large one":       {map[string]int{strings.Repeat("(.{1,1000})", 300): 1}, "too large"},
		"many":              {many, "too large"},
		"one for each part": {layers, ""},
		"nested":            {map[string]int{"((a{1,1000}){1,1000}){1,1000}": 1}, ""}, // an error where it is used
	} {
		t.Run(name, func(t *testing.T) {
			b, err := json.Marshal(map[string]any{"peft_type": "LORA", "alpha_pattern": test.pattern})
			if err != nil {
				t.Fatal(err)
			}
			if _, err = parseConfig(string(b)); test.want == "" && err != nil {
				t.Error(err)
			} else if test.want != "" {
				refused(t, err, "alpha_pattern", test.want, "names of the modules")
			}
		})
	}
}

// TestFolders says what else a path may be.
func TestFolders(t *testing.T) {
	write := func(t *testing.T, names ...string) string {
		dir := t.TempDir()
		for _, name := range names {
			path := filepath.Join(dir, name)
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte("{}"), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		return dir
	}
	for name, test := range map[string]struct {
		names []string
		path  string
		parts []string
	}{
		"nothing there":     {nil, "nothing", []string{"no such file or folder"}},
		"an empty folder":   {nil, "", []string{"adapter_config.json", "adapter_model.safetensors", "name the folder"}},
		"pickles":           {[]string{configName, "adapter_model.bin"}, "", []string{"adapter_model.bin", "pickle", "save_pretrained"}},
		"a pickle":          {[]string{configName, "adapter_model.bin"}, "adapter_model.bin", []string{"pickle", "save_pretrained"}},
		"a configuration":   {[]string{configName}, "", []string{weightsName, "missing"}},
		"weights alone":     {[]string{weightsName}, "", []string{configName, "missing"}},
		"folders of them":   {[]string{"checkpoint-10/" + configName, "checkpoint-20/" + configName}, "", []string{"checkpoint-10", "name one"}},
		"a checkpoint":      {[]string{"config.json", "model.safetensors"}, "", []string{"a whole checkpoint"}},
		"a GGUF":            {[]string{"a.gguf"}, "a.gguf", []string{"GGUF"}},
		"another file":      {[]string{"README.md"}, "README.md", []string{"not an adapter"}},
		"broken weights":    {[]string{configName, weightsName}, "", []string{"peft_type"}},
		"a device, of kind": {nil, "/dev/null", []string{"not a folder or a regular file"}},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(write(t, test.names...), test.path)
			if filepath.IsAbs(test.path) {
				path = test.path
			}
			_, err := Open(path)
			refused(t, err, append(test.parts, path)...)
		})
	}
	t.Run("Git LFS pointers", func(t *testing.T) {
		for _, name := range []string{configName, weightsName} {
			dir := load(t, "head").save()
			pointer := "version https://git-lfs.github.com/spec/v1\noid sha256:fd6abf95832c2a085eec96aff4a98a45d21ea251058c09ce05702cd49295e2cb\nsize 1049\n"
			if err := os.WriteFile(filepath.Join(dir, name), []byte(pointer), 0o644); err != nil {
				t.Fatal(err)
			}
			_, err := Open(dir)
			refused(t, err, name, "git lfs pull")
		}
	})
	t.Run("a name on the hub", func(t *testing.T) {
		_, err := Open("someone/paligemma-lora")
		refused(t, err, "hf download someone/paligemma-lora --local-dir paligemma-lora")
	})
	t.Run("files", func(t *testing.T) {
		dir := load(t, "lora").save()
		for _, path := range []string{dir, dir + "/", filepath.Join(dir, weightsName), filepath.Join(dir, configName)} {
			a, err := Open(path)
			if err != nil {
				t.Fatal(err)
			}
			if a.Name() != filepath.Base(dir) || a.Path() != path || a.Base() != "pg1-tiny" {
				t.Errorf("%s: name %s, path %s, base %s", path, a.Name(), a.Path(), a.Base())
			}
			a.Close()
		}
	})
}

// TestCache opens an adapter in a hub's cache, where files are links, by each of its names.
func TestCache(t *testing.T) {
	cache := t.TempDir()
	repository := filepath.Join(cache, "models--someone--mine")
	snapshot := filepath.Join(repository, "snapshots", "0123")
	for _, dir := range []string{snapshot, filepath.Join(repository, "refs")} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Rename(load(t, "lora").save(), filepath.Join(repository, "blobs")); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{configName, weightsName} {
		if err := os.Symlink(filepath.Join("..", "..", "blobs", name), filepath.Join(snapshot, name)); err != nil {
			t.Fatal(err)
		}
	}
	for _, path := range []string{repository, snapshot, filepath.Join(snapshot, weightsName)} {
		a, err := Open(path)
		if err != nil {
			t.Fatal(err)
		}
		if a.Name() != "mine" || a.Files()[1] != filepath.Join(snapshot, weightsName) {
			t.Errorf("%s: name %s, files %s", path, a.Name(), a.Files())
		}
		a.Close()
	}
	if !IsAdapter(repository) || IsAdapter(cache) {
		t.Error("what is an adapter is another")
	}
	if err := os.Mkdir(filepath.Join(repository, "snapshots", "4567"), 0o755); err != nil {
		t.Fatal(err)
	}
	_, err := Open(repository)
	refused(t, err, "2 snapshots", "0123")
	if IsAdapter(repository) {
		t.Error("several snapshots are an adapter")
	}
}

// TestTrainingFolder opens what a trainer leaves: its state lies next to the adapter, and
// earlier adapters below it.
func TestTrainingFolder(t *testing.T) {
	dir := load(t, "lora").save()
	for _, name := range []string{"optimizer.pt", "scheduler.pt", "rng_state.pth", "training_args.bin", "trainer_state.json", "README.md",
		"tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "preprocessor_config.json"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("x"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"checkpoint-500", "checkpoint-1000"} {
		if err := os.Rename(load(t, "rslora").save(), filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	a, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	if len(a.updates) != 18 || !IsAdapter(dir) {
		t.Errorf("%d modules", len(a.updates))
	}
	for _, name := range []string{configName, weightsName} {
		if err := os.Remove(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	_, err = Open(dir)
	refused(t, err, "name one of them", "checkpoint-500", "checkpoint-1000")
}

// TestParseSpec takes a scale from a name's end.
func TestParseSpec(t *testing.T) {
	dir := t.TempDir()
	odd := filepath.Join(dir, "a:2")
	if err := os.Mkdir(odd, 0o755); err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]Spec{
		"my-adapter":      {"my-adapter", 1},
		"my-adapter:0.5":  {"my-adapter", 0.5},
		"my-adapter:-1":   {"my-adapter", -1},
		"a/b:0":           {"a/b", 0},
		"a:b:2e-1":        {"a:b", 0.2},
		odd:               {odd, 1},
		odd + ":3":        {odd, 3},
		"C:/adapters":     {"C:/adapters", 1},
		"none:half":       {"none:half", 1}, // Open says that it is not there
		":1":              {":1", 1},
		dir:               {dir, 1},
		dir + ":1":        {dir, 1},
		"hub/name:0x1p-2": {"hub/name", 0.25},
	} {
		if got, err := ParseSpec(text); err != nil || got != want {
			t.Errorf("%q: %v, %v, want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"", "x:NaN", "x:inf", "x:1e300", "x:1e999", dir + ":", dir + ":half"} {
		if got, err := ParseSpec(text); err == nil {
			t.Errorf("%q: %v", text, got)
		}
	}
}

// TestSummary describes an adapter.
func TestSummary(t *testing.T) {
	a, err := Open(filepath.Join("..", "..", "testdata", "adapters", "rslora"))
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	s, err := a.Summary()
	if err != nil {
		t.Fatal(err)
	}
	if s.Modules != 15 || s.Base != "pg1-tiny" || s.Version == "" || s.Replaced != 0 || s.Parameters != 5952 {
		t.Errorf("%+v", s)
	}
	if !slices.Equal(s.Ranks, []int{2, 3, 4}) || len(s.Scales) != 5 || math.Abs(s.Scales[0]-1) > 0 {
		t.Errorf("ranks %v, scales %v", s.Ranks, s.Scales)
	}
	rows := s.Describe()
	if got := rows[1][1]; got != "text gate_proj ×3, text k_proj ×3, text v_proj ×3, vision k_proj ×3, vision v_proj ×3" {
		t.Errorf("changes %q", got)
	}
}

// FuzzConfig reads configurations that anyone may have written: no panic, and an
// error is a line.
func FuzzConfig(f *testing.F) {
	for _, name := range []string{"lora", "rslora", "bias_all"} {
		b, err := os.ReadFile(filepath.Join("..", "..", "testdata", "adapters", name, configName))
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

// FuzzKey takes names of tensors apart.
func FuzzKey(f *testing.F) {
	f.Add("base_model.model.model.language_model.layers.0.self_attn.q_proj.lora_A.default.weight")
	f.Add("base_model.model.model.multi_modal_projector.modules_to_save.default.linear.bias")
	f.Fuzz(func(t *testing.T, name string) {
		k, err := parseKey(name)
		if err == nil && k.part == "" && len(k.copies) == 0 {
			t.Errorf("%q is nothing", name)
		}
	})
}
