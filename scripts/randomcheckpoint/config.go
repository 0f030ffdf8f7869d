package main

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"unicode/utf8"
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
			"hidden_size": s.hidden, "ignore_index": -100, "image_token_index": 257152, "model_type": "paligemma",
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

// writeTokenizer enlarges a small tokenizer.json to the released layout: 256,000
// pieces, <loc0000> at 256000, <seg000> at 257024, <image> at 257152. The new
// pieces are random pairs of old ones, as a BPE's are.
func writeTokenizer(out, small string) error {
	data, err := os.ReadFile(small)
	if err != nil {
		return err
	}
	var tokenizer object
	if err := json.Unmarshal(data, &tokenizer); err != nil {
		return fmt.Errorf("%s: %w", small, err)
	}
	model := tokenizer["model"].(object)
	const pieceCount, locs, segs = 256000, 1024, 128
	var pieces []string
	ids := object{}
	add := func(piece string) { ids[piece] = len(pieces); pieces = append(pieces, piece) }
	byID := map[int]string{}
	for piece, id := range model["vocab"].(object) {
		byID[int(id.(float64))] = piece
	}
	var pool []string
	for i := 0; byID[i] != "<loc0000>" && i < len(byID); i++ {
		piece := byID[i]
		if strings.HasPrefix(piece, "<filler") {
			continue
		}
		add(piece)
		if !strings.ContainsAny(piece, "<\n") && strings.Trim(piece, "▁") != "" {
			pool = append(pool, piece)
		}
	}
	merges := model["merges"].([]any)
	r := rand.New(rand.NewPCG(5, 5))
	for len(pieces) < pieceCount {
		a, b := pool[r.IntN(len(pool))], pool[r.IntN(len(pool))]
		if _, seen := ids[a+b]; seen || utf8.RuneCountInString(a+b) > 12 || strings.Contains(b, "▁") {
			continue
		}
		add(a + b)
		pool = append(pool, a+b)
		merges = append(merges, []string{a, b})
	}
	for i := range locs {
		add(fmt.Sprintf("<loc%04d>", i))
	}
	for i := range segs {
		add(fmt.Sprintf("<seg%03d>", i))
	}
	model["vocab"], model["merges"] = ids, merges
	for _, token := range tokenizer["added_tokens"].([]any) {
		entry := token.(object)
		if entry["content"] == "<image>" {
			entry["id"] = len(pieces)
		} else {
			entry["id"] = ids[entry["content"].(string)]
		}
	}
	return writeJSON(filepath.Join(out, "tokenizer.json"), tokenizer)
}
