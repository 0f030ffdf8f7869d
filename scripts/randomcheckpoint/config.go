package main

import (
	"os"
	"path/filepath"

	"paligemma/internal/vocabulary"
)

type object = map[string]any

// writeConfigs writes the JSON files as sparsely as the releases have them.
func writeConfigs(out string, s size, pixels int) error {
	tokens := (pixels / patch) * (pixels / patch)
	text := object{
		"hidden_size": s.hidden, "intermediate_size": s.mlp, "model_type": "gemma", "num_attention_heads": s.heads,
		"num_hidden_layers": s.layers, "num_image_tokens": tokens, "num_key_value_heads": s.kv, "vocab_size": vocab,
	}
	if s.queryScalar > 0 {
		for k, v := range (object{
			"model_type": "gemma2", "head_dim": s.headDim, "query_pre_attn_scalar": s.queryScalar, "sliding_window": 4096,
			"attn_logit_softcapping": 50.0, "final_logit_softcapping": 30.0, "hidden_activation": "gelu_pytorch_tanh",
		}) {
			text[k] = v
		}
	}
	vision := object{
		"hidden_size": visionDim, "intermediate_size": visionMLP, "model_type": "siglip_vision_model", "num_attention_heads": 16,
		"num_hidden_layers": visionLen, "num_image_tokens": tokens, "patch_size": patch, "projection_dim": s.hidden,
		"projector_hidden_act": "gelu_fast", "vision_use_head": false,
	}
	if pixels != 224 {
		vision["image_size"] = pixels
	}
	files := map[string]object{
		"config.json": {
			"architectures": []string{"PaliGemmaForConditionalGeneration"}, "bos_token_id": 2, "eos_token_id": 1, "pad_token_id": 0,
			"hidden_size": s.hidden, "ignore_index": -100, "image_token_index": pieces - 1, "model_type": "paligemma",
			"projection_dim": s.hidden, "text_config": text, "vision_config": vision, "torch_dtype": "bfloat16",
			"transformers_version": "4.41.0.dev0", "vocab_size": vocab,
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
func writeTokenizer(out string) error {
	return os.WriteFile(filepath.Join(out, "tokenizer.json"), vocabulary.MakeUp(pieces), 0o644)
}
