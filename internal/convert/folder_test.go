package convert

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"paligemma/internal/folder"
	"paligemma/internal/model"
	"paligemma/internal/safetensors"
)

// tensorName finds the names of tensors in a message.
var tensorName = regexp.MustCompile(`[\w:]+(\.[\w:]+)+\.(\w+)`)

// isSentence wants an error of one line, at most 500 bytes with the command's
// name before it and at most three tensors.
func isSentence(t *testing.T, err error) {
	t.Helper()
	text := err.Error()
	if len("paligemma: "+text) > 500 {
		t.Errorf("%d bytes: %s", len(text), text)
	}
	names := 0
	for _, name := range tensorName.FindAllString(text, -1) {
		if strings.Contains(name, "layers.") || strings.Contains(name, "embed") {
			names++
		}
	}
	if names > 3 {
		t.Errorf("%d tensors in %q", names, text)
	}
}

// TestRefuseTensors: weights that are not plain are refused by what they are.
func TestRefuseTensors(t *testing.T) {
	// each gives every projection of the text model companions, or another type.
	each := func(change func(c *checkpoint, name string)) func(*checkpoint) {
		return func(c *checkpoint) {
			var names []string
			for _, d := range c.tensors {
				if strings.Contains(d.Name, "language_model") && strings.HasSuffix(d.Name, "_proj.weight") {
					names = append(names, d.Name)
				}
			}
			for _, name := range names {
				change(c, strings.TrimSuffix(name, "weight"))
			}
		}
	}
	extra := func(suffixes ...string) func(*checkpoint) {
		return each(func(c *checkpoint, module string) {
			for _, s := range suffixes {
				c.add(module+s, []int64{1}, []float32{1})
			}
		})
	}
	instead := func(suffixes ...string) func(*checkpoint) {
		return each(func(c *checkpoint, module string) {
			c.remove(module + "weight")
			for _, s := range suffixes {
				c.add(module+s, []int64{1}, []float32{1})
			}
		})
	}
	retype := func(dtype safetensors.DType) func(*checkpoint) {
		return each(func(c *checkpoint, module string) {
			d := c.find(module + "weight")
			d.DType, d.Bytes = dtype, d.Bytes[:len(d.Bytes)/4*int(dtype.Size())]
		})
	}
	for _, test := range []struct {
		name   string
		change func(*checkpoint)
		want   []string
	}{
		{"LoRA", each(func(c *checkpoint, module string) {
			c.find(module + "weight").Name = module + "base_layer.weight"
			c.add(module+"lora_A.default.weight", []int64{1}, []float32{1})
			c.add(module+"lora_B.default.weight", []int64{1}, []float32{1})
		}), []string{"unmerged LoRA", "merge_and_unload"}},
		{"LoRA behind a prefix", func(c *checkpoint) {
			extra("lora_A.weight")(c)
			prefixed("base_model.model.")(c)
		}, []string{"unmerged LoRA"}},
		{"DoRA", extra("lora_magnitude_vector.default.weight"), []string{"unmerged LoRA"}},
		{"LoRA of an embedding", func(c *checkpoint) {
			c.add("language_model.model.embed_tokens.lora_embedding_A", []int64{1}, []float32{1})
		}, []string{"unmerged LoRA"}},
		{"LoHa", extra("hada_w1_a"), []string{"unmerged"}},
		{"tokens trained alone", extra("token_adapter.trainable_tokens_delta.default"), []string{"unmerged", "merge_and_unload"}},
		{"BOFT", extra("boft_R.default"), []string{"unmerged"}},
		{"FourierFT", extra("fourierft_spectrum.default"), []string{"unmerged"}},
		{"prompt tuning", func(c *checkpoint) { c.add("prompt_embeddings", []int64{1}, []float32{1}) }, []string{"unmerged"}},

		{"bitsandbytes 4-bit", func(c *checkpoint) {
			retype(safetensors.U8)(c)
			extra("weight.absmax", "weight.quant_map", "weight.quant_state.bitsandbytes__nf4")(c)
		}, []string{"quantized by bitsandbytes", "--type"}},
		{"bitsandbytes 8-bit", func(c *checkpoint) { retype(safetensors.I8)(c); extra("SCB")(c) }, []string{"quantized by bitsandbytes"}},
		{"GPTQ", instead("qweight", "qzeros", "scales", "g_idx"), []string{"quantized by", "GPTQ"}},
		{"AWQ", instead("qweight", "qzeros", "scales"), []string{"quantized by AWQ"}},
		{"compressed-tensors", instead("weight_packed", "weight_scale", "weight_shape"), []string{"quantized by compressed-tensors"}},
		{"FP8", func(c *checkpoint) { retype(safetensors.F8E4M3)(c); extra("weight_scale")(c) }, []string{"quantized by FP8"}},
		{"FP8 in blocks", func(c *checkpoint) { retype(safetensors.F8E4M3)(c); extra("weight_scale_inv")(c) }, []string{"quantized by FP8"}},
		{"FP8 without scales", retype(safetensors.F8E5M2), []string{"is F8_E5M2", "quantized"}},
		{"torchao", instead("weight:_data", "weight:_scale"), []string{"quantized by torchao"}},
		{"torchao, newer", instead("_weight_qdata", "_weight_scale"), []string{"quantized by torchao"}},
		{"Quanto", instead("weight._data", "weight._scale"), []string{"quantized by Quanto"}},
		{"HQQ", instead("W_q", "meta"), []string{"quantized by HQQ"}},
		{"MLX", func(c *checkpoint) { retype(safetensors.U32)(c); extra("scales", "biases")(c) }, []string{"quantized by MLX"}},
		{"integers", retype(safetensors.I8), []string{"is I8", "quantized"}},

		{"ZeRO-3", each(func(c *checkpoint, module string) {
			d := c.find(module + "weight")
			d.Shape, d.Bytes = []int64{0}, nil
		}), []string{"21 tensors are empty", "ZeRO-3", "zero_to_fp32.py"}},
		{"ZeRO-3, all", func(c *checkpoint) {
			for i := range c.tensors {
				c.tensors[i].Shape, c.tensors[i].Bytes = []int64{0}, nil
			}
		}, []string{"ZeRO-3", "zero_to_fp32.py"}},
		{"ZeRO-3, an untied head", func(c *checkpoint) {
			c.config()["tie_word_embeddings"] = false
			c.add("lm_head.weight", []int64{0}, nil)
		}, []string{"1 tensor is empty (lm_head.weight)"}},
		{"no tensors", func(c *checkpoint) { c.tensors = nil }, []string{"hold no tensors", "download"}},
		{"ColPali by its tensors", func(c *checkpoint) { c.add("custom_text_proj.weight", []int64{1}, []float32{1}) }, []string{"ColPali", "convert a PaliGemma"}},
		{"an EMA next to it", func(c *checkpoint) {
			for _, d := range c.tensors {
				d.Name = "module." + d.Name
				d.Bytes = append([]byte{1}, d.Bytes[1:]...)
				c.tensors = append(c.tensors, d)
			}
		}, []string{"are both", "differ", "delete"}},
		{"two adapters' modules", func(c *checkpoint) {
			d := c.find(embedding)
			module := strings.TrimSuffix(d.Name, "weight")
			d.Name = module + "modules_to_save.default.weight"
			c.copyAs("default.weight", module+"modules_to_save.other.weight")
			c.set("other.weight", 0, 5)
		}, []string{"are both", "differ"}},
		{"no embedding, said untied", func(c *checkpoint) {
			c.find(embedding).Name = "lm_head.weight"
			c.config()["tie_word_embeddings"] = false
		}, []string{"embed_tokens.weight", "missing"}},
		{"no text_config", func(c *checkpoint) { delete(c.config(), "text_config") }, []string{"config.json has no text_config"}},
		{"long names", func(c *checkpoint) {
			for i := range 5 {
				c.add(fmt.Sprint("language_model.model.", i, strings.Repeat("é\n", 1300)), []int64{1}, []float32{1})
			}
		}, []string{"5 tensors are unknown"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := load(t, "pg1-tiny")
			test.change(c)
			isSentence(t, fails(t, c.save(), Options{Type: "f32"}, test.want...))
		})
	}
}

