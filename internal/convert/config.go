package convert

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"path/filepath"
	"slices"
	"strings"

	"paligemma/internal/model"
	"paligemma/internal/quote"
)

// settings is what a checkpoint's JSON files say, but for the tokenizer's.
type settings struct {
	config     model.Config
	from       string // where the dimensions come from, for messages
	image, bos []int  // ids of <image> and <bos> that config.json names
	stop       []int  // eos_token_id of generation_config.json
	configStop []int  // eos_token_id of config.json
	tied       bool   // tie_word_embeddings of the top level, or else of text_config
	mustHead   bool   // it is false at the top level: there has to be a head
	notes      []string
}

// families holds what a release leaves out of its text_config, by model_type.
// The class defaults of transformers are other values (intermediate_size 4096).
var families = map[string]model.Config{
	"gemma":  {Arch: model.ArchPaliGemma, Text: model.Gemma2B},
	"gemma2": {Arch: model.ArchPaliGemma2, Text: model.Gemma2_2B},
}

const configFile = "config.json"

// query_pre_attn_scalar of Gemma 2, where it is not said.
const defaultQueryScalar = 256

// GELUs by the names of transformers that mean the tanh approximation, the one
// this program computes.
var tanhGELU = []string{"gelu_pytorch_tanh", "gelu_fast", "gelu_new"}

// openConfig reads config.json, and says what else the folder may be.
func openConfig(dir string, errs *[]error) (object, error) {
	c, err := readObject(filepath.Join(dir, configFile), errs)
	if errors.Is(err, fs.ErrNotExist) {
		return c, explainFolder(dir, because(err, "config.json is missing: copy the one that was saved with the weights into the folder"))
	}
	if err != nil {
		return c, err
	}
	classes, _ := c.fields["architectures"].([]any)
	kind := c.string("model_type", "")
	if kind == "" && slices.Contains(classes, any("PaliGemmaForConditionalGeneration")) {
		kind = "paligemma"
	}
	switch {
	case strings.HasPrefix(kind, "colpali") || slices.Contains(classes, any("ColPali")):
		return c, fmt.Errorf("%w: %w", model.ErrNotPaliGemma, errColPali("by its config.json"))
	case kind != "paligemma":
		return c, fmt.Errorf("%w: config.json: model_type is %s, want \"paligemma\": convert a PaliGemma or PaliGemma 2", model.ErrNotPaliGemma, quote.Short(kind))
	}
	return c, nil
}

// readSettings turns config.json and the image processor's file into a
// configuration. positions is the number of rows of the tower's position
// embedding, 0 if it was not found. Special ids are still to be set.
func readSettings(dir string, config object, positions int) (*settings, error) {
	s := &settings{from: configFile}
	text, vision := config.object("text_config"), config.object("vision_config")
	kind := text.string("model_type", "gemma")
	family, ok := families[kind]
	if !ok {
		return nil, fmt.Errorf("%w: config.json: text_config.model_type is %s, want gemma or gemma2: convert a PaliGemma or PaliGemma 2", model.ErrNotPaliGemma, quote.Short(kind))
	}
	s.config = family
	readText(&s.config, config, text)
	s.config.Vision = readTower(vision)
	if err := s.readProcessor(dir, config.errs, vision, positions); err != nil {
		return nil, err
	}
	s.image = append(config.ids("image_token_id"), config.ids("image_token_index")...)
	s.bos = config.ids("bos_token_id")
	s.readStop(dir, config, text)
	s.noteQuantization(config, text)
	// What text_config says counted before transformers 5, which ties the head all
	// the same.
	s.mustHead = !config.bool("tie_word_embeddings", true)
	s.tied = config.bool("tie_word_embeddings", text.bool("tie_word_embeddings", true))
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
	v := model.So400m // the tower of every release
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

// noteQuantization notes a quantization_config. It is what a checkpoint was
// loaded with; that the weights are plain is found by their names and types.
func (s *settings) noteQuantization(config, text object) {
	for _, o := range []object{config, text} {
		if !o.has("quantization_config") {
			continue
		}
		method := "of no method"
		if q, ok := o.fields["quantization_config"].(map[string]any); ok && q["quant_method"] != nil {
			method = show(q["quant_method"])
		}
		s.notes = append(s.notes, fmt.Sprintf("%squantization_config (%s) is ignored: the weights are not quantized", o.name, method))
	}
}

// readStop settles where generation ends: at the ids of generation_config.json,
// else of config.json. A generation_config.json that names none but the
// tokenizer's own (see special) was often left behind by the base model, so what
// config.json names counts too.
func (s *settings) readStop(dir string, config, text object) {
	var errs []error
	generation, err := readObject(filepath.Join(dir, "generation_config.json"), &errs)
	if err == nil {
		s.stop = generation.ids("eos_token_id")
	} else if !errors.Is(err, fs.ErrNotExist) {
		errs = append(errs, err)
	}
	if len(errs) > 0 { // as in transformers, which goes on without the file
		s.notes = append(s.notes, quote.Line(fmt.Sprintf("generation_config.json is ignored: %v", errs[0]), maxMessage))
	}
	s.configStop = config.ids("eos_token_id")
	if s.configStop == nil {
		s.configStop = text.ids("eos_token_id")
	}
}

// stopTokens is TokenConfig.Stop for a tokenizer with that eos and a vocabulary
// of that many rows.
func (s *settings) stopTokens(eos, rows int) []int {
	stop := s.stop
	if len(stop) == 0 {
		stop = s.configStop
	} else if slices.Equal(stop, []int{eos}) {
		stop = append([]int{eos}, s.configStop...)
	}
	stop = slices.Clone(stop)
	slices.Sort(stop)
	stop = slices.Compact(stop)
	possible := slices.DeleteFunc(slices.Clone(stop), func(id int) bool { return id >= rows })
	if len(possible) < len(stop) {
		s.notes = append(s.notes, fmt.Sprintf("the token embedding has %d rows: stop tokens from there on are ignored", rows))
	}
	if len(possible) == 0 || slices.Equal(possible, []int{eos}) {
		return nil
	}
	s.notes = append(s.notes, quote.Line(fmt.Sprintf("generation ends at the tokens %v", possible), maxMessage))
	return possible
}

// checkImage compares the id of <image> with those that config.json names.
func (s *settings) checkImage(id int) error {
	if len(s.image) == 0 || slices.Contains(s.image, id) {
		return nil
	}
	return fmt.Errorf("<image> is %d in the tokenizer, but %v in %s: %s", id, s.image[0], s.imageFrom(), useAnother)
}
