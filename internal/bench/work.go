package bench

import (
	"fmt"
	"strings"

	"paligemma/internal/engine"
	"paligemma/internal/model"
)

// work is what a model has to do, however it does it.
//
// A matrix of [in, out] multiplied with T tokens is 2·in·out·T floating-point
// operations, padding not counted. Attention of T queries over n keys in heads
// of d is 2·T·n·d for the scores and as much for the sum of the values, for each
// head. Norms, softmax, activations and biases are left out.
//
//	vision   T = n = image tokens: every matrix of the tower, its attention in
//	         every layer, and the projector
//	prefill  T = n = prompt tokens, image tokens included: every matrix of the
//	         language model's layers and their attention; the MLP of the last
//	         layer and the head for one token, since nobody asks for the others
//
// Masked scores count: the prefix sees all of itself.
//
// A step of decoding reads every byte of the language model's layers and of the
// head, and the keys and values so far: what has to come from memory, and so
// what bounds its speed.
type work struct {
	vision, prefill float64 // floating-point operations
	decodeBytes     float64 // of one step, in the middle of those measured
}

func newWork(e *engine.Engine, prompt, decode int) work {
	c := e.Config()
	w := flops(c, prompt)
	for _, t := range e.File().Tensors {
		if t.Name == headName(c) || strings.HasPrefix(t.Name, "blk.") {
			w.decodeBytes += float64(t.Size)
		}
	}
	element := e.CellType().BlockBytes()
	cell := 2 * c.Text.Layers * c.Text.KVHeads * c.Text.HeadDim * element
	w.decodeBytes += float64(cell) * (float64(prompt) + float64(decode+1)/2)
	return w
}

// flops counts the arithmetic of an image and of a prompt.
func flops(c model.Config, prompt int) work {
	var w work
	image, text := float64(c.Vision.ImageTokens), float64(prompt)
	lastMLP := fmt.Sprintf("blk.%d.ffn_", c.Text.Layers-1)
	for _, t := range c.Tensors() {
		if t.Role != model.RoleMatrix {
			continue
		}
		product := 2 * float64(t.Shape[0]) * float64(t.Shape[1])
		switch {
		case strings.HasPrefix(t.Name, "v.") || strings.HasPrefix(t.Name, "mm."):
			w.vision += product * image
		case t.Name == headName(c) || strings.HasPrefix(t.Name, lastMLP):
			w.prefill += product
		case strings.HasPrefix(t.Name, "blk."):
			w.prefill += product * text
		}
	}
	w.vision += 4 * image * image * float64(c.Vision.Hidden*c.Vision.Layers)
	w.prefill += 4 * text * text * float64(c.Text.Heads*c.Text.HeadDim*c.Text.Layers)
	return w
}

// headName is the matrix that gives the logits.
func headName(c model.Config) string {
	if c.Tied {
		return model.TensorEmbedding
	}
	return model.TensorHead
}
