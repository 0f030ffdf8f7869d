// Command randomcheckpoint writes a full-size PaliGemma checkpoint of random
// BF16 weights in the layout of the releases (sharded safetensors, sparse
// config.json, tokenizer.json with 257,153 pieces): what conversion and speed
// are measured on, since the real weights may not be passed around.
//
//	go run ./scripts/randomcheckpoint -model 3b-224 -out DIR
//
// The same model and seed give the same bytes.
package main

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"

	"paligemma/internal/half"
	"paligemma/internal/model"
)

const shardBytes = 5e9

type tensor struct {
	name  string
	shape []int
}

func main() {
	name := flag.String("model", "3b-224", "3b-224, 3b-448, 3b-896, pg2-3b-224, pg2-10b-448, pg2-28b-896, …")
	out := flag.String("out", "", "folder to write")
	seed := flag.Uint64("seed", 7, "of the random weights")
	flag.Parse()
	if *out == "" || flag.NArg() > 0 {
		flag.Usage()
		os.Exit(2)
	}
	if err := run(*name, *out, *seed); err != nil {
		fmt.Fprintln(os.Stderr, "randomcheckpoint:", err)
		os.Exit(1)
	}
}

func run(name, out string, seed uint64) error {
	c, ok := model.Release(name)
	if !ok {
		return fmt.Errorf("no model %q", name)
	}
	if err := os.MkdirAll(out, 0o755); err != nil {
		return err
	}
	if err := writeConfigs(out, c); err != nil {
		return err
	}
	if err := writeTokenizer(out, c); err != nil {
		return err
	}
	return writeShards(out, tensors(c), seed)
}

// tensors lists the released names and shapes in file order.
func tensors(c model.Config) []tensor {
	t, v := c.Text, c.Vision
	list := []tensor{{"language_model.model.embed_tokens.weight", []int{t.Vocab, t.Hidden}}}
	add := func(name string, shape ...int) { list = append(list, tensor{name, shape}) }
	for i := range t.Layers {
		p := fmt.Sprintf("language_model.model.layers.%d.", i)
		add(p+"input_layernorm.weight", t.Hidden)
		add(p+"mlp.down_proj.weight", t.Hidden, t.MLP)
		add(p+"mlp.gate_proj.weight", t.MLP, t.Hidden)
		add(p+"mlp.up_proj.weight", t.MLP, t.Hidden)
		add(p+"post_attention_layernorm.weight", t.Hidden)
		if c.Arch == model.ArchPaliGemma2 {
			add(p+"post_feedforward_layernorm.weight", t.Hidden)
			add(p+"pre_feedforward_layernorm.weight", t.Hidden)
		}
		add(p+"self_attn.k_proj.weight", t.KVHeads*t.HeadDim, t.Hidden)
		add(p+"self_attn.o_proj.weight", t.Hidden, t.Heads*t.HeadDim)
		add(p+"self_attn.q_proj.weight", t.Heads*t.HeadDim, t.Hidden)
		add(p+"self_attn.v_proj.weight", t.KVHeads*t.HeadDim, t.Hidden)
	}
	add("language_model.model.norm.weight", t.Hidden)
	add("multi_modal_projector.linear.bias", t.Hidden)
	add("multi_modal_projector.linear.weight", t.Hidden, v.Hidden)
	tower := "vision_tower.vision_model."
	add(tower+"embeddings.patch_embedding.bias", v.Hidden)
	add(tower+"embeddings.patch_embedding.weight", v.Hidden, 3, v.PatchSize, v.PatchSize)
	add(tower+"embeddings.position_embedding.weight", v.ImageTokens, v.Hidden)
	for i := range v.Layers {
		p := fmt.Sprintf("%sencoder.layers.%d.", tower, i)
		for _, norm := range []string{"layer_norm1", "layer_norm2"} {
			add(p+norm+".bias", v.Hidden)
			add(p+norm+".weight", v.Hidden)
		}
		add(p+"mlp.fc1.bias", v.MLP)
		add(p+"mlp.fc1.weight", v.MLP, v.Hidden)
		add(p+"mlp.fc2.bias", v.Hidden)
		add(p+"mlp.fc2.weight", v.Hidden, v.MLP)
		for _, q := range []string{"k", "out", "q", "v"} {
			add(p+"self_attn."+q+"_proj.bias", v.Hidden)
			add(p+"self_attn."+q+"_proj.weight", v.Hidden, v.Hidden)
		}
	}
	add(tower+"post_layernorm.bias", v.Hidden)
	add(tower+"post_layernorm.weight", v.Hidden)
	return list
}