// TestRefuseSettings: JSON that says something else than what is done here.
func TestRefuseSettings(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(*checkpoint)
		want   []string
	}{
		{"ColPali", func(c *checkpoint) { c.config()["model_type"] = "colpali" }, []string{"ColPali", "writes no text", "convert a PaliGemma"}},
		{"ColPali of colpali-engine", func(c *checkpoint) { c.config()["architectures"] = []any{"ColPali"} }, []string{"ColPali"}},
		{"LLaVA", func(c *checkpoint) { c.config()["model_type"] = "llava" }, []string{`model_type is "llava"`, "convert a PaliGemma"}},
		{"Gemma 3", func(c *checkpoint) { c.config()["model_type"] = "gemma3" }, []string{`"gemma3"`}},
		{"Qwen2-VL", func(c *checkpoint) { c.config()["model_type"] = "qwen2_vl" }, []string{`"qwen2_vl"`}},
		{"SigLIP", func(c *checkpoint) { c.config()["model_type"] = "siglip" }, []string{`"siglip"`}},
		{"no model_type", func(c *checkpoint) { delete(c.config(), "model_type"); delete(c.config(), "architectures") }, []string{`model_type is ""`}},
		{"a text model of another kind", func(c *checkpoint) { c.text()["model_type"] = "llama" }, []string{`text_config.model_type is "llama"`}},
		{"a model_type of a megabyte", func(c *checkpoint) { c.config()["model_type"] = strings.Repeat("\u0085x", 1<<19) }, []string{"model_type is"}},

		{"a byte order mark", func(c *checkpoint) { c.files["config.json"] = "\ufeff" + toJSON(c, "config.json") }, []string{"config.json is text that begins with a byte order mark", "UTF-8 without one"}},
		{"UTF-16", func(c *checkpoint) { c.files["config.json"] = "\xff\xfe{\x00}\x00" }, []string{"config.json is text in UTF-16"}},
		{"a comment", func(c *checkpoint) { c.files["config.json"] = "// ours\n{}" }, []string{"config.json: bad json at byte"}},
		{"a key twice", func(c *checkpoint) { c.files["config.json"] = `{"model_type":"paligemma","model_type":"paligemma"}` }, []string{`"model_type" is there twice`}},
		{"NaN that is used", func(c *checkpoint) {
			c.files["config.json"] = strings.Replace(toJSON(c, "config.json"), `"rms_norm_eps":0.000001`, `"rms_norm_eps":NaN`, 1)
		}, []string{"text_config.rms_norm_eps is NaN or infinite"}},
		{"-Infinity that is used", func(c *checkpoint) {
			c.files["config.json"] = strings.Replace(toJSON(c, "config.json"), `"hidden_size":64`, `"hidden_size":-Infinity`, 1)
		}, []string{"hidden_size is NaN or infinite"}},
		{"NaNs", func(c *checkpoint) { c.files["config.json"] = `{"a":NaNs}` }, []string{"bad json"}},
		{"an LFS pointer as config.json", func(c *checkpoint) { c.files["config.json"] = "version https://git-lfs.github.com/spec/v1\n" }, []string{"config.json is a Git LFS pointer", "git lfs pull"}},
		{"an LFS pointer as tokenizer.json", func(c *checkpoint) { c.files["tokenizer.json"] = "version https://git-lfs.github.com/spec/v1\n" }, []string{"tokenizer.json is a Git LFS pointer", "git lfs pull"}},
		{"an LFS pointer as weights", func(c *checkpoint) { c.files["model.safetensors"] = "version https://git-lfs.github.com/spec/v1\n" }, []string{"model.safetensors", "Git LFS pointer", "git lfs pull"}},
		{"a web page as weights", func(c *checkpoint) { c.files["model.safetensors"] = "<!doctype html><html></html>" }, []string{"web page", "download"}},
		{"a pickle by another name", func(c *checkpoint) { c.files["model.safetensors"] = "PK\x03\x04archive/data.pkl" }, []string{"zip archive", "save_pretrained"}},

		{"longest edge", func(c *checkpoint) { c.processor()["size"] = map[string]any{"longest_edge": 56} }, []string{"equal height and width"}},
		{"another size than positions", func(c *checkpoint) { c.processor()["size"] = map[string]any{"height": 448, "width": 448} }, []string{"size is 448 pixels", "image_size is 56", "use the file"}},
		{"crop to another size", func(c *checkpoint) { c.processor()["do_center_crop"], c.processor()["crop_size"] = true, 48 }, []string{"do_center_crop"}},
		{"a real crop", func(c *checkpoint) {
			c.processor()["size"] = map[string]any{"shortest_edge": 56}
			c.processor()["do_center_crop"], c.processor()["crop_size"] = true, 56
		}, []string{"do_center_crop"}},
		{"bilinear", func(c *checkpoint) { c.processor()["resample"] = 2 }, []string{"resample is 2", "bicubic"}},
		{"one mean in a list", func(c *checkpoint) { c.processor()["image_mean"] = []any{0.5} }, []string{"one number or three"}},

		{"tokens that were not resized for", func(c *checkpoint) {
			added := c.json["tokenizer.json"]["added_tokens"].([]any)
			for id := 2177; id < 2300; id++ {
				added = append(added, map[string]any{"id": id, "content": fmt.Sprint("<new", id, ">"), "special": false})
			}
			c.json["tokenizer.json"]["added_tokens"] = added
		}, []string{"the token embedding has 2240 rows", "resize_token_embeddings"}},
		{"an added token that leaves a gap", func(c *checkpoint) { c.json["added_tokens.json"] = map[string]any{"<new>": 2190} },
			[]string{`lacks the token "<new>"`, "2177 and not 2190"}},
		{"an image token that is taken", func(c *checkpoint) {
			c.removeImage()
			c.config()["image_token_index"] = 7
		}, []string{"<image>", "2176 and not 7"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := load(t, "pg1-tiny")
			test.change(c)
			isSentence(t, fails(t, c.save(), Options{}, test.want...))
		})
	}
}

