package convert

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"paligemma/internal/model"
	"paligemma/internal/quote"
	"paligemma/internal/safetensors"
)

// name ties a tensor of the file to one of the checkpoint; %d is the layer.
// In the checkpoint a prefix goes before it, which depends on who wrote it.
type name struct {
	gguf, hf string
	plusOne  bool // an RMSNorm: its weight is stored as 1 + w
}

var gemmaNames = []name{
	{gguf: "token_embd.weight", hf: "embed_tokens.weight"},
	{gguf: "output_norm.weight", hf: "norm.weight", plusOne: true},
	{gguf: "blk.%d.attn_norm.weight", hf: "layers.%d.input_layernorm.weight", plusOne: true},
	{gguf: "blk.%d.attn_q.weight", hf: "layers.%d.self_attn.q_proj.weight"},
	{gguf: "blk.%d.attn_k.weight", hf: "layers.%d.self_attn.k_proj.weight"},
	{gguf: "blk.%d.attn_v.weight", hf: "layers.%d.self_attn.v_proj.weight"},
	{gguf: "blk.%d.attn_output.weight", hf: "layers.%d.self_attn.o_proj.weight"},
	{gguf: "blk.%d.ffn_norm.weight", hf: "layers.%d.post_attention_layernorm.weight", plusOne: true},
	{gguf: "blk.%d.ffn_gate.weight", hf: "layers.%d.mlp.gate_proj.weight"},
	{gguf: "blk.%d.ffn_up.weight", hf: "layers.%d.mlp.up_proj.weight"},
	{gguf: "blk.%d.ffn_down.weight", hf: "layers.%d.mlp.down_proj.weight"},
}

// In Gemma 2 post_attention_layernorm is what it says; the norm before the MLP
// has another name.
var gemma2Names = []name{
	{gguf: "token_embd.weight", hf: "embed_tokens.weight"},
	{gguf: "output_norm.weight", hf: "norm.weight", plusOne: true},
	{gguf: "blk.%d.attn_norm.weight", hf: "layers.%d.input_layernorm.weight", plusOne: true},
	{gguf: "blk.%d.attn_q.weight", hf: "layers.%d.self_attn.q_proj.weight"},
	{gguf: "blk.%d.attn_k.weight", hf: "layers.%d.self_attn.k_proj.weight"},
	{gguf: "blk.%d.attn_v.weight", hf: "layers.%d.self_attn.v_proj.weight"},
	{gguf: "blk.%d.attn_output.weight", hf: "layers.%d.self_attn.o_proj.weight"},
	{gguf: "blk.%d.post_attention_norm.weight", hf: "layers.%d.post_attention_layernorm.weight", plusOne: true},
	{gguf: "blk.%d.ffn_norm.weight", hf: "layers.%d.pre_feedforward_layernorm.weight", plusOne: true},
	{gguf: "blk.%d.ffn_gate.weight", hf: "layers.%d.mlp.gate_proj.weight"},
	{gguf: "blk.%d.ffn_up.weight", hf: "layers.%d.mlp.up_proj.weight"},
	{gguf: "blk.%d.ffn_down.weight", hf: "layers.%d.mlp.down_proj.weight"},
	{gguf: "blk.%d.post_ffw_norm.weight", hf: "layers.%d.post_feedforward_layernorm.weight", plusOne: true},
}

var siglipNames = []name{
	{gguf: "v.patch_embd.weight", hf: "embeddings.patch_embedding.weight"},
	{gguf: "v.patch_embd.bias", hf: "embeddings.patch_embedding.bias"},
	{gguf: "v.position_embd.weight", hf: positionName},
	{gguf: "v.blk.%d.ln1.weight", hf: "encoder.layers.%d.layer_norm1.weight"},
	{gguf: "v.blk.%d.ln1.bias", hf: "encoder.layers.%d.layer_norm1.bias"},
	{gguf: "v.blk.%d.attn_q.weight", hf: "encoder.layers.%d.self_attn.q_proj.weight"},
	{gguf: "v.blk.%d.attn_q.bias", hf: "encoder.layers.%d.self_attn.q_proj.bias"},
	{gguf: "v.blk.%d.attn_k.weight", hf: "encoder.layers.%d.self_attn.k_proj.weight"},
	{gguf: "v.blk.%d.attn_k.bias", hf: "encoder.layers.%d.self_attn.k_proj.bias"},
	{gguf: "v.blk.%d.attn_v.weight", hf: "encoder.layers.%d.self_attn.v_proj.weight"},
	{gguf: "v.blk.%d.attn_v.bias", hf: "encoder.layers.%d.self_attn.v_proj.bias"},
	{gguf: "v.blk.%d.attn_out.weight", hf: "encoder.layers.%d.self_attn.out_proj.weight"},
	{gguf: "v.blk.%d.attn_out.bias", hf: "encoder.layers.%d.self_attn.out_proj.bias"},
	{gguf: "v.blk.%d.ln2.weight", hf: "encoder.layers.%d.layer_norm2.weight"},
	{gguf: "v.blk.%d.ln2.bias", hf: "encoder.layers.%d.layer_norm2.bias"},
	{gguf: "v.blk.%d.ffn_up.weight", hf: "encoder.layers.%d.mlp.fc1.weight"},
	{gguf: "v.blk.%d.ffn_up.bias", hf: "encoder.layers.%d.mlp.fc1.bias"},
	{gguf: "v.blk.%d.ffn_down.weight", hf: "encoder.layers.%d.mlp.fc2.weight"},
	{gguf: "v.blk.%d.ffn_down.bias", hf: "encoder.layers.%d.mlp.fc2.bias"},
	{gguf: "v.post_ln.weight", hf: "post_layernorm.weight"},
	{gguf: "v.post_ln.bias", hf: "post_layernorm.bias"},
}

