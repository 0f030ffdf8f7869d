// Command randomadapter writes a PEFT adapter of random F32 weights for a full-size
// PaliGemma: low-rank updates of all linear layers of the text model, with -tower of the
// vision tower, too. Speed is measured with it:
//
//	go run ./scripts/randomadapter -model 3b-224 -rank 8 -out DIR
//	paligemma bench --synthetic 3b-224 --type q4_k_m --lora DIR
//
// The same flags give the same bytes.
package main

import (
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"

	"paligemma/internal/model"
	"paligemma/internal/safetensors"
)

func main() {
	name := flag.String("model", "3b-224", "3b-224, pg2-3b-224, pg2-10b-448, …")
	out := flag.String("out", "", "folder to write")
	rank := flag.Int("rank", 8, "of the updates")
	tower := flag.Bool("tower", false, "update the vision tower, too")
	flag.Parse()
	if *out == "" || *rank < 1 || flag.NArg() > 0 {
		flag.Usage()
		os.Exit(2)
	}
	if err := run(*name, *out, *rank, *tower); err != nil {
		fmt.Fprintln(os.Stderr, "randomadapter:", err)
		os.Exit(1)
	}
}

func run(name, out string, rank int, tower bool) error {
	c, ok := model.Release(name)
	if !ok {
		return fmt.Errorf("no model %q", name)
	}
	if err := os.MkdirAll(out, 0o755); err != nil {
		return err
	}
	config := fmt.Sprintf(`{"peft_type": "LORA", "r": %d, "lora_alpha": %d, "bias": "none", "target_modules": "all-linear"}`+"\n", rank, 2*rank)
	if err := os.WriteFile(filepath.Join(out, "adapter_config.json"), []byte(config), 0o644); err != nil {
		return err
	}
	return writeWeights(filepath.Join(out, "adapter_model.safetensors"), layers(c, tower), rank)
}

// layer is a linear layer with its width and its number of results.
type layer struct {
	name    string
	in, out int
}

// layers lists the linear layers by the names of transformers 5.
func layers(c model.Config, tower bool) (all []layer) {
	t, v := c.Text, c.Vision
	q, kv := t.Heads*t.HeadDim, t.KVHeads*t.HeadDim
	for i := range t.Layers {
		p := fmt.Sprintf("model.language_model.layers.%d.", i)
		all = append(all, layer{p + "self_attn.q_proj", t.Hidden, q}, layer{p + "self_attn.k_proj", t.Hidden, kv},
			layer{p + "self_attn.v_proj", t.Hidden, kv}, layer{p + "self_attn.o_proj", q, t.Hidden},
			layer{p + "mlp.gate_proj", t.Hidden, t.MLP}, layer{p + "mlp.up_proj", t.Hidden, t.MLP}, layer{p + "mlp.down_proj", t.MLP, t.Hidden})
	}
	for i := range v.Layers {
		if !tower {
			break
		}
		p := fmt.Sprintf("model.vision_tower.vision_model.encoder.layers.%d.", i)
		for _, name := range []string{"self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.out_proj"} {
			all = append(all, layer{p + name, v.Hidden, v.Hidden})
		}
		all = append(all, layer{p + "mlp.fc1", v.Hidden, v.MLP}, layer{p + "mlp.fc2", v.MLP, v.Hidden})
	}
	return all
}

// writeWeights draws N(0, 0.02²).
func writeWeights(path string, all []layer, rank int) (err error) {
	r := rand.New(rand.NewPCG(7, uint64(rank)))
	var tensors []safetensors.Data
	add := func(name string, rows, columns int) {
		values := make([]float32, rows*columns)
		for i := range values {
			values[i] = float32(0.02 * r.NormFloat64())
		}
		tensors = append(tensors, safetensors.NewFloat32(name, []int64{int64(rows), int64(columns)}, values))
	}
	for _, l := range all {
		add("base_model.model."+l.name+".lora_A.weight", rank, l.in)
		add("base_model.model."+l.name+".lora_B.weight", l.out, rank)
	}
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	return safetensors.Write(f, tensors, map[string]string{"format": "pt"})
}
