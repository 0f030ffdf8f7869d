package convert

import (
	"fmt"
	"slices"
	"strings"

	"paligemma/internal/model"
	"paligemma/internal/safetensors"
	"paligemma/internal/units"
)

// name ties a tensor of the file to one of the checkpoint; %d is the layer.
// A prefix goes before it: see canonicalName.
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

// namesOf maps the names of the file to those in a catalog.
func namesOf(c model.Config) map[string]name {
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
	add(textPrefix, text, c.Text.Layers)
	add(visionPrefix, siglipNames, c.Vision.Layers)
	add(projectorPrefix, projectorNames, 0)
	all[model.TensorHead] = name{gguf: model.TensorHead, hf: headName}
	return all
}

// source is a tensor of the file and where its values come from.
type source struct {
	spec    model.TensorSpec
	entry   safetensors.Entry
	plusOne bool
}

// resolve finds the tensors of a configuration in a catalog. Whatever is missing
// or misshapen is in the one error; what is left over becomes notes.
func resolve(c model.Config, tensors *catalog) ([]source, error) {
	names := namesOf(c)
	var all []source
	var missing, misshapen []string
	used := map[string]bool{}
	for _, spec := range c.Tensors() {
		n, ok := names[spec.Name]
		if !ok {
			return nil, fmt.Errorf("no name is known for the tensor %s", spec.Name)
		}
		used[n.hf] = true
		e, ok := tensors.named[n.hf]
		if !ok {
			missing = append(missing, n.hf)
			continue
		}
		all = append(all, source{spec, e, n.plusOne})
	}
	if err := checkWeights(all); err != nil {
		return nil, err
	}
	for _, s := range all {
		if want := checkpointShape(c, s.spec); !slices.Equal(s.entry.Shape, want) {
			misshapen = append(misshapen, fmt.Sprintf("%s has the shape %v, want %v", shown(s.entry.Name), s.entry.Shape, want))
		}
	}
	if len(missing) > 0 {
		return nil, fmt.Errorf("%s missing (%s): the checkpoint is incomplete or config.json another model's, save or download both again",
			units.Count(len(missing), "tensor is", "tensors are"), few(missing))
	}
	if len(misshapen) > 0 {
		return nil, fmt.Errorf("%s the wrong shape (%s): use the config.json that was saved with the weights",
			units.Count(len(misshapen), "tensor has", "tensors have"), few(misshapen))
	}
	if c.Tied {
		used[headName] = true // findHead told of it
	}
	return all, tensors.leftovers(used)
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