// TestRefuseFolders: what is named is not a checkpoint.
func TestRefuseFolders(t *testing.T) {
	base := load(t, "pg1-tiny")
	config := toJSON(base, "config.json")
	for _, test := range []struct {
		name  string
		files map[string]string
		want  []string
	}{
		{"empty", nil, []string{"no config.json", "name the folder"}},
		{"README only", map[string]string{"README.md": "x"}, []string{"no config.json"}},
		{"config.json only", map[string]string{"config.json": config}, []string{"no weights", "download", "name the folder"}},
		{"an optimizer and config.json", map[string]string{"config.json": config, "optimizer.pt": "x", "training_args.bin": "x"}, []string{"no weights", "download"}},
		{"shards without an index", map[string]string{"config.json": config, "model-00001-of-00002.safetensors": "x", "model-00002-of-00002.safetensors": "x"},
			[]string{"2 shards but no model.safetensors.index.json", "download"}},
		{"pickles", map[string]string{"config.json": config, "pytorch_model.bin": "x"}, []string{"pytorch_model.bin", "pickles", "save_pretrained"}},
		{"sharded pickles", map[string]string{"config.json": config, "pytorch_model-00001-of-00002.bin": "x", "pytorch_model.bin.index.json": "{}"}, []string{"pickles"}},
		{".pt", map[string]string{"model.pt": "x"}, []string{"model.pt", "pickles"}},
		{".ckpt", map[string]string{"config.json": config, "last.ckpt": "x"}, []string{"last.ckpt", "pickles"}},
		{".pth", map[string]string{"config.json": config, "consolidated.00.pth": "x"}, []string{"pickles"}},
		{".npz", map[string]string{"paligemma-3b-pt-224.f16.npz": "x"}, []string{"big_vision", "name the file itself"}},
		{".npz with config.json", map[string]string{"config.json": config, "pt.npz": "x"}, []string{"big_vision"}},
		{"Flax", map[string]string{"config.json": config, "flax_model.msgpack": "x"}, []string{"Flax", "save_pretrained"}},
		{"Keras", map[string]string{"config.json": `{"module": "keras_hub.src.models.pali_gemma", "class_name": "PaliGemmaBackbone"}`, "model.weights.h5": "x"}, []string{"Keras", "hf download"}},
		{"Orbax", map[string]string{"_METADATA": "x", "manifest.ocdbt": "x", "d/0": "x"}, []string{"Orbax", "numpy.savez", "hf download"}},
		{"ONNX", map[string]string{"config.json": config, "decoder_model.onnx": "x"}, []string{"ONNX", "hf download"}},
		{"GGUF", map[string]string{"model-q8_0.gguf": "GGUF"}, []string{"GGUF model already", "--model"}},
		{"adapter", map[string]string{"adapter_config.json": "{}", "adapter_model.safetensors": "x"}, []string{"LoRA adapter", "--lora ADAPTER"}},
		{"adapter with config.json", map[string]string{"config.json": config, "adapter_config.json": "{}", "adapter_model.safetensors": "x"}, []string{"LoRA adapter", "--lora ADAPTER"}},
		{"pickled adapter with config.json", map[string]string{"config.json": config, "adapter_config.json": "{}", "adapter_model.bin": "x"}, []string{"LoRA adapter"}},
		{"checkpoints in folders", map[string]string{"checkpoint-500/config.json": "{}", "checkpoint-1000/adapter_config.json": "{}", "runs/x": "", "trainer_state.json": "{}", "training_args.bin": "x", "optimizer.pt": "x", "rng_state_0.pth": "x"},
			[]string{"checkpoint-1000, checkpoint-500", "name one of them"}},
		{"ZeRO", map[string]string{"config.json": config, "zero_to_fp32.py": "x", "latest": "x", "global_step500/x.pt": "x"}, []string{"DeepSpeed ZeRO", "zero_to_fp32.py . ."}},
		{"FSDP", map[string]string{"config.json": config, "pytorch_model_fsdp_0/__0_0.distcp": "x"}, []string{"FSDP", "accelerate merge-weights"}},
		{"metadata only", map[string]string{"config.json": config, "model.safetensors": "\x20\x00\x00\x00\x00\x00\x00\x00" + `{"__metadata__":{"format":"pt"}}`}, []string{"hold no tensors"}},
		{"a broken tokenizer.model", map[string]string{"tokenizer.model": "x", "tokenizer.json": ""}, []string{"tokenizer.model: not a sentencepiece model", "use the tokenizer.json"}},
		{"an LFS pointer as tokenizer.model", map[string]string{"tokenizer.model": "version https://git-lfs.github.com/spec/v1\n", "tokenizer.json": ""}, []string{"tokenizer.model is a Git LFS pointer", "git lfs pull"}},
		{"no tokenizer next to an optimizer", map[string]string{"tokenizer.json": "", "optimizer.pt": "x", "other.bin": "x", "zero_to_fp32.py": "x"}, []string{"the tokenizer is missing", "copy", "--tokenizer"}},
		{"weights and no config.json", map[string]string{"model.safetensors": "x", "optimizer.pt": "x", "pytorch_model.bin": "x"}, []string{"config.json is missing", "copy"}},
		{"an optimizer only", map[string]string{"optimizer.pt": "x", "scheduler.pt": "x"}, []string{"no config.json"}},
		{"no tokenizer", map[string]string{"tokenizer.json": ""}, []string{"the tokenizer is missing", "copy", "--tokenizer"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			if _, without := test.files["tokenizer.json"]; without {
				load(t, "pg1-tiny").saveIn(dir)
			}
			for name, text := range test.files {
				path := filepath.Join(dir, name)
				if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
					t.Fatal(err)
				}
				if text == "" {
					os.Remove(path)
				}
			}
			isSentence(t, fails(t, dir, Options{}, test.want...))
		})
	}
}

