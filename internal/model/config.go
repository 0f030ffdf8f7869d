package model

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"paligemma/internal/quote"
)

// Architectures, the values of general.architecture and the prefix of the keys.
const (
	ArchPaliGemma  = "paligemma"  // SigLIP + Gemma
	ArchPaliGemma2 = "paligemma2" // SigLIP + Gemma 2
)

// Config is everything about a model that is not a weight.
type Config struct {
	Arch   string // ArchPaliGemma or ArchPaliGemma2
	Name   string // general.name, for people
	Text   TextConfig
	Vision VisionConfig
	Tokens TokenConfig
	Tied   bool // the head is the token embedding
}

// TextConfig is Gemma's part.
type TextConfig struct {
	Hidden        int // width of the residual stream
	MLP           int // width of the gated MLP
	Layers        int
	Heads         int // query heads
	KVHeads       int // key and value heads; divides Heads
	HeadDim       int // of every head; not Hidden/Heads
	Vocab         int // rows of the token embedding
	Context       int // positions the model was made for
	RMSEps        float32
	RopeTheta     float32
	AttnScale     float32 // scores are multiplied by it: HeadDim^-½, or query_pre_attn_scalar^-½
	AttnSoftcap   float32 // Gemma 2: scores are capped·tanh(scores/cap); 0: not
	FinalSoftcap  float32 // Gemma 2: so are the logits; 0: not
	SlidingWindow int     // Gemma 2: keys that even layers see beyond the prefix; 0: all
}

// VisionConfig is SigLIP's part and the image processor's.
type VisionConfig struct {
	ImageSize   int // pixels of the square that the tower sees
	PatchSize   int // pixels of a patch's side; divides ImageSize
	Hidden      int
	MLP         int
	Layers      int
	Heads       int // divides Hidden
	NormEps     float32
	ImageTokens int        // (ImageSize/PatchSize)²
	Mean, Std   [3]float32 // of the normalisation
}

// TokenConfig names the ids that have a meaning of their own.
type TokenConfig struct {
	BOS, EOS, PAD, UNK int
	Stop               []int // ids at which generation ends; nil: EOS alone
	Image              int   // <image>; it may be the first id past the embedding, whose row is never read
	Pieces             int   // entries of the tokenizer; embedding rows from here on are padding
}

// Ends reports whether generation ends at a token.
func (k TokenConfig) Ends(id int) bool {
	if k.Stop == nil {
		return id == k.EOS
	}
	return slices.Contains(k.Stop, id)
}

// ends is the number of ids at which generation ends.
func (k TokenConfig) ends() int { return max(1, len(k.Stop)) }

// Bounds far beyond any model, that keep products of sizes from overflowing.
const (
	maxDim    = 1 << 20 // any width
	maxLayers = 256
	maxHeads  = 1 << 12
	maxVocab  = 1 << 22
	maxImage  = 1 << 12
	maxTokens = 1 << 14 // image tokens; 4,096 in the largest model
	maxStop   = 64      // ids at which generation ends
)

// Patches is the number of patches along a side.
func (v VisionConfig) Patches() int { return v.ImageSize / v.PatchSize }

// HeadDim is the width of an attention head of the tower.
func (v VisionConfig) HeadDim() int { return v.Hidden / v.Heads }

// PatchDim is the number of values in a patch: channels × PatchSize².
func (v VisionConfig) PatchDim() int { return 3 * v.PatchSize * v.PatchSize }

