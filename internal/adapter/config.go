package adapter

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"paligemma/internal/quote"
	"paligemma/internal/strictjson"
)

const (
	maxConfigBytes = 4 << 20 // of adapter_config.json; real ones have 1 kB
	maxRank        = 1 << 16
	maxNames       = 1 << 14 // in a list or a pattern of the configuration
)

// config is what adapter_config.json says.
type config struct {
	peftType      string
	version       string // peft_version; "" before 0.18
	base          string // base_model_name_or_path
	rank          int
	alpha         float64
	rankPattern   []patternValue
	alphaPattern  []patternValue
	rsLoRA        bool
	dora          bool
	loraBias      bool
	tieEmbeddings bool   // ensure_weight_tying
	bias          string // none, all or lora_only
	targets       []string
	pattern       bool     // targets is one regular expression
	saved         []string // modules_to_save
	initial       any      // init_lora_weights
	unknown       []string // keys that are set and unknown here
}

// advice is what to do with an adapter that cannot be read as it is.
const advice = "merge it with PEFT (merge_and_unload(), then save_pretrained()) and convert the checkpoint"

// unsupported are settings that make another computation of an adapter.
var unsupported = map[string]string{
	"alora_invocation_tokens": "is set: an activated LoRA works from those tokens on only and cannot be merged",
	"layer_replication":       "is set: the adapter repeats layers of its base, " + advice,
	"trainable_token_indices": "is set: tokens that are trained alone are not supported, " + advice,
	"target_parameters":       "is set: LoRA on bare parameters is not supported, " + advice,
	"use_bdlora":              "is set: block-diagonal LoRA is not supported, " + advice,
	"use_qalora":              "is set: QALoRA is not supported, " + advice,
	"arrow_config":            "is set: Arrow chooses among adapters for each token and cannot be merged",
	"kasa_config":             "is set: KaSA changes the base's weights, " + advice,
	"monteclora_config":       "is set: MonteCLoRA is not supported, " + advice,
}

// ignored are settings that say how an adapter was trained or saved, and change
// nothing of what it is.
var ignored = []string{
	"task_type", "inference_mode", "lora_dropout", "fan_in_fan_out", "layers_to_transform", "layers_pattern", "exclude_modules",
	"auto_mapping", "revision", "megatron_config", "megatron_core", "loftq_config", "eva_config", "corda_config", "lora_ga_config",
	"velora_config", "qalora_group_size", "runtime_config", "enable_lora", "merge_weights",
}

// changesBase are values of init_lora_weights that change the base's weights
// before the training, so that the adapter belongs to weights that no file has.
var changesBase = []string{"pissa", "corda", "olora", "loftq", "lora_ga"}

// parseConfig reads adapter_config.json. What it leaves out is as in PEFT.
func parseConfig(text string) (*config, error) {
	r, err := strictjson.NewReader(text)
	if err != nil {
		return nil, err
	}
	if r.Kind() != strictjson.Object {
		return nil, errors.New("not a json object")
	}
	c := &config{rank: 8, alpha: 8, bias: "none"}
	read := c.fields(r)
	err = r.Object(func(key string) error {
		if null, err := r.Null(); null || err != nil {
			return err
		}
		if f := read[key]; f != nil {
			if err := f(); err != nil {
				return fmt.Errorf("%s: %w", key, err)
			}
			return nil
		}
		return c.other(r, key)
	})
	if err != nil {
		return nil, err
	}
	if err := r.End(); err != nil {
		return nil, err
	}
	return c, c.check()
}

// fields are the settings that count, each with what reads it.
func (c *config) fields(r *strictjson.Reader) map[string]func() error {
	text := func(to *string) func() error {
		return func() (err error) { *to, err = r.String(); return err }
	}
	truth := func(to *bool) func() error {
		return func() (err error) { *to, err = r.Bool(); return err }
	}
	return map[string]func() error{
		"peft_type":               text(&c.peftType),
		"peft_version":            text(&c.version),
		"base_model_name_or_path": text(&c.base),
		"bias":                    text(&c.bias),
		"use_rslora":              truth(&c.rsLoRA),
		"use_dora":                truth(&c.dora),
		"lora_bias":               truth(&c.loraBias),
		"ensure_weight_tying":     truth(&c.tieEmbeddings),
		"r":                       func() (err error) { c.rank, err = readRank(r); return err },
		"lora_alpha":              func() (err error) { c.alpha, err = readNumber(r); return err },
		"rank_pattern": func() (err error) {
			c.rankPattern, err = readPattern(r, func() (float64, error) { n, err := readRank(r); return float64(n), err })
			return err
		},
		"alpha_pattern": func() (err error) {
			c.alphaPattern, err = readPattern(r, func() (float64, error) { return readNumber(r) })
			return err
		},
		"target_modules": func() (err error) {
			c.pattern = r.Kind() == strictjson.String
			c.targets, err = readNames(r)
			return err
		},
		"modules_to_save":   func() (err error) { c.saved, err = readNames(r); return err },
		"init_lora_weights": func() (err error) { c.initial, err = r.Value(); return err },
	}
}

