// Package model runs PaliGemma (https://arxiv.org/abs/2407.07726) and
// PaliGemma 2 (https://arxiv.org/abs/2412.03555): the SigLIP vision tower, the
// linear projector and Gemma or Gemma 2, from a GGUF file that package convert
// wrote.
//
// [Load] binds every tensor of the file to a field of [Weights]. [Model.Encode]
// turns pixels into image features, [Model.Forward] appends tokens to a [Cache]
// and returns logits, and [Model.Generate] does what a caption needs.
package model