// TestRefuseNames: what is named is a file of another kind, or not there.
func TestRefuseNames(t *testing.T) {
	dir := load(t, "pg1-tiny").save()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for _, test := range []struct {
		name, path string
		want       []string
	}{
		{"hub name", "google/paligemma-3b-mix-224", []string{"hub", "`paligemma pull google/paligemma-3b-mix-224`"}},
		{"address", "https://huggingface.co/google/paligemma-3b-mix-224/tree/main", []string{"address", "`paligemma pull google/paligemma-3b-mix-224`"}},
		{"address without a scheme", "huggingface.co/google/paligemma-3b-mix-224", []string{"address", "`paligemma pull google/paligemma-3b-mix-224`"}},
		{"another address", "s3://bucket/model", []string{"address", "download"}},
		{"nothing", filepath.Join(dir, "none"), []string{"no such file", "name the folder"}},
		{"a very long name", strings.Repeat("x/", 1000), []string{"no such file"}},
		{"a GGUF", file("m.gguf", "GGUF\x03\x00\x00\x00"), []string{"GGUF model already", "--model"}},
		{"a GGUF by another name", file("m.safetensors", "GGUF\x03\x00\x00\x00"), []string{"GGUF model already"}},
		{"a GGUF without an ending", file("m", "GGUF\x03\x00\x00\x00"), []string{"GGUF model already"}},
		{"a pickle", file("pytorch_model.bin", "PK"), []string{"pickles"}},
		{"a broken npz", file("pt.npz", "PK"), []string{"invalid npz"}},
		{"a page as npz", file("page.npz", "<!doctype html>"), []string{"web page"}},
		{"weights of Keras", file("model.weights.h5", "\x89HDF"), []string{"Keras", "hf download"}},
		{"weights of Flax", file("flax_model.msgpack", "x"), []string{"Flax", "save_pretrained"}},
		{"config.json", filepath.Join(dir, "config.json"), []string{"name its folder"}},
		{"generation_config.json", filepath.Join(dir, "generation_config.json"), []string{"name its folder"}},
		{"a shard", file("model-00001-of-00002.safetensors", "x"), []string{"one of several shards", "name their folder"}},
		{"an adapter's weights", file("adapter_model.safetensors", "x"), []string{"LoRA adapter"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			isSentence(t, fails(t, test.path, Options{}, test.want...))
		})
	}
	for _, path := range []string{"google/paligemma-3b-mix-224", filepath.Join(dir, "none")} {
		if _, err := Convert(context.Background(), path, filepath.Join(t.TempDir(), "o"), Options{}); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%v is not ErrNotExist", err)
		}
	}
	c := load(t, "pg1-tiny")
	c.config()["model_type"] = "colpali"
	if err := fails(t, c.save(), Options{}); !errors.Is(err, model.ErrNotPaliGemma) {
		t.Errorf("%v is not ErrNotPaliGemma", err)
	}
}

