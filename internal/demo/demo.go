// Package demo holds the built-in model: a small PaliGemma, trained from scratch
// on drawn scenes (internal/demo/scene, scripts/train_demo), in F16 with its mask
// decoder. It takes the place of a model where none is named, and is what
// `make eval` quantizes and marks.
package demo

import (
	_ "embed"

	"paligemma/internal/gguf"
)

//go:embed demo.gguf
var file []byte

// Name stands for the model's path in messages.
const Name = "the built-in model"

// Langs are the languages of the built-in model's captions.
var Langs = []string{"en", "es"}

// Open parses the built-in model. Nothing is read or copied.
func Open() (*gguf.File, error) { return gguf.FromBytes(Name, file) }
