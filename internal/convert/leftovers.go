package convert

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"paligemma/internal/layout"
	"paligemma/internal/safetensors"
	"paligemma/internal/units"
)

// poolingHead is SigLIP's, which PaliGemma never calls, whatever vision_use_head
// says.
var poolingHead = regexp.MustCompile(`^vision_tower\.head\.`)

// An unmerged adapter of PEFT: LoRA, DoRA, LoHa, LoKr, IA³, OFT, prompts, tokens
// that are trained alone, and the kinds that came later.
var adapterPart = regexp.MustCompile(`(^|[._])(lora_[A-Za-z_]+|base_layer|hada_[wt]\w*|lokr_\w+|ia3_l|oft_[A-Za-z]\w*|vera_\w+|prompt_embeddings|` +
	`trainable_tokens_\w+|(boft|fourierft|hra|vblora|bone|randlora|c3a|miss|shira|road|waveft|delora)_\w+)(\.|$)`)

// retriever is the projection of ColPali, by its names in colpali-engine and in
// transformers.
var retriever = regexp.MustCompile(`(^|\.)(custom_text_proj|embedding_proj_layer)\.`)

// modelPart finds the names of the model's own tensors, behind any prefix.
var modelPart = regexp.MustCompile(`(^|\.)(language_model|vision_tower|multi_modal_projector|lm_head)\.`)

// quantizers are how the tensors of quantized checkpoints are named. The first
// that fits counts.
var quantizers = []struct {
	by    string
	names *regexp.Regexp
}{
	{"bitsandbytes", regexp.MustCompile(`\.(absmax|quant_map|nested_absmax|nested_quant_map|quant_state\.[^.]+|SCB|CB|weight_format)$`)},
	{"GPTQ", regexp.MustCompile(`\.g_idx$`)},
	{"AWQ or GPTQ", regexp.MustCompile(`\.(qweight|qzeros)$`)},
	{"compressed-tensors", regexp.MustCompile(`\.(weight_packed|weight_shape|weight_zero_point|weight_g_idx|weight_global_scale)$`)},
	{"FP8", regexp.MustCompile(`\.(weight_scale_inv|weight_scale|input_scale|activation_scale)$`)},
	{"Quanto", regexp.MustCompile(`\.weight\._(data|scale|shift)$|\.output_scale$`)},
	{"torchao", regexp.MustCompile(`[:_](weight_)?(qdata|_data|tensor_impl\.\w+)$`)},
	{"HQQ", regexp.MustCompile(`\.(W_q|W_q_packed)$`)},
	{"EETQ", regexp.MustCompile(`\.weight_scales$`)},
	{"AQLM", regexp.MustCompile(`\.(codebooks|codes)$`)},
	{"MLX", regexp.MustCompile(`_proj\.(scales|biases)$|embed_tokens\.(scales|biases)$|\.fc[12]\.(scales|biases)$`)},
}

// rejectForeign refuses a checkpoint whose tensors are not plain weights: what
// made them has left its own next to or in place of the model's.
func rejectForeign(entries []safetensors.Entry) error {
	var adapter, retrieval []string
	quantized := make([][]string, len(quantizers))
	for _, e := range entries {
		name := layout.Canonical(e.Name)
		switch {
		case adapterPart.MatchString(name):
			adapter = append(adapter, e.Name)
		case retriever.MatchString(name):
			retrieval = append(retrieval, e.Name)
		case modelPart.MatchString(name):
			for i, q := range quantizers {
				if q.names.MatchString(name) {
					quantized[i] = append(quantized[i], e.Name)
					break
				}
			}
		}
	}
	if len(adapter) > 0 {
		return fmt.Errorf("the weights contain an unmerged LoRA adapter (%s): merge it with PEFT's merge_and_unload(), then save_pretrained()", few(adapter))
	}
	for i, q := range quantizers {
		if len(quantized[i]) > 0 {
			return quantizedError(q.by, quantized[i])
		}
	}
	if len(retrieval) > 0 {
		return errColPali(few(retrieval))
	}
	return nil
}

func quantizedError(by string, names []string) error {
	return fmt.Errorf("the weights are quantized by %s (%s): convert the checkpoint they were made from, and choose --type", by, few(names))
}

func errColPali(why string) error {
	return fmt.Errorf("this is a ColPali (%s), which finds pages and writes no text: convert a PaliGemma checkpoint, such as google/paligemma-3b-mix-224", why)
}

// leftovers notes the tensors that the model does not use. Those under the
// model's own prefixes are an error: another model has them.
func (c *catalog) leftovers(used map[string]bool) error {
	var computed, pooling, outside, unknown []string
	for name, e := range c.named {
		switch {
		case used[name]:
		case layout.IsBuffer(name):
			computed = append(computed, e.Name)
		case poolingHead.MatchString(name):
			pooling = append(pooling, e.Name)
		case strings.HasPrefix(name, "language_model.") || strings.HasPrefix(name, layout.VisionPrefix) || strings.HasPrefix(name, layout.ProjectorPrefix):
			unknown = append(unknown, e.Name)
		default:
			outside = append(outside, e.Name)
		}
	}
	for _, names := range [][]string{computed, pooling, outside, unknown} {
		slices.Sort(names)
	}
	c.note(computed, "a buffer that is computed, is ignored", "buffers that are computed, are ignored")
	c.note(pooling, "of SigLIP's pooling head, which PaliGemma does not use, is ignored", "of SigLIP's pooling head, which PaliGemma does not use, are ignored")
	c.note(outside, "no part of PaliGemma, is ignored", "no part of PaliGemma, are ignored")
	if len(unknown) > 0 {
		return fmt.Errorf("%s unknown (%s): %s", units.Count(len(unknown), "tensor is", "tensors are"), few(unknown), c.advice.unknown)
	}
	return nil
}

// checkWeights refuses tensors of the model that hold no plain weights.
func checkWeights(sources []source) error {
	var empty, packed []string
	for _, s := range sources {
		switch s.entry.DType {
		case safetensors.F64, safetensors.F32, safetensors.F16, safetensors.BF16, "":
		default:
			packed = append(packed, fmt.Sprintf("%s is %s", shown(s.entry.Name), s.entry.DType))
		}
		if s.entry.Size == 0 {
			empty = append(empty, s.entry.Name)
		}
	}
	if len(empty) > 0 {
		return fmt.Errorf("%s empty (%s), as DeepSpeed ZeRO-3 leaves weights that were not gathered: "+
			"run its zero_to_fp32.py, or train with stage3_gather_16bit_weights_on_model_save",
			units.Count(len(empty), "tensor is", "tensors are"), few(empty))
	}
	if len(packed) > 0 {
		return fmt.Errorf("the weights are not F32, F16, BF16 or F64 but quantized (%s): convert the checkpoint they were made from, and choose --type", few(packed))
	}
	return nil
}