func (t tensor) bytes() int64 {
	n := int64(2)
	for _, d := range t.shape {
		n *= int64(d)
	}
	return n
}

// writeShards writes the tensors to files of at most shardBytes, with an index.
func writeShards(out string, list []tensor, seed uint64) error {
	var shards [][]tensor
	var room, total int64
	for _, t := range list {
		if n := t.bytes(); len(shards) == 0 || n > room {
			shards, room = append(shards, nil), shardBytes
		}
		shards[len(shards)-1] = append(shards[len(shards)-1], t)
		room -= t.bytes()
		total += t.bytes()
	}
	where := map[string]string{}
	for i, shard := range shards {
		name := fmt.Sprintf("model-%05d-of-%05d.safetensors", i+1, len(shards))
		for _, t := range shard {
			where[t.name] = name
		}
		if err := writeShard(filepath.Join(out, name), shard, seed); err != nil {
			return err
		}
		fmt.Println(name)
	}
	return writeJSON(filepath.Join(out, "model.safetensors.index.json"),
		map[string]any{"metadata": map[string]any{"total_size": total}, "weight_map": where})
}

func writeShard(path string, shard []tensor, seed uint64) (err error) {
	header := map[string]any{"__metadata__": map[string]string{"format": "pt"}}
	offset := int64(0)
	for _, t := range shard {
		header[t.name] = map[string]any{"dtype": "BF16", "shape": t.shape, "data_offsets": []int64{offset, offset + t.bytes()}}
		offset += t.bytes()
	}
	text, err := json.Marshal(header)
	if err != nil {
		return err
	}
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	w := bufio.NewWriterSize(f, 1<<20)
	binary.Write(w, binary.LittleEndian, uint64(len(text)))
	w.Write(text)
	for _, t := range shard {
		if err := writeTensor(w, t, seed); err != nil {
			return err
		}
	}
	return w.Flush()
}

// writeTensor draws N(0, 0.02²), around 1 for SigLIP's norm weights, in chunks
// that goroutines fill, one for each processor; each chunk has a generator of its own.
func writeTensor(w *bufio.Writer, t tensor, seed uint64) error {
	mean := 0.0
	if strings.HasPrefix(t.name, "vision") && strings.Contains(t.name, "norm") && strings.HasSuffix(t.name, "weight") {
		mean = 1
	}
	key := uint64(14695981039346656037)
	for _, c := range []byte(t.name) {
		key = (key ^ uint64(c)) * 1099511628211
	}
	const chunk = 4 << 20
	buffers := make([][]byte, runtime.GOMAXPROCS(0))
	for i := range buffers {
		buffers[i] = make([]byte, min(chunk, t.bytes()))
	}
	left := t.bytes()
	for i := 0; left > 0; i += len(buffers) {
		var wait sync.WaitGroup
		parts := make([][]byte, len(buffers))
		for j := range parts {
			parts[j] = buffers[j][:min(left, chunk)]
			left -= int64(len(parts[j]))
			wait.Go(func() {
				r := rand.New(rand.NewPCG(seed^key, uint64(i+j)))
				for k := 0; k < len(parts[j]); k += 2 {
					v := half.ToBF16(float32(mean + 0.02*r.NormFloat64()))
					binary.LittleEndian.PutUint16(parts[j][k:], v)
				}
			})
		}
		wait.Wait()
		for _, part := range parts {
			if _, err := w.Write(part); err != nil {
				return err
			}
		}
	}
	return nil
}

func writeJSON(path string, v any) error {
	data, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, data, 0o644)
}
