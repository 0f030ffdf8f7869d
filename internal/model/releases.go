package model

import (
	"math"
	"strings"
)

// The vision tower and the smallest language models of the releases: what a
// checkpoint's config.json leaves out is theirs. The dimensions of all releases
// are those of PaliGemma's report, table 1, and PaliGemma 2's, table 1.
var (
	So400m    = VisionConfig{PatchSize: 14, Hidden: 1152, MLP: 4304, Layers: 27, Heads: 16, NormEps: 1e-6}
	Gemma2B   = gemma(TextConfig{Hidden: 2048, MLP: 16384, Layers: 18, Heads: 8, KVHeads: 1, HeadDim: 256})
	Gemma2_2B = gemma2(TextConfig{Hidden: 2304, MLP: 9216, Layers: 26, Heads: 8, KVHeads: 4, HeadDim: 256}, 256)

	gemma2_9B  = gemma2(TextConfig{Hidden: 3584, MLP: 14336, Layers: 42, Heads: 16, KVHeads: 8, HeadDim: 256}, 256)
	gemma2_27B = gemma2(TextConfig{Hidden: 4608, MLP: 36864, Layers: 46, Heads: 32, KVHeads: 16, HeadDim: 128}, 144)
)

// Layout of the released vocabulary: <image> is the last piece, and the rows
// after it only pad the embedding.
const (
	releasePieces = 257153
	releaseVocab  = 257216
)

// gemma completes a language model of the first generation.
func gemma(t TextConfig) TextConfig {
	t.Vocab, t.Context, t.RMSEps, t.RopeTheta = releaseVocab, 8192, 1e-6, 10000
	t.AttnScale = float32(1 / math.Sqrt(float64(t.HeadDim)))
	return t
}

// gemma2 completes a Gemma 2, whose attention scores are divided by the root of
// queryScalar.
func gemma2(t TextConfig, queryScalar float64) TextConfig {
	t = gemma(t)
	t.AttnScale = float32(1 / math.Sqrt(queryScalar))
	t.AttnSoftcap, t.FinalSoftcap, t.SlidingWindow = 50, 30, 4096
	return t
}

// releaseTexts are the language models of the releases, by the part of a name
// before the image's size.
var releaseTexts = []struct {
	name, arch string
	text       TextConfig
}{
	{"3b", ArchPaliGemma, Gemma2B},
	{"pg2-3b", ArchPaliGemma2, Gemma2_2B},
	{"pg2-10b", ArchPaliGemma2, gemma2_9B},
	{"pg2-28b", ArchPaliGemma2, gemma2_27B},
}

// releaseSizes are the sides of the images of each, in pixels.
var releaseSizes = []struct {
	name   string
	pixels int
}{{"-224", 224}, {"-448", 448}, {"-896", 896}}

// Releases returns the configurations of the released models: 3b-224 to
// pg2-28b-896.
func Releases() []Config {
	var all []Config
	for _, t := range releaseTexts {
		for _, size := range releaseSizes {
			c := Config{Arch: t.arch, Name: t.name + size.name, Text: t.text, Vision: So400m, Tied: true}
			c.Vision.setSize(size.pixels)
			c.Tokens = TokenConfig{PAD: 0, EOS: 1, BOS: 2, UNK: 3, Image: releasePieces - 1, Pieces: releasePieces}
			all = append(all, c)
		}
	}
	return all
}

// Release returns the configuration of a released model by its name, in any
// case.
func Release(name string) (Config, bool) {
	for _, c := range Releases() {
		if strings.EqualFold(c.Name, name) {
			return c, true
		}
	}
	return Config{}, false
}

// setSize sets the side of an image in pixels, and what depends on it, as the
// releases have it.
func (v *VisionConfig) setSize(pixels int) {
	v.ImageSize = pixels
	v.ImageTokens = v.Patches() * v.Patches()
	for i := range 3 {
		v.Mean[i], v.Std[i] = 0.5, 0.5
	}
}