// cache lays a checkpoint out as a hub's cache does, and returns the folders of
// the repository and of the snapshot.
func cache(t *testing.T, repository string, shards int) (root, snapshot string) {
	t.Helper()
	c := load(t, "pg1-tiny")
	c.shards = shards
	from, top := c.save(), t.TempDir()
	root = filepath.Join(top, repository)
	snapshot = filepath.Join(root, "snapshots", "0123abcd")
	blobs := filepath.Join(root, "blobs")
	for _, d := range []string{blobs, snapshot, filepath.Join(root, "refs")} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(root, "refs", "main"), []byte("0123abcd"), 0o644); err != nil {
		t.Fatal(err)
	}
	for i, name := range folder.List(from) {
		blob := fmt.Sprintf("%040d", i)
		if err := os.Rename(filepath.Join(from, name), filepath.Join(blobs, blob)); err != nil {
			t.Fatal(err)
		}
		target := filepath.Join("..", "..", "blobs", blob)
		if i%2 == 0 { // as a cache that was moved may have it
			target = filepath.Join(blobs, blob)
		}
		if err := os.Symlink(target, filepath.Join(snapshot, name)); err != nil {
			t.Skip(err)
		}
	}
	return root, snapshot
}

// TestCache converts from a hub's cache, named in several ways.
func TestCache(t *testing.T) {
	want, _ := run(t, tinyDir("pg1-tiny"), Options{Type: "f32"})
	for _, shards := range []int{0, 3} {
		root, snapshot := cache(t, "models--google--paligemma--3b", shards)
		paths := []string{root, root + "/", snapshot, snapshot + "/.", filepath.Join(snapshot, "model.safetensors")}
		if shards > 0 {
			paths[4] = filepath.Join(snapshot, "model.safetensors.index.json")
		}
		for _, path := range paths {
			got, _ := run(t, path, Options{Type: "f32"})
			sameTensors(t, want, got)
			if name := DefaultOutput(path, "f32"); name != "paligemma--3b-f32.gguf" {
				t.Errorf("%s is called %s", path, name)
			}
		}
		isCalled(t, snapshot, "paligemma--3b")
		// Without the branch's name, and then with two snapshots.
		if err := os.Remove(filepath.Join(root, "refs", "main")); err != nil {
			t.Fatal(err)
		}
		run(t, root, Options{})
		if err := os.Mkdir(filepath.Join(root, "snapshots", "beef"), 0o755); err != nil {
			t.Fatal(err)
		}
		isSentence(t, fails(t, root, Options{}, "2 snapshots (0123abcd, beef)", "name one"))

		// A blob that is gone.
		target, err := filepath.EvalSymlinks(filepath.Join(snapshot, "config.json"))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Remove(target); err != nil {
			t.Fatal(err)
		}
		isSentence(t, fails(t, snapshot, Options{}, "config.json is a link to", "download"))
	}
	_, snapshot := cache(t, "models--gpt2", 0)
	if name := DefaultOutput(snapshot, "f32"); name != "gpt2-f32.gguf" {
		t.Errorf("a repository without an owner is called %s", name)
	}
}

