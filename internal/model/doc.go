// Package model runs PaliGemma (https://arxiv.org/abs/2407.07726) and
// PaliGemma 2 (https://arxiv.org/abs/2412.03555): the SigLIP vision tower, the
// linear projector and Gemma or Gemma 2, from a GGUF file that package convert
// wrote.
//
// [Load] binds every tensor of the file to a field of [Weights]. [Model.Encode]
// turns pixels into image features. A [Cache] holds any number of [Sequence]s, of
// which [Model.Prefill] computes the prompt and [Model.Step] the tokens after it,
// those of all together; [Sequence.Fork] and [Sequence.Release] double and end one.
// [Model.Generate], [Model.BeamSearch] and [Model.Score] are loops over these.
//
// Package ggml decides in which precision, with which kernels and in which format
// of rows.
package model
