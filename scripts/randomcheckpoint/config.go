package main

import (
	"math"
	"os"
	"path/filepath"

	"paligemma/internal/model"
	"paligemma/internal/vocabulary"
)

type object = map[string]any

// writeConfigs writes the JSON files as sparsely as the releases have them.
func writeConfigs(out string, c model.Config) error {
	t, v := c.Text, c.Vision
	tokens, pixels := v.ImageTokens, v.ImageSize
	text := object{
		"hidden_size": t.Hidden, "intermediate_size": t.MLP, "model_type": "gemma", "num_attention_heads": t.Heads,
		"num_hidden_layers": t.Layers, "num_image_tokens": tokens, "num_key_value_heads": t.KVHeads, "vocab_size": t.Vocab,
	}
	if c.Arch == model.ArchPaliGemma2 {
		for k, v := range (object{
			"model_type": "gemma2", "head_dim": t.HeadDim, "query_pre_attn_scalar": math.Round(1 / float64(t.AttnScale*t.AttnScale)), "sliding_window": 4096,
			"attn_logit_softcapping": 50.0, "final_logit_softcapping": 30.0, "hidden_activation": "gelu_pytorch_tanh",
		}) {
			text[k] = v
		}
	}
	vision := object{
		"hidden_size": v.Hidden, "intermediate_size": v.MLP, "model_type": "siglip_vision_model", "num_attention_heads": v.Heads,
		"num_hidden_layers": v.Layers, "num_image_tokens": tokens, "patch_size": v.PatchSize, "projection_dim": t.Hidden,
		"projector_hidden_act": "gelu_fast", "vision_use_head": false,
	}
	if pixels != 224 {
		vision["image_size"] = pixels
	}
	files := map[string]object{
		"config.json": {
			"architectures": []string{"PaliGemmaForConditionalGeneration"}, "bos_token_id": 2, "eos_token_id": 1, "pad_token_id": 0,
			"hidden_size": t.Hidden, "ignore_index": -100, "image_token_index": c.Tokens.Image, "model_type": "paligemma",
			"projection_dim": t.Hidden, "text_config": text, "vision_config": vision, "torch_dtype": "bfloat16",
			"transformers_version": "4.41.0.dev0", "vocab_size": t.Vocab,
		},
		"generation_config.json": {"_from_model_config": true, "bos_token_id": 2, "eos_token_id": 1, "pad_token_id": 0},
		"preprocessor_config.json": {
			"do_convert_rgb": nil, "do_normalize": true, "do_rescale": true, "do_resize": true,
			"image_mean": []float64{0.5, 0.5, 0.5}, "image_std": []float64{0.5, 0.5, 0.5}, "image_processor_type": "SiglipImageProcessor",
			"image_seq_length": tokens, "processor_class": "PaliGemmaProcessor", "resample": 3, "rescale_factor": 1.0 / 255,
			"size": object{"height": pixels, "width": pixels},
		},
		"tokenizer_config.json": {
			"tokenizer_class": "GemmaTokenizer", "bos_token": "<bos>", "eos_token": "<eos>", "pad_token": "<pad>", "unk_token": "<unk>",
			"add_bos_token": true, "add_eos_token": false, "additional_special_tokens": []string{"<image>"}, "processor_class": "PaliGemmaProcessor",
		},
	}
	for name, content := range files {
		if err := writeJSON(filepath.Join(out, name), content); err != nil {
			return err
		}
	}
	return nil
}

// writeTokenizer makes up a tokenizer.json of the released form: <loc0000> at
// 256000, <seg000> at 257024, <image> at 257152.
func writeTokenizer(out string, c model.Config) error {
	return os.WriteFile(filepath.Join(out, "tokenizer.json"), vocabulary.MakeUp(c.Tokens.Pieces), 0o644)
}