// TestFolderNames: a folder's name may have a dot, and is given in many ways.
func TestFolderNames(t *testing.T) {
	top := t.TempDir()
	for _, name := range []string{"paligemma-3b.v1.2", "model.safetensors", "a.index.json", ".hidden", "mit Leerzeichen"} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(top, name)
			if err := os.Mkdir(dir, 0o755); err != nil {
				t.Fatal(err)
			}
			load(t, "pg1-tiny").saveIn(dir)
			for _, path := range []string{dir, dir + "/", dir + "/.", filepath.Join(dir, "x") + "/.."} {
				if strings.HasSuffix(path, "..") {
					if err := os.Mkdir(filepath.Join(dir, "x"), 0o755); err != nil {
						t.Fatal(err)
					}
				}
				if got := DefaultOutput(path, "f16"); got != name+"-f16.gguf" {
					t.Errorf("%s is called %s", path, got)
				}
			}
			_, report := run(t, dir+"/", Options{Name: "test"})
			if report.Config.Name != "test" {
				t.Error(report.Config.Name)
			}
			isCalled(t, dir, name)
		})
	}
}

// isCalled wants the name of a checkpoint in the current folder.
func isCalled(t *testing.T, dir, want string) {
	t.Helper()
	t.Run("current folder", func(t *testing.T) {
		t.Chdir(dir)
		if got := DefaultOutput(".", "f16"); got != want+"-f16.gguf" {
			t.Errorf("the current folder %s is called %s", dir, got)
		}
	})
}
