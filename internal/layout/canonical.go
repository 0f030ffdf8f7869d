package layout

import (
	"regexp"
	"slices"
	"strings"
)

// Prefixes of the canonical names, whatever the writer of the checkpoint put
// before its own:
//
//	language_model.model.  vision_tower.vision_model.  the releases of 2024
//	model.language_model.  model.vision_tower.vision_model.  transformers 4.52 to 4.57
//	model.language_model.  model.vision_tower.  the module tree of version 5
//	language_model.model.  vision_tower.  save_pretrained of version 5
const (
	TextPrefix      = "language_model.model."
	VisionPrefix    = "vision_tower."
	ProjectorPrefix = "multi_modal_projector."
	HeadName        = "lm_head.weight"
	EmbeddingName   = TextPrefix + "embed_tokens.weight"
	PositionName    = "embeddings.position_embedding.weight" // behind VisionPrefix
)

// wrappers are parts of names that trainers put anywhere: DataParallel and
// DeepSpeed, torch.compile, FSDP, activation checkpointing, Lightning.
var wrappers = []string{"module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module", "_forward_module"}

// leading are parts that only come before the model's own name: PEFT, TRL,
// transformers' classes that hold a model.
var leading = []string{"base_model", "pretrained_model", "model"}

// anchor finds a part of the model behind a prefix of any kind.
var anchor = regexp.MustCompile(`^(.+?\.)(?:language_model|vision_tower|multi_modal_projector)\.`)

// Canonical returns a tensor's name without what trainers add to it.
func Canonical(name string) string {
	parts := slices.DeleteFunc(strings.Split(name, "."), func(p string) bool { return slices.Contains(wrappers, p) })
	for len(parts) > 1 && slices.Contains(leading, parts[0]) {
		parts = parts[1:]
	}
	rest := strings.Join(parts, ".")
	if text, ok := strings.CutPrefix(rest, "language_model."); ok {
		if text = trimAll(text, "model."); text == HeadName {
			return HeadName
		}
		return TextPrefix + text
	}
	if tower, ok := strings.CutPrefix(rest, VisionPrefix); ok {
		return VisionPrefix + trimAll(tower, "vision_model.")
	}
	return rest
}

// trimAll removes a prefix as often as it is there.
func trimAll(s, prefix string) string {
	for {
		rest, ok := strings.CutPrefix(s, prefix)
		if !ok {
			return s
		}
		s = rest
	}
}

// CommonPrefix returns an unknown prefix that all tensors of the model share; ""
// where some have none.
func CommonPrefix(names []string) string {
	common := ""
	for _, stored := range names {
		name := Canonical(stored)
		if strings.HasPrefix(name, TextPrefix) || strings.HasPrefix(name, VisionPrefix) || strings.HasPrefix(name, ProjectorPrefix) {
			return ""
		}
		m := anchor.FindStringSubmatch(stored)
		if m == nil {
			continue
		}
		prefix := m[1]
		for strings.HasSuffix(prefix, ".model.") {
			prefix = strings.TrimSuffix(prefix, "model.")
		}
		if common != "" && common != prefix {
			return ""
		}
		common = prefix
	}
	return common
}

// buffers that old versions saved.
var buffers = regexp.MustCompile(`\.(position_ids|rotary_emb\.(original_)?inv_freq|rotary_emb\.(cos|sin)_cached)$`)

// IsBuffer reports whether a tensor is a buffer, which is computed.
func IsBuffer(name string) bool { return buffers.MatchString(name) }