// Validate checks every number that something else will divide by, allocate
// by, or index with. A Config that passes cannot make the graph builder
// divide by zero or overflow.
func (c Config) Validate() error {
	var errs []error
	in := func(name string, v, low, high int) {
		if v < low || v > high {
			errs = append(errs, fmt.Errorf("%s is %d, want %d to %d", name, v, low, high))
		}
	}
	positive := func(name string, v float32) {
		if !(v > 0) || math.IsInf(float64(v), 0) {
			errs = append(errs, fmt.Errorf("%s is %v, want a positive number", name, v))
		}
	}
	if c.Arch != ArchPaliGemma && c.Arch != ArchPaliGemma2 {
		return fmt.Errorf("architecture %s is not a PaliGemma (want %s or %s)", quote.Short(c.Arch), ArchPaliGemma, ArchPaliGemma2)
	}
	t, v := c.Text, c.Vision
	in("the text model's hidden size", t.Hidden, 1, maxDim)
	in("the text model's mlp size", t.MLP, 1, maxDim)
	in("the text model's number of layers", t.Layers, 1, maxLayers)
	in("the text model's number of heads", t.Heads, 1, maxHeads)
	in("the text model's number of key-value heads", t.KVHeads, 1, maxHeads)
	in("the text model's head dimension", t.HeadDim, 2, 1<<14)
	in("the vocabulary", t.Vocab, 1, maxVocab)
	in("the context length", t.Context, 1, 1<<24)
	in("the sliding window", t.SlidingWindow, 0, 1<<24)
	in("the image size", v.ImageSize, 1, maxImage)
	in("the patch size", v.PatchSize, 1, maxImage)
	in("the vision tower's hidden size", v.Hidden, 1, maxDim)
	in("the vision tower's mlp size", v.MLP, 1, maxDim)
	in("the vision tower's number of layers", v.Layers, 1, maxLayers)
	in("the vision tower's number of heads", v.Heads, 1, maxHeads)
	in("the number of image tokens", v.ImageTokens, 1, maxTokens)
	positive("the text model's norm epsilon", t.RMSEps)
	positive("the vision tower's norm epsilon", v.NormEps)
	positive("the rope base", t.RopeTheta)
	positive("the attention scale", t.AttnScale)
	for i := range 3 {
		positive("the image's standard deviation", v.Std[i])
		if m := float64(v.Mean[i]); math.IsNaN(m) || math.IsInf(m, 0) {
			errs = append(errs, fmt.Errorf("the image's mean is %v", m))
		}
	}
	if len(errs) > 0 {
		return joinLines(errs)
	}
	if t.Heads%t.KVHeads != 0 {
		errs = append(errs, fmt.Errorf("%d heads cannot share %d key-value heads", t.Heads, t.KVHeads))
	}
	if t.HeadDim%2 != 0 {
		errs = append(errs, fmt.Errorf("the head dimension %d is odd", t.HeadDim))
	}
	if t.Heads*t.HeadDim > maxDim {
		errs = append(errs, fmt.Errorf("%d heads of %d are too wide", t.Heads, t.HeadDim))
	}
	if v.Hidden%v.Heads != 0 {
		errs = append(errs, fmt.Errorf("the vision tower's hidden size %d is no multiple of its %d heads", v.Hidden, v.Heads))
	}
	if v.ImageSize%v.PatchSize != 0 || v.Patches()*v.Patches() != v.ImageTokens {
		errs = append(errs, fmt.Errorf("an image of %d pixels in patches of %d does not make %d image tokens", v.ImageSize, v.PatchSize, v.ImageTokens))
	}
	if c.Arch == ArchPaliGemma2 {
		positive("the attention soft-cap", t.AttnSoftcap)
		positive("the final soft-cap", t.FinalSoftcap)
		in("the sliding window", t.SlidingWindow, 1, 1<<24)
	} else if t.AttnSoftcap != 0 || t.FinalSoftcap != 0 || t.SlidingWindow != 0 {
		errs = append(errs, errors.New("soft-caps and sliding windows belong to paligemma2"))
	}
	// <bos>, a newline and one token of an answer.
	if least := v.ImageTokens + 3; t.Context < least {
		errs = append(errs, fmt.Errorf("a context of %d tokens has no room for an image of %d and a prompt: want %d or more", t.Context, v.ImageTokens, least))
	}
	k := c.Tokens
	past := 0 // ids past the embedding
	if k.Image == t.Vocab {
		past = 1
	}
	in("the tokenizer's size", k.Pieces, 1, t.Vocab+past)
	in("the image token's id", k.Image, 0, t.Vocab-1+past)
	in("the number of stop tokens", len(k.Stop), 0, maxStop)
	for _, id := range k.Stop[:min(len(k.Stop), maxStop)] {
		in("a stop token's id", id, 0, t.Vocab-1)
	}
	for _, id := range []struct {
		name string
		id   int
	}{{"bos", k.BOS}, {"eos", k.EOS}, {"pad", k.PAD}, {"unknown", k.UNK}} {
		in("the "+id.name+" token's id", id.id, 0, t.Vocab-1)
	}
	return joinLines(append(errs, k.collisions()...))
}

// collisions finds ids of two meanings with which a prompt is laid out wrongly
// or its answer ends wrongly. Padding takes no part in inference.
func (k TokenConfig) collisions() (errs []error) {
	for _, pair := range []struct {
		a, b         string
		first, other int
	}{
		{"image", "bos", k.Image, k.BOS},
		{"image", "eos", k.Image, k.EOS},
		{"image", "unknown", k.Image, k.UNK},
		{"bos", "eos", k.BOS, k.EOS},
	} {
		if pair.first == pair.other {
			errs = append(errs, fmt.Errorf("the %s token and the %s token both have the id %d", pair.a, pair.b, pair.first))
		}
	}
	return errs
}

// joinLines puts several errors on one line.
func joinLines(errs []error) error {
	if len(errs) == 0 {
		return nil
	}
	text := errs[0].Error()
	for _, err := range errs[1:] {
		text += "; " + err.Error()
	}
	return errors.New(text)
}
