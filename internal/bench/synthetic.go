package bench

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"runtime/debug"
	"strings"

	"paligemma/internal/convert"
	"paligemma/internal/engine"
	"paligemma/internal/gguf"
	"paligemma/internal/limits"
	"paligemma/internal/model"
	"paligemma/internal/quote"
	"paligemma/internal/tokenizer"
	"paligemma/internal/vocabulary"
)

// The towers and language models of the releases (PaliGemma's report, table 1;
// PaliGemma 2's, table 1), and small ones of the same build for tests. The tower
// of a release is SigLIP So400m at 224, 448 or 896 pixels.
var (
	gemma2B  = model.TextConfig{Hidden: 2048, MLP: 16384, Layers: 18, Heads: 8, KVHeads: 1, HeadDim: 256}
	gemma22B = model.TextConfig{Hidden: 2304, MLP: 9216, Layers: 26, Heads: 8, KVHeads: 4, HeadDim: 256}
	gemma29B = model.TextConfig{Hidden: 3584, MLP: 14336, Layers: 42, Heads: 16, KVHeads: 8, HeadDim: 256}
	gemma227 = model.TextConfig{Hidden: 4608, MLP: 36864, Layers: 46, Heads: 32, KVHeads: 16, HeadDim: 128}
	tinyText = model.TextConfig{Hidden: 256, MLP: 512, Layers: 2, Heads: 4, KVHeads: 2, HeadDim: 64}

	so400m    = model.VisionConfig{PatchSize: 14, Hidden: 1152, MLP: 4304, Layers: 27, Heads: 16}
	tinyTower = model.VisionConfig{PatchSize: 14, Hidden: 144, MLP: 272, Layers: 2, Heads: 4}
)

// synthetics are the models that can be made, by name.
var synthetics = []struct {
	name        string
	arch        string
	text        model.TextConfig
	queryScalar int // attention scores are divided by its root
	vision      model.VisionConfig
	pixels      int
}{
	{"3b-224", model.ArchPaliGemma, gemma2B, 256, so400m, 224},
	{"3b-448", model.ArchPaliGemma, gemma2B, 256, so400m, 448},
	{"3b-896", model.ArchPaliGemma, gemma2B, 256, so400m, 896},
	{"pg2-3b-224", model.ArchPaliGemma2, gemma22B, 256, so400m, 224},
	{"pg2-3b-448", model.ArchPaliGemma2, gemma22B, 256, so400m, 448},
	{"pg2-3b-896", model.ArchPaliGemma2, gemma22B, 256, so400m, 896},
	{"pg2-10b-224", model.ArchPaliGemma2, gemma29B, 256, so400m, 224},
	{"pg2-10b-448", model.ArchPaliGemma2, gemma29B, 256, so400m, 448},
	{"pg2-10b-896", model.ArchPaliGemma2, gemma29B, 256, so400m, 896},
	{"pg2-28b-224", model.ArchPaliGemma2, gemma227, 144, so400m, 224},
	{"pg2-28b-448", model.ArchPaliGemma2, gemma227, 144, so400m, 448},
	{"pg2-28b-896", model.ArchPaliGemma2, gemma227, 144, so400m, 896},
	{"tiny", model.ArchPaliGemma, tinyText, 64, tinyTower, 56},
	{"pg2-tiny", model.ArchPaliGemma2, tinyText, 64, tinyTower, 56},
}

// Layout of the released vocabulary: pieces, <image> as the last of them, and
// rows that only pad the embedding. The tiny models have a smaller one.
const (
	releasePieces, releaseVocab = 257153, 257216
	tinyPieces, tinyVocab       = 2177, 2240
)

// SyntheticNames lists the models that NewSynthetic can make.
func SyntheticNames() []string {
	var names []string
	for _, s := range synthetics {
		names = append(names, s.name)
	}
	return names
}

// syntheticConfig is the configuration of a model by name.
func syntheticConfig(name string) (model.Config, error) {
	for _, s := range synthetics {
		if !strings.EqualFold(s.name, name) {
			continue
		}
		c := model.Config{Arch: s.arch, Name: s.name, Text: s.text, Vision: s.vision, Tied: true}
		t, v := &c.Text, &c.Vision
		t.Vocab, c.Tokens.Pieces = releaseVocab, releasePieces
		if s.text == tinyText {
			t.Vocab, c.Tokens.Pieces = tinyVocab, tinyPieces
		}
		c.Tokens.PAD, c.Tokens.EOS, c.Tokens.BOS, c.Tokens.UNK = 0, 1, 2, 3
		c.Tokens.Image = c.Tokens.Pieces - 1
		t.Context, t.RMSEps, t.RopeTheta = 8192, 1e-6, 10000
		t.AttnScale = float32(1 / math.Sqrt(float64(s.queryScalar)))
		if s.arch == model.ArchPaliGemma2 {
			t.AttnSoftcap, t.FinalSoftcap, t.SlidingWindow = 50, 30, 4096
		}
		v.ImageSize, v.NormEps = s.pixels, 1e-6
		v.ImageTokens = v.Patches() * v.Patches()
		for i := range 3 {
			v.Mean[i], v.Std[i] = 0.5, 0.5
		}
		return c, nil
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
	plan, err := convert.Plan(c, typ)
	if err != nil {
		return nil, err
	}
	var w gguf.Writer
	c.SetKeys(&w)
	for _, t := range convert.Types() {
		if strings.EqualFold(t.Name, typ) || typ == "" && t.Name == "q8_0" {
			w.SetUint32(gguf.KeyFileType, t.FileType)
		}
	}
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
		return fmt.Errorf("not enough memory: needs %s, has %s", quote.Bytes(size), quote.Bytes(free))
	}
	return nil
}

// Open parses the header and binds the weights, as if the memory were a mapped
// file. There is no question whether that fits in memory: it is there.
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

// isBias tells a bias from the weight of a norm.
func isBias(spec model.TensorSpec) bool { return strings.HasSuffix(spec.Name, ".bias") }
