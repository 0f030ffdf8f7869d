// Package random writes PEFT adapters of random weights: what speed is measured with, and
// what tests ask for.
package random

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"

	"paligemma/internal/model"
	"paligemma/internal/safetensors"
)

// Options say what an adapter is like.
type Options struct {
	Rank   int     // of all updates; lora_alpha is twice as much
	Seed   uint64  // the same options give the same bytes
	Spread float64 // standard deviation of all values
	Text   bool    // the linear layers of the text model are updated
	Tower  bool    // and those of the vision tower
}

// Write makes a folder with an adapter for a model of a configuration.
func Write(dir string, c model.Config, o Options) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	config := fmt.Sprintf(`{"peft_type": "LORA", "r": %d, "lora_alpha": %d, "bias": "none", "target_modules": "all-linear"}`+"\n", o.Rank, 2*o.Rank)
	if err := os.WriteFile(filepath.Join(dir, "adapter_config.json"), []byte(config), 0o644); err != nil {
		return err
	}
	return o.write(filepath.Join(dir, "adapter_model.safetensors"), o.layers(c))
}

// layer is a linear layer with its width and its number of results.
type layer struct {
	name    string
	in, out int
}

// layers lists the linear layers by the names of transformers 5.
func (o Options) layers(c model.Config) (all []layer) {
	if o.Text {
		all = textLayers(c.Text)
	}
	if o.Tower {
		all = append(all, towerLayers(c.Vision)...)
	}
	return all
}

func textLayers(t model.TextConfig) (all []layer) {
	q, kv := t.Heads*t.HeadDim, t.KVHeads*t.HeadDim
	for i := range t.Layers {
		p := fmt.Sprintf("model.language_model.layers.%d.", i)
		all = append(all, layer{p + "self_attn.q_proj", t.Hidden, q}, layer{p + "self_attn.k_proj", t.Hidden, kv},
			layer{p + "self_attn.v_proj", t.Hidden, kv}, layer{p + "self_attn.o_proj", q, t.Hidden},
			layer{p + "mlp.gate_proj", t.Hidden, t.MLP}, layer{p + "mlp.up_proj", t.Hidden, t.MLP}, layer{p + "mlp.down_proj", t.MLP, t.Hidden})
	}
	return all
}

func towerLayers(v model.VisionConfig) (all []layer) {
	for i := range v.Layers {
		p := fmt.Sprintf("model.vision_tower.vision_model.encoder.layers.%d.", i)
		for _, name := range []string{"self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.out_proj"} {
			all = append(all, layer{p + name, v.Hidden, v.Hidden})
		}
		all = append(all, layer{p + "mlp.fc1", v.Hidden, v.MLP}, layer{p + "mlp.fc2", v.MLP, v.Hidden})
	}
	return all
}

// write draws the weights.
func (o Options) write(path string, all []layer) (err error) {
	r := rand.New(rand.NewPCG(o.Seed, uint64(o.Rank)))
	var tensors []safetensors.Data
	add := func(name string, rows, columns int) {
		values := make([]float32, rows*columns)
		for i := range values {
			values[i] = float32(o.Spread * r.NormFloat64())
		}
		tensors = append(tensors, safetensors.NewFloat32(name, []int64{int64(rows), int64(columns)}, values))
	}
	for _, l := range all {
		add("base_model.model."+l.name+".lora_A.weight", o.Rank, l.in)
		add("base_model.model."+l.name+".lora_B.weight", l.out, o.Rank)
	}
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	return safetensors.Write(f, tensors, map[string]string{"format": "pt"})
}
