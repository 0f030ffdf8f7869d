package model

import (
	"errors"
	"fmt"

	"paligemma/internal/gguf"
	"paligemma/internal/quote"
)

// keyStop is an array of int32, as Ollama names it: where generation ends, if not
// at eos alone.
const keyStop = "tokenizer.ggml.eos_token_ids"

// intKey and floatKey tie a key to a field of the configuration: the one table
// that both SetKeys and ReadConfig go through.
type intKey struct {
	key   string
	field *int
}

type floatKey struct {
	key   string
	field *float32
}

func (c *Config) ints() []intKey {
	t, v, k := &c.Text, &c.Vision, &c.Tokens
	p := c.Arch + "."
	keys := []intKey{
		{p + gguf.KeyContext, &t.Context},
		{p + "embedding_length", &t.Hidden},
		{p + "block_count", &t.Layers},
		{p + "feed_forward_length", &t.MLP},
		{p + "attention.head_count", &t.Heads},
		{p + "attention.head_count_kv", &t.KVHeads},
		{p + "attention.key_length", &t.HeadDim},
		{p + "vocab_size", &t.Vocab},
		{p + "vision.image_size", &v.ImageSize},
		{p + "vision.patch_size", &v.PatchSize},
		{p + "vision.embedding_length", &v.Hidden},
		{p + "vision.feed_forward_length", &v.MLP},
		{p + "vision.block_count", &v.Layers},
		{p + "vision.attention.head_count", &v.Heads},
		{p + "vision.image_seq_length", &v.ImageTokens},
		{gguf.KeyBOS, &k.BOS},
		{gguf.KeyEOS, &k.EOS},
		{gguf.KeyPAD, &k.PAD},
		{gguf.KeyUNK, &k.UNK},
		{gguf.KeyImage, &k.Image},
	}
	if c.Arch == ArchPaliGemma2 {
		keys = append(keys, intKey{p + "attention.sliding_window", &t.SlidingWindow})
	}
	return keys
}

// repeated are keys that gguf-py writes next to others with the same value.
func (c *Config) repeated() []intKey {
	p := c.Arch + "."
	return []intKey{
		{p + "attention.value_length", &c.Text.HeadDim},
		{p + "rope.dimension_count", &c.Text.HeadDim},
		{p + "vision.projection_dim", &c.Text.Hidden},
	}
}

func (c *Config) floats() []floatKey {
	t, v := &c.Text, &c.Vision
	p := c.Arch + "."
	keys := []floatKey{
		{p + "attention.layer_norm_rms_epsilon", &t.RMSEps},
		{p + "attention.scale", &t.AttnScale},
		{p + "rope.freq_base", &t.RopeTheta},
		{p + "vision.attention.layer_norm_epsilon", &v.NormEps},
	}
	if c.Arch == ArchPaliGemma2 {
		keys = append(keys,
			floatKey{p + "attn_logit_softcapping", &t.AttnSoftcap},
			floatKey{p + "final_logit_softcapping", &t.FinalSoftcap})
	}
	return keys
}

func (c *Config) keyMean() string { return c.Arch + ".vision.image_mean" }
func (c *Config) keyStd() string  { return c.Arch + ".vision.image_std" }

// SetKeys writes the configuration to a GGUF file. The tokenizer's keys other
// than its special ids are the caller's.
func (c Config) SetKeys(w *gguf.Writer) {
	w.SetString(gguf.KeyArchitecture, c.Arch)
	w.SetString(gguf.KeyName, c.Name)
	for _, k := range c.ints() {
		w.SetUint32(k.key, uint32(*k.field))
	}
	for _, k := range c.repeated() {
		w.SetUint32(k.key, uint32(*k.field))
	}
	for _, k := range c.floats() {
		w.SetFloat32(k.key, *k.field)
	}
	w.SetFloat32s(c.keyMean(), c.Vision.Mean[:])
	w.SetFloat32s(c.keyStd(), c.Vision.Std[:])
	if c.Tokens.Stop != nil {
		w.SetInt32s(keyStop, int32s(c.Tokens.Stop))
	}
}

// ErrNotPaliGemma is wrapped where a file is a sound GGUF of another model.
var ErrNotPaliGemma = errors.New("not a PaliGemma model")

// ReadConfig reads and validates the configuration in a GGUF header.
func ReadConfig(h *gguf.Header) (Config, error) {
	var c Config
	arch, err := h.ShortString(gguf.KeyArchitecture)
	if err != nil {
		return c, err
	}
	if arch != ArchPaliGemma && arch != ArchPaliGemma2 {
		return c, fmt.Errorf("%w: %s is %s, want %s or %s", ErrNotPaliGemma, gguf.KeyArchitecture, quote.Short(arch), ArchPaliGemma, ArchPaliGemma2)
	}
	c.Arch = arch
	if h.Has(gguf.KeyName) {
		if c.Name, err = h.ShortString(gguf.KeyName); err != nil {
			return c, err
		}
	}
	if err := c.readInts(h); err != nil {
		return c, err
	}
	if err := c.readFloats(h); err != nil {
		return c, err
	}
	if c.Tokens.Pieces, err = h.ArrayLen(gguf.KeyTokens); err != nil {
		return c, err
	}
	if c.Tokens.Stop, err = readStop(h); err != nil {
		return c, err
	}
	_, untied := h.Lookup(TensorHead)
	c.Tied = !untied
	return c, c.Validate()
}

// readInts reads the whole numbers, and compares those that a file repeats.
func (c *Config) readInts(h *gguf.Header) (err error) {
	for _, k := range c.ints() {
		if *k.field, err = h.Int(k.key); err != nil {
			return err
		}
	}
	for _, k := range c.repeated() {
		if !h.Has(k.key) {
			continue
		}
		if v, err := h.Int(k.key); err != nil {
			return err
		} else if v != *k.field {
			return fmt.Errorf("gguf key %s is %d, want %d as elsewhere in the file", quote.Short(k.key), v, *k.field)
		}
	}
	return nil
}

// readFloats reads all other numbers.
func (c *Config) readFloats(h *gguf.Header) (err error) {
	for _, k := range c.floats() {
		if *k.field, err = h.Float32(k.key); err != nil {
			return err
		}
	}
	for key, field := range map[string]*[3]float32{c.keyMean(): &c.Vision.Mean, c.keyStd(): &c.Vision.Std} {
		values, err := h.Float32s(key)
		if err != nil {
			return err
		}
		if len(values) != 3 {
			return fmt.Errorf("gguf key %s has %d values, want 3", quote.Short(key), len(values))
		}
		copy(field[:], values)
	}
	return nil
}

// readStop reads the ids at which generation ends, nil where the file names eos
// alone.
func readStop(h *gguf.Header) ([]int, error) {
	if !h.Has(keyStop) {
		return nil, nil
	}
	if n, err := h.ArrayLen(keyStop); err != nil {
		return nil, err
	} else if n < 1 || n > maxStop {
		return nil, fmt.Errorf("gguf key %q has %d ids, want 1 to %d", keyStop, n, maxStop)
	}
	ids, err := h.Int32s(keyStop)
	if err != nil {
		return nil, err
	}
	stop := make([]int, len(ids))
	for i, id := range ids {
		stop[i] = int(id)
	}
	return stop, nil
}