// other reads a setting that is unsupported, ignored or unknown.
func (c *config) other(r *strictjson.Reader, key string) error {
	v, err := r.Value()
	if err != nil || !isSet(v) {
		return err
	}
	if why, ok := unsupported[key]; ok {
		return fmt.Errorf("%s %s", key, why)
	}
	if !slices.Contains(ignored, key) {
		c.unknown = append(c.unknown, key)
	}
	return nil
}

// isSet reports whether a value is more than a way to say no.
func isSet(v any) bool {
	switch v := v.(type) {
	case nil:
		return false
	case bool:
		return v
	case string:
		return v != ""
	case []any:
		return len(v) > 0
	case map[string]any:
		return len(v) > 0
	}
	return true
}

// check refuses what is not a LoRA adapter, and values that cannot be.
func (c *config) check() error {
	switch {
	case c.peftType == "":
		return errors.New("peft_type is missing: this is not the configuration of a PEFT adapter")
	case !strings.EqualFold(c.peftType, "LORA"):
		return fmt.Errorf("peft_type is %s, want LORA: %s", quote.Short(c.peftType), advice)
	case !slices.Contains([]string{"none", "all", "lora_only"}, c.bias):
		return fmt.Errorf("bias is %s, want none, all or lora_only", quote.Short(c.bias))
	case c.dora && c.loraBias:
		return errors.New("use_dora and lora_bias are both true, which PEFT does not allow: train with one of them")
	}
	if s, ok := c.initial.(string); ok && slices.ContainsFunc(changesBase, func(kind string) bool { return strings.HasPrefix(strings.ToLower(s), kind) }) {
		return fmt.Errorf("init_lora_weights is %s, which changed the base's weights: save the adapter for the unchanged base "+
			"(PEFT: save_pretrained with path_initial_model_for_weight_conversion)", quote.Short(s))
	}
	return nil
}

// readRank reads a rank.
func readRank(r *strictjson.Reader) (int, error) {
	n, err := r.Int(1, maxRank)
	return int(n), err
}

// readNumber reads a number in the range of float32.
func readNumber(r *strictjson.Reader) (float64, error) {
	v, err := r.Value()
	if err != nil {
		return 0, err
	}
	n, ok := v.(json.Number)
	if !ok {
		return 0, errors.New("want a number")
	}
	f, err := n.Float64()
	if err != nil || math.Abs(f) > math.MaxFloat32 {
		return 0, fmt.Errorf("%s is out of range", quote.Short(n))
	}
	return f, nil
}

// readNames reads a list of names, or one name.
func readNames(r *strictjson.Reader) ([]string, error) {
	if r.Kind() == strictjson.String {
		s, err := r.String()
		return []string{s}, err
	}
	var all []string
	err := r.List(func() error {
		if len(all) == maxNames {
			return fmt.Errorf("more than %d names", maxNames)
		}
		s, err := r.String()
		all = append(all, s)
		return err
	})
	return all, err
}

// scaleOf returns the factor of B·A for a module, whose rank is known.
func (c *config) scaleOf(module string, rank int) (float64, error) {
	alpha, err := find(c.alphaPattern, module, c.alpha)
	if err != nil {
		return 0, fmt.Errorf("alpha_pattern: %w", err)
	}
	if c.rsLoRA {
		return alpha / math.Sqrt(float64(rank)), nil
	}
	return alpha / float64(rank), nil
}

// rankOf returns the rank of a module.
func (c *config) rankOf(module string) (int, error) {
	rank, err := find(c.rankPattern, module, float64(c.rank))
	if err != nil {
		return 0, fmt.Errorf("rank_pattern: %w", err)
	}
	return int(rank), nil
}
