package convert

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"

	"paligemma/internal/model"
	"paligemma/internal/quote"
)

// settings is what a checkpoint's JSON files say, but for the tokenizer's.
type settings struct {
	config   model.Config
	ids      map[string][]int // special ids by name (bos, eos, pad, image); a name may be missing
	tied     bool             // tie_word_embeddings, as transformers takes it
	mustHead bool             // it is false in so many words: there has to be a head
	notes    []string
}

// families holds what a release leaves out of its text_config, by model_type.
// The class defaults of transformers are other values (intermediate_size 4096).
var families = map[string]model.Config{
	"gemma": {Arch: model.ArchPaliGemma, Text: model.TextConfig{ // Gemma 2B
		Hidden: 2048, MLP: 16384, Layers: 18, Heads: 8, KVHeads: 1, HeadDim: 256, Vocab: 257216,
		Context: 8192, RMSEps: 1e-6, RopeTheta: 10000,
	}},
	"gemma2": {Arch: model.ArchPaliGemma2, Text: model.TextConfig{ // Gemma 2 2B
		Hidden: 2304, MLP: 9216, Layers: 26, Heads: 8, KVHeads: 4, HeadDim: 256, Vocab: 257216,
		Context: 8192, RMSEps: 1e-6, RopeTheta: 10000, AttnSoftcap: 50, FinalSoftcap: 30, SlidingWindow: 4096,
	}},
}

// So400m is the tower of every release.
var so400m = model.VisionConfig{PatchSize: 14, Hidden: 1152, MLP: 4304, Layers: 27, Heads: 16, NormEps: 1e-6}

// query_pre_attn_scalar of Gemma 2, where it is not said.
const defaultQueryScalar = 256

// GELUs by the names of transformers that mean the tanh approximation, the one
// this program computes.
var tanhGELU = []string{"gelu_pytorch_tanh", "gelu_fast", "gelu_new"}

// checkpointDir is the folder of a checkpoint's JSON files, whichever way the
// checkpoint was named.
func checkpointDir(path string) (string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return "", err
	}
	if !info.IsDir() {
		return filepath.Dir(path), nil
	}
	return path, nil
}

// openConfig reads config.json, and says what else the folder may be.
func openConfig(dir string, errs *[]error) (object, error) {
	c, err := readObject(filepath.Join(dir, "config.json"), errs)
	if err == nil {
		if kind := c.string("model_type", ""); kind != "paligemma" {
			return c, fmt.Errorf("%w: config.json: model_type is %s", model.ErrNotPaliGemma, quote.Short(kind))
		}
		if c.has("quantization_config") {
			return c, errors.New("config.json: quantization_config: the checkpoint is quantised already; convert the one it was made from")
		}
		return c, nil
	}
	if errors.Is(err, fs.ErrNotExist) {
		if _, adapter := os.Stat(filepath.Join(dir, "adapter_config.json")); adapter == nil {
			return c, errors.New("a LoRA adapter, not a whole checkpoint: merge it into its base model first (peft: merge_and_unload, then save_pretrained)")
		}
	}
	return c, err
}

// readSettings turns config.json and the image processor's file into a
// configuration. positions is the number of rows of the tower's position
// embedding, 0 if it was not found. Special ids are still to be set.
func readSettings(dir string, config object, positions int) (*settings, error) {
	s := &settings{ids: map[string][]int{}}
	text, vision := config.object("text_config"), config.object("vision_config")
	kind := text.string("model_type", "gemma")
	family, ok := families[kind]
	if !ok {
		return nil, fmt.Errorf("%w: config.json: text_config.model_type is %s, want gemma or gemma2", model.ErrNotPaliGemma, quote.Short(kind))
	}
	s.config = family
	readText(&s.config, config, text)
	s.config.Vision = readTower(vision)
	if err := s.readProcessor(dir, config.errs, vision, positions); err != nil {
		return nil, err
	}
	s.readIDs(config, text)
	for _, o := range []object{config, text} {
		if o.has("tie_word_embeddings") {
			s.tied = o.bool("tie_word_embeddings", true)
			s.mustHead = !s.tied
			break
		}
		s.tied = true
	}
	return s, oneLine(*config.errs)
}