var projectorNames = []name{
	{gguf: "mm.0.weight", hf: "linear.weight"},
	{gguf: "mm.0.bias", hf: "linear.bias"},
}

const positionName = "embeddings.position_embedding.weight"

// headNames are where a separate head may be.
var headNames = []string{"lm_head.weight", "language_model.lm_head.weight"}

// layout is the prefixes that one kind of writer puts before the names.
type layout struct{ text, vision, projector string }

var layouts = []layout{
	{"language_model.model.", "vision_tower.vision_model.", "multi_modal_projector."},             // the releases of 2024
	{"model.language_model.", "model.vision_tower.vision_model.", "model.multi_modal_projector."}, // transformers 4.52 to 4.57
	{"model.language_model.", "model.vision_tower.", "model.multi_modal_projector."},              // the module tree of version 5
	{"language_model.model.", "vision_tower.", "multi_modal_projector."},                          // save_pretrained of version 5
}

// harmless are tensors that take no part in the computation: buffers that old
// versions saved, and SigLIP's pooling head, which PaliGemma never calls
// whatever vision_use_head says.
var harmless = regexp.MustCompile(`(\.position_ids|\.rotary_emb\.inv_freq|^(model\.)?vision_tower\.(vision_model\.)?head\..*)$`)

// findLayout picks the layout that explains most of the checkpoint's names.
func findLayout(entries []safetensors.Entry) layout {
	best, most := layouts[0], -1
	for _, l := range layouts {
		n := 0
		for _, start := range []string{
			l.text + "embed_tokens.", l.text + "layers.", l.text + "norm.",
			l.vision + "embeddings.", l.vision + "encoder.", l.vision + "post_layernorm.",
			l.projector + "linear.",
		} {
			for _, e := range entries {
				if strings.HasPrefix(e.Name, start) {
					n++
				}
			}
		}
		if n > most {
			best, most = l, n
		}
	}
	return best
}

// namesOf maps the names of the file to the checkpoint's.
func (l layout) namesOf(c model.Config) map[string]name {
	text := gemmaNames
	if c.Arch == model.ArchPaliGemma2 {
		text = gemma2Names
	}
	all := make(map[string]name)
	add := func(prefix string, names []name, layers int) {
		for _, n := range names {
			if !strings.Contains(n.gguf, "%d") {
				all[n.gguf] = name{n.gguf, prefix + n.hf, n.plusOne}
				continue
			}
			for i := range layers {
				g := fmt.Sprintf(n.gguf, i)
				all[g] = name{g, prefix + fmt.Sprintf(n.hf, i), n.plusOne}
			}
		}
	}
	add(l.text, text, c.Text.Layers)
	add(l.vision, siglipNames, c.Vision.Layers)
	add(l.projector, projectorNames, 0)
	return all
}

// source is a tensor of the file and where its values come from.
type source struct {
	spec    model.TensorSpec
	entry   safetensors.Entry
	plusOne bool
}

// resolve finds the tensors of a configuration in a checkpoint. head is the
// name of a separate head, "" if there is none. Whatever is missing, misshapen
// or unknown is in the one error.
func resolve(c model.Config, l layout, ckpt *safetensors.Checkpoint, head string, ignored []string) ([]source, error) {
	names := l.namesOf(c)
	names[model.TensorHead] = name{model.TensorHead, head, false}
	var all []source
	var errs []error
	used := make(map[string]bool)
	for _, spec := range c.Tensors() {
		n, ok := names[spec.Name]
		if !ok {
			return nil, fmt.Errorf("no name is known for the tensor %s", spec.Name)
		}
		used[n.hf] = true
		e, ok := ckpt.Lookup(n.hf)
		if !ok {
			errs = append(errs, fmt.Errorf("tensor %s is missing", n.hf))
			continue
		}
		if want := checkpointShape(c, spec); !slices.Equal(e.Shape, want) {
			errs = append(errs, fmt.Errorf("tensor %s has the shape %v, want %v", n.hf, e.Shape, want))
			continue
		}
		switch e.DType {
		case safetensors.F32, safetensors.F16, safetensors.BF16:
		default:
			errs = append(errs, fmt.Errorf("tensor %s is %s, want F32, F16 or BF16", n.hf, e.DType))
			continue
		}
		all = append(all, source{spec, e, n.plusOne})
	}
	for _, e := range ckpt.Tensors() {
		if !used[e.Name] && !harmless.MatchString(e.Name) && !slices.Contains(ignored, e.Name) {
			errs = append(errs, fmt.Errorf("tensor %s is unknown", quote.Line(e.Name, quote.Max)))
		}
	}
	return all, oneLine(errs)
}

// checkpointShape is the shape a tensor has in the checkpoint, outermost first.
func checkpointShape(c model.Config, spec model.TensorSpec) []int64 {
	if spec.Name == "v.patch_embd.weight" {
		// The convolution's [vh, 3, p, p] has the order of the patches' values,
		// so that it is a matrix of vh rows as it lies.
		p := int64(c.Vision.PatchSize)
		return []int64{int64(c.Vision.Hidden), 3, p, p}
	}
	shape := make([]int64, len(spec.Shape))
	for i, d := range spec.Shape {
		shape[len(shape)-1-i] = int64(d)
	}
	return shape
}
