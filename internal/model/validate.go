package model

import (
	"errors"
	"fmt"
	"math"

	"paligemma/internal/quote"
)

// Bounds far beyond any model, that keep products of sizes from overflowing.
const (
	maxDim     = 1 << 20 // any width
	maxLayers  = 256
	maxHeads   = 1 << 12
	maxHeadDim = 1 << 14
	maxVocab   = 1 << 22
	maxContext = 1 << 24
	maxImage   = 1 << 12
	maxTokens  = 1 << 14 // image tokens; 4,096 in the largest model
	maxStop    = 64      // ids at which generation ends
)

// Validate checks every number that something else will divide by, allocate
// by, or index with. A Config that passes cannot make the graph builder
// divide by zero or overflow.
func (c Config) Validate() error {
	if c.Arch != ArchPaliGemma && c.Arch != ArchPaliGemma2 {
		return fmt.Errorf("architecture %s is not a PaliGemma (want %s or %s)", quote.Short(c.Arch), ArchPaliGemma, ArchPaliGemma2)
	}
	var v validation
	c.checkRanges(&v)
	if len(v.errs) > 0 {
		return joinLines(v.errs) // what follows divides
	}
	c.checkText(&v)
	c.checkVision(&v)
	c.Tokens.check(&v, c.Text.Vocab)
	return joinLines(v.errs)
}

// validation collects what is wrong with a configuration.
type validation struct{ errs []error }

func (v *validation) fail(format string, args ...any) {
	v.errs = append(v.errs, fmt.Errorf(format, args...))
}

// in checks that low ≤ n ≤ high.
func (v *validation) in(name string, n, low, high int) {
	if n < low || n > high {
		v.fail("%s is %d, want %d to %d", name, n, low, high)
	}
}

// positive checks that x is positive and finite.
func (v *validation) positive(name string, x float32) {
	if !(x > 0) || math.IsInf(float64(x), 0) {
		v.fail("%s is %v, want a positive number", name, x)
	}
}

// checkRanges checks each number by itself.
func (c Config) checkRanges(v *validation) {
	t, tower := c.Text, c.Vision
	v.in("the text model's hidden size", t.Hidden, 1, maxDim)
	v.in("the text model's mlp size", t.MLP, 1, maxDim)
	v.in("the text model's number of layers", t.Layers, 1, maxLayers)
	v.in("the text model's number of heads", t.Heads, 1, maxHeads)
	v.in("the text model's number of key-value heads", t.KVHeads, 1, maxHeads)
	v.in("the text model's head dimension", t.HeadDim, 2, maxHeadDim)
	v.in("the vocabulary", t.Vocab, 1, maxVocab)
	v.in("the context length", t.Context, 1, maxContext)
	v.in("the sliding window", t.SlidingWindow, 0, maxContext)
	v.in("the image size", tower.ImageSize, 1, maxImage)
	v.in("the patch size", tower.PatchSize, 1, maxImage)
	v.in("the vision tower's hidden size", tower.Hidden, 1, maxDim)
	v.in("the vision tower's mlp size", tower.MLP, 1, maxDim)
	v.in("the vision tower's number of layers", tower.Layers, 1, maxLayers)
	v.in("the vision tower's number of heads", tower.Heads, 1, maxHeads)
	v.in("the number of image tokens", tower.ImageTokens, 1, maxTokens)
	v.positive("the text model's norm epsilon", t.RMSEps)
	v.positive("the vision tower's norm epsilon", tower.NormEps)
	v.positive("the rope base", t.RopeTheta)
	v.positive("the attention scale", t.AttnScale)
	for i := range 3 {
		v.positive("the image's standard deviation", tower.Std[i])
		if m := float64(tower.Mean[i]); math.IsNaN(m) || math.IsInf(m, 0) {
			v.fail("the image's mean is %v", m)
		}
	}
}

// checkText checks the text model's numbers against each other.
func (c Config) checkText(v *validation) {
	t := c.Text
	if t.Heads%t.KVHeads != 0 {
		v.fail("%d heads cannot share %d key-value heads", t.Heads, t.KVHeads)
	}
	if t.HeadDim%2 != 0 {
		v.fail("the head dimension %d is odd", t.HeadDim)
	}
	if t.Heads*t.HeadDim > maxDim {
		v.fail("%d heads of %d are too wide", t.Heads, t.HeadDim)
	}
	if c.Arch == ArchPaliGemma2 {
		v.positive("the attention soft-cap", t.AttnSoftcap)
		v.positive("the final soft-cap", t.FinalSoftcap)
		v.in("the sliding window", t.SlidingWindow, 1, maxContext)
	} else if t.AttnSoftcap != 0 || t.FinalSoftcap != 0 || t.SlidingWindow != 0 {
		v.errs = append(v.errs, errors.New("soft-caps and sliding windows belong to paligemma2"))
	}
	// <bos>, a newline and one token of an answer.
	if least := c.Vision.ImageTokens + 3; t.Context < least {
		v.fail("a context of %d tokens has no room for an image of %d and a prompt: want %d or more", t.Context, c.Vision.ImageTokens, least)
	}
}

// checkVision checks the tower's numbers against each other.
func (c Config) checkVision(v *validation) {
	tower := c.Vision
	if tower.Hidden%tower.Heads != 0 {
		v.fail("the vision tower's hidden size %d is not a multiple of its %d heads", tower.Hidden, tower.Heads)
	}
	if tower.ImageSize%tower.PatchSize != 0 || tower.Patches()*tower.Patches() != tower.ImageTokens {
		v.fail("an image of %d pixels in patches of %d does not make %d image tokens", tower.ImageSize, tower.PatchSize, tower.ImageTokens)
	}
}

// check checks ids against the rows of the token embedding.
func (k TokenConfig) check(v *validation, rows int) {
	past := 0 // ids past the embedding
	if k.Image == rows {
		past = 1
	}
	v.in("the tokenizer's size", k.Pieces, 1, rows+past)
	v.in("the image token's id", k.Image, 0, rows-1+past)
	v.in("the number of stop tokens", len(k.Stop), 0, maxStop)
	for _, id := range k.Stop[:min(len(k.Stop), maxStop)] {
		v.in("a stop token's id", id, 0, rows-1)
	}
	for _, id := range []struct {
		name string
		id   int
	}{{"bos", k.BOS}, {"eos", k.EOS}, {"pad", k.PAD}, {"unknown", k.UNK}} {
		v.in("the "+id.name+" token's id", id.id, 0, rows-1)
	}
	k.checkCollisions(v)
}

// checkCollisions refuses ids of two meanings with which a prompt is laid out
// wrongly or its answer ends wrongly. Padding takes no part in inference.
func (k TokenConfig) checkCollisions(v *validation) {
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
			v.fail("the %s token and the %s token both have the id %d", pair.a, pair.b, pair.first)
		}
	}
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
