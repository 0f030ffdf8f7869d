package bench

import (
	"context"
	"fmt"
	"math/rand/v2"
	"runtime/debug"
	"strings"

	"paligemma/internal/convert"
	"paligemma/internal/engine"
	"paligemma/internal/gguf"
	"paligemma/internal/limits"
	"paligemma/internal/model"
	"paligemma/internal/tokenizer"
	"paligemma/internal/units"
	"paligemma/internal/vocabulary"
)

// Layout of the tiny models' vocabulary, which is that of the releases but
// smaller.
const tinyPieces, tinyVocab = 2177, 2240

// tinies returns small models of the same build as the releases, for tests.
func tinies() []model.Config {
	var all []model.Config
	for _, m := range []struct {
		name, arch string
		text       model.TextConfig
	}{{"tiny", model.ArchPaliGemma, model.Gemma2B}, {"pg2-tiny", model.ArchPaliGemma2, model.Gemma2_2B}} {
		c := model.Releases()[0]
		c.Name, c.Arch, c.Text = m.name, m.arch, m.text
		t, v := &c.Text, &c.Vision
		t.Hidden, t.MLP, t.Layers, t.Heads, t.KVHeads, t.HeadDim = 256, 512, 2, 4, 2, 64
		t.Vocab, t.AttnScale = tinyVocab, 1.0/8
		v.Hidden, v.MLP, v.Layers, v.Heads = 144, 272, 2, 4
		v.ImageSize, v.ImageTokens = 56, 16
		c.Tokens.Pieces, c.Tokens.Image = tinyPieces, tinyPieces-1
		all = append(all, c)
	}
	return all
}

// synthetics returns the configurations of the models that can be made.
func synthetics() []model.Config { return append(model.Releases(), tinies()...) }

// SyntheticNames lists the models that NewSynthetic can make.
func SyntheticNames() []string {
	var names []string
	for _, c := range synthetics() {
		names = append(names, c.Name)
	}
	return names
}

// syntheticConfig returns the configuration of a model by its name, in any case.
func syntheticConfig(name string) (model.Config, error) {
	for _, c := range synthetics() {
		if strings.EqualFold(c.Name, name) {
			return c, nil
		}
	}
	return model.Config{}, fmt.Errorf("no synthetic model %q: want one of %s", name, strings.Join(SyntheticNames(), ", "))
}

// Synthetic is a model of random weights in memory, laid out as convert lays
// out a file of the same type, with a made-up tokenizer of the released form.
type Synthetic struct{ file *gguf.File }

// NewSynthetic makes a model by its name, in one of convert.Types ("" is
// q8_0). It takes the memory of the model's file and little more. The caller
// closes it after its sessions.
func NewSynthetic(ctx context.Context, name, typ string) (*Synthetic, error) {
	c, err := syntheticConfig(name)
	if err != nil {
		return nil, err
	}
	info, err := convert.FindType(typ)
	if err != nil {
		return nil, err
	}
	plan, err := convert.Plan(c, typ)
	if err != nil {
		return nil, err
	}
	var w gguf.Writer
	c.SetKeys(&w)
	w.SetUint32(gguf.KeyFileType, info.FileType)
	if err := convert.SetTokenizer(&w, vocabulary.MakeUp(c.Tokens.Pieces), c.Text.Vocab); err != nil {
		return nil, err
	}
	debug.FreeOSMemory() // or what that took would count in the peak that is reported
	specs := map[string]model.TensorSpec{}
	for _, choice := range plan {
		specs[choice.Spec.Name] = choice.Spec
		if err := w.AddTensor(choice.Spec.Name, choice.Type, choice.Stored...); err != nil {
			return nil, err
		}
	}
	if err := enoughMemory(&w); err != nil {
		return nil, fmt.Errorf("%s: %w", c.Name, err)
	}
	f := filler{rand.New(rand.NewPCG(7, 7)), map[rowKind]rows{}}
	file, err := w.Build(c.Name, func(t gguf.Tensor, data []byte) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		return f.tensor(specs[t.Name], t, data)
	})
	if err != nil {
		return nil, err
	}
	return &Synthetic{file}, nil
}

// enoughMemory refuses a model that is larger than what is free: the system might
// give it the memory and end the process when it is used.
func enoughMemory(w *gguf.Writer) error {
	size, err := w.Size()
	if err != nil {
		return err
	}
	if free := limits.FreeMemory().Physical; size > free {
		return fmt.Errorf("not enough memory: needs %s, has %s", units.Bytes(size), units.Bytes(free))
	}
	return nil
}

// Open parses the header and binds the weights, as if the memory were a mapped
// file. It fits in memory: it is already there.
func (s *Synthetic) Open(o engine.Options) (*engine.Engine, error) {
	file, err := s.file.Reopen()
	if err != nil {
		return nil, err
	}
	o.Force = true
	return engine.New(file, o)
}

// loadTokenizer opens the tokenizer of a model's header and frees it again.
func loadTokenizer(h *gguf.Header) error {
	tok, err := tokenizer.OpenGGUF(h, false)
	if err != nil {
		return err
	}
	defer tok.Close()
	return tok.Ready()
}

// Close frees the weights.
func (s *Synthetic) Close() error { return s.file.Close() }

// isBias reports whether a tensor is a bias and not the weight of a norm.
func isBias(spec model.TensorSpec) bool { return strings.HasSuffix(spec.Name, ".bias") }
