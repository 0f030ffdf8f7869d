package model

import (
	"slices"
)

// Architectures, the values of general.architecture and the prefix of the keys.
const (
	ArchPaliGemma  = "paligemma"  // SigLIP + Gemma
	ArchPaliGemma2 = "paligemma2" // SigLIP + Gemma 2
)

// Config is everything about a model that is not a weight.
type Config struct {
	Arch   string // ArchPaliGemma or ArchPaliGemma2
	Name   string // general.name, for humans
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
	Mean, Std   [3]float32 // of the normalization
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

// Patches is the number of patches along a side.
func (v VisionConfig) Patches() int { return v.ImageSize / v.PatchSize }

// HeadDim is the width of an attention head of the tower.
func (v VisionConfig) HeadDim() int { return v.Hidden / v.Heads }

// PatchDim is the number of values in a patch: channels × PatchSize².
func (v VisionConfig) PatchDim() int { return 3 * v.PatchSize * v.PatchSize }