// readText fills the text model's part; t holds the family's defaults.
func readText(c *model.Config, config, text object) {
	t := &c.Text
	t.Hidden = text.int("hidden_size", config.int("hidden_size", t.Hidden))
	t.MLP = text.int("intermediate_size", t.MLP)
	t.Layers = text.int("num_hidden_layers", t.Layers)
	t.Heads = text.int("num_attention_heads", t.Heads)
	t.KVHeads = text.int("num_key_value_heads", t.KVHeads)
	t.HeadDim = text.int("head_dim", t.HeadDim)
	t.Vocab = text.int("vocab_size", config.int("vocab_size", config.int("_vocab_size", t.Vocab)))
	t.Context = text.int("max_position_embeddings", t.Context)
	t.RMSEps = float32(text.float("rms_norm_eps", float64(t.RMSEps)))
	readRope(t, text)

	scale := float64(t.HeadDim)
	if c.Arch == model.ArchPaliGemma2 {
		scale = text.float("query_pre_attn_scalar", defaultQueryScalar)
		t.AttnSoftcap = float32(text.float("attn_logit_softcapping", float64(t.AttnSoftcap)))
		t.FinalSoftcap = float32(text.float("final_logit_softcapping", float64(t.FinalSoftcap)))
		t.SlidingWindow = text.int("sliding_window", t.SlidingWindow)
		for _, key := range []string{"attn_logit_softcapping", "final_logit_softcapping", "sliding_window"} {
			if v, there := text.fields[key]; there && v == nil {
				text.fail(key, "is null: a Gemma 2 without it is not supported")
			}
		}
		checkLayerTypes(text)
	}
	t.AttnScale = float32(1 / math.Sqrt(scale))

	if text.bool("attention_bias", false) {
		text.fail("attention_bias", "is true: Gemma's attention has no biases")
	}
	// hidden_activation, where there is one, is what counts. Without it the first
	// Gemma releases say hidden_act "gelu" and mean the tanh form that they were
	// trained with; elsewhere "gelu" is the erf form, which is not computed here.
	key, known := "hidden_activation", tanhGELU
	if !text.has(key) {
		key = "hidden_act"
		if c.Arch == model.ArchPaliGemma {
			known = append(slices.Clone(tanhGELU), "gelu")
		}
	}
	if act := text.string(key, tanhGELU[0]); !slices.Contains(known, act) {
		text.fail(key, "is %s, want a tanh gelu (%s)", quote.Short(act), tanhGELU[0])
	}
}

// readRope takes rope_theta from where transformers 4 and 5 put it.
func readRope(t *model.TextConfig, text object) {
	theta := text.float("rope_theta", float64(t.RopeTheta))
	params := text.object("rope_parameters")
	theta = params.float("rope_theta", theta)
	t.RopeTheta = float32(theta)
	for _, o := range []object{params, text.object("rope_scaling")} {
		for _, key := range []string{"rope_type", "type"} {
			if kind := o.string(key, "default"); kind != "default" {
				o.fail(key, "is %s: scaled rotary embeddings are not supported", quote.Short(kind))
			}
		}
		if f := o.float("partial_rotary_factor", 1); f != 1 {
			o.fail("partial_rotary_factor", "is %v: partial rotary embeddings are not supported", f)
		}
	}
}

// checkLayerTypes refuses windows elsewhere than in the even layers.
func checkLayerTypes(text object) {
	v := text.fields["layer_types"]
	if v == nil {
		return
	}
	list, ok := v.([]any)
	if !ok {
		text.fail("layer_types", "is %s, want a list", show(v))
	}
	for i, kind := range list {
		want := "sliding_attention"
		if i%2 == 1 {
			want = "full_attention"
		}
		if kind != want {
			text.fail("layer_types", "has %s for layer %d, want %s", show(kind), i, quote.Short(want))
			return
		}
	}
}

// readTower fills the vision tower's part, but for the image's size.
func readTower(vision object) model.VisionConfig {
	v := so400m
	v.PatchSize = vision.int("patch_size", v.PatchSize)
	v.Hidden = vision.int("hidden_size", v.Hidden)
	v.MLP = vision.int("intermediate_size", v.MLP)
	v.Layers = vision.int("num_hidden_layers", v.Layers)
	v.Heads = vision.int("num_attention_heads", v.Heads)
	v.NormEps = float32(vision.float("layer_norm_eps", float64(v.NormEps)))
	if kind := vision.string("model_type", "siglip_vision_model"); kind != "siglip_vision_model" {
		vision.fail("model_type", "is %s, want siglip_vision_model", quote.Short(kind))
	}
	if n := vision.int("num_channels", 3); n != 3 {
		vision.fail("num_channels", "is %d, want 3", n)
	}
	// "gelu" means the erf form here: no release has it.
	if act := vision.string("hidden_act", tanhGELU[0]); !slices.Contains(tanhGELU, act) {
		vision.fail("hidden_act", "is %s, want a tanh gelu (%s)", quote.Short(act), tanhGELU[0])
	}
	return v
}

// readIDs notes the special ids, which the tokenizer has to confirm.
func (s *settings) readIDs(config, text object) {
	for name, keys := range map[string][]string{
		"bos":   {"bos_token_id"},
		"eos":   {"eos_token_id"}, // a list in some releases
		"pad":   {"pad_token_id"},
		"image": {"image_token_index", "image_token_id"},
	} {
		for _, key := range keys {
			ids := config.ints(key)
			if ids == nil && name != "image" {
				ids = text.ints(key)
			}
			if len(ids) > 0 {
				s.ids[name] = ids
			}
		}
	}
}

// checkID compares a special id with what config.json says of it.
func (s *settings) checkID(name, token string, id int) error {
	ids, ok := s.ids[name]
	if !ok {
		return nil
	}
	for _, other := range ids {
		if other == id {
			return nil
		}
	}
	return fmt.Errorf("%s is %d in tokenizer.json, but config.json's %s token id is %d", token, id, name, ids)
}
