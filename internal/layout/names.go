package layout

import (
	"fmt"
	"strings"

	"paligemma/internal/model"
)

// Name ties a tensor of the file to one of the checkpoint; %d is the layer.
// A prefix goes before it: see Canonical.
type Name struct {
	GGUF, HF string
	PlusOne  bool // an RMSNorm: its weight is stored as 1 + w
}

var textNames = []Name{
	{GGUF: "token_embd.weight", HF: "embed_tokens.weight"},
	{GGUF: "output_norm.weight", HF: "norm.weight", PlusOne: true},
	{GGUF: "blk.%d.attn_norm.weight", HF: "layers.%d.input_layernorm.weight", PlusOne: true},
	{GGUF: "blk.%d.attn_q.weight", HF: "layers.%d.self_attn.q_proj.weight"},
	{GGUF: "blk.%d.attn_k.weight", HF: "layers.%d.self_attn.k_proj.weight"},
	{GGUF: "blk.%d.attn_v.weight", HF: "layers.%d.self_attn.v_proj.weight"},
	{GGUF: "blk.%d.attn_output.weight", HF: "layers.%d.self_attn.o_proj.weight"},
	{GGUF: "blk.%d.ffn_gate.weight", HF: "layers.%d.mlp.gate_proj.weight"},
	{GGUF: "blk.%d.ffn_up.weight", HF: "layers.%d.mlp.up_proj.weight"},
	{GGUF: "blk.%d.ffn_down.weight", HF: "layers.%d.mlp.down_proj.weight"},
}

// gemmaNorms and gemma2Norms are the norms in which the families differ. In Gemma 2
// post_attention_layernorm is what it says; the norm before the MLP has another name.
var (
	gemmaNorms = []Name{
		{GGUF: "blk.%d.ffn_norm.weight", HF: "layers.%d.post_attention_layernorm.weight", PlusOne: true},
	}
	gemma2Norms = []Name{
		{GGUF: "blk.%d.post_attention_norm.weight", HF: "layers.%d.post_attention_layernorm.weight", PlusOne: true},
		{GGUF: "blk.%d.ffn_norm.weight", HF: "layers.%d.pre_feedforward_layernorm.weight", PlusOne: true},
		{GGUF: "blk.%d.post_ffw_norm.weight", HF: "layers.%d.post_feedforward_layernorm.weight", PlusOne: true},
	}
)

var siglipNames = []Name{
	{GGUF: "v.patch_embd.weight", HF: "embeddings.patch_embedding.weight"},
	{GGUF: "v.patch_embd.bias", HF: "embeddings.patch_embedding.bias"},
	{GGUF: "v.position_embd.weight", HF: PositionName},
	{GGUF: "v.blk.%d.ln1.weight", HF: "encoder.layers.%d.layer_norm1.weight"},
	{GGUF: "v.blk.%d.ln1.bias", HF: "encoder.layers.%d.layer_norm1.bias"},
	{GGUF: "v.blk.%d.attn_q.weight", HF: "encoder.layers.%d.self_attn.q_proj.weight"},
	{GGUF: "v.blk.%d.attn_q.bias", HF: "encoder.layers.%d.self_attn.q_proj.bias"},
	{GGUF: "v.blk.%d.attn_k.weight", HF: "encoder.layers.%d.self_attn.k_proj.weight"},
	{GGUF: "v.blk.%d.attn_k.bias", HF: "encoder.layers.%d.self_attn.k_proj.bias"},
	{GGUF: "v.blk.%d.attn_v.weight", HF: "encoder.layers.%d.self_attn.v_proj.weight"},
	{GGUF: "v.blk.%d.attn_v.bias", HF: "encoder.layers.%d.self_attn.v_proj.bias"},
	{GGUF: "v.blk.%d.attn_out.weight", HF: "encoder.layers.%d.self_attn.out_proj.weight"},
	{GGUF: "v.blk.%d.attn_out.bias", HF: "encoder.layers.%d.self_attn.out_proj.bias"},
	{GGUF: "v.blk.%d.ln2.weight", HF: "encoder.layers.%d.layer_norm2.weight"},
	{GGUF: "v.blk.%d.ln2.bias", HF: "encoder.layers.%d.layer_norm2.bias"},
	{GGUF: "v.blk.%d.ffn_up.weight", HF: "encoder.layers.%d.mlp.fc1.weight"},
	{GGUF: "v.blk.%d.ffn_up.bias", HF: "encoder.layers.%d.mlp.fc1.bias"},
	{GGUF: "v.blk.%d.ffn_down.weight", HF: "encoder.layers.%d.mlp.fc2.weight"},
	{GGUF: "v.blk.%d.ffn_down.bias", HF: "encoder.layers.%d.mlp.fc2.bias"},
	{GGUF: "v.post_ln.weight", HF: "post_layernorm.weight"},
	{GGUF: "v.post_ln.bias", HF: "post_layernorm.bias"},
}

var projectorNames = []Name{
	{GGUF: "mm.0.weight", HF: "linear.weight"},
	{GGUF: "mm.0.bias", HF: "linear.bias"},
}

// Names maps the names of the file to those that Canonical gives.
func Names(c model.Config) map[string]Name {
	norms := gemmaNorms
	if c.Arch == model.ArchPaliGemma2 {
		norms = gemma2Norms
	}
	all := make(map[string]Name)
	add := func(prefix string, names []Name, layers int) {
		for _, n := range names {
			if !strings.Contains(n.GGUF, "%d") {
				all[n.GGUF] = Name{n.GGUF, prefix + n.HF, n.PlusOne}
				continue
			}
			for i := range layers {
				g := fmt.Sprintf(n.GGUF, i)
				all[g] = Name{g, prefix + fmt.Sprintf(n.HF, i), n.PlusOne}
			}
		}
	}
	add(TextPrefix, textNames, c.Text.Layers)
	add(TextPrefix, norms, c.Text.Layers)
	add(VisionPrefix, siglipNames, c.Vision.Layers)
	add(ProjectorPrefix, projectorNames, 0)
	all[model.TensorHead] = Name{GGUF: model.TensorHead, HF: HeadName}
	return all
}

// Shape returns the shape a tensor has in the checkpoint, outermost first.
func Shape(c model.Config, spec model.TensorSpec) []int64 {
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
