package model

import "paligemma/internal/ggml"

// Tensor names of which others need to know.
const (
	TensorEmbedding = "token_embd.weight"
	TensorHead      = "output.weight"
)

// Weights is the map of the file. The tag `gguf` is a tensor's name, with %d
// for the layer, - for what is in no file; `shape` its dimensions, innermost
// first, in the letters of dims: the first dimension of a Matrix is the true width
// of its rows, which the file may have padded with zeros to whole blocks.
type Weights struct {
	Vision VisionWeights
	// The projector: one linear layer from the tower's width to the text model's.
	Projector Linear `gguf:"mm.0" shape:"vh,h"`

	Embedding  Matrix      `gguf:"token_embd.weight" shape:"h,vocab"`
	OutputNorm ggml.Tensor `gguf:"output_norm.weight" shape:"h"`
	Head       Matrix      `gguf:"output.weight" shape:"h,vocab" if:"untied"`

	Gemma  []GemmaLayer  `if:"paligemma"`
	Gemma2 []Gemma2Layer `if:"paligemma2"`
}

// Linear is y = W·x + b.
type Linear struct {
	Weight Matrix      `gguf:".weight"`           // [in, out]
	Bias   ggml.Tensor `gguf:".bias" kind:"bias"` // [out]
}

// LayerNorm is (x − mean)/σ · Weight + Bias.
type LayerNorm struct {
	Weight ggml.Tensor `gguf:".weight"`
	Bias   ggml.Tensor `gguf:".bias"`
}

// VisionWeights is the SigLIP tower.
type VisionWeights struct {
	Patch    Linear        `gguf:"v.patch_embd" shape:"patch,vh"` // a 14×14 convolution as a product: [3·14·14, vh]
	Position ggml.Tensor   `gguf:"v.position_embd.weight" shape:"vh,tokens"`
	Layers   []SiglipLayer `gguf:"v.blk.%d."`
	PostNorm LayerNorm     `gguf:"v.post_ln" shape:"vh"`
}

// SiglipLayer is a pre-norm transformer block with biases everywhere.
type SiglipLayer struct {
	Norm1 LayerNorm   `gguf:"ln1" shape:"vh"`
	QKV   QKV         `shape:"vh,vh,vh"`
	QBias ggml.Tensor `gguf:"attn_q.bias" shape:"vh"`
	KBias ggml.Tensor `gguf:"attn_k.bias" shape:"vh"`
	VBias ggml.Tensor `gguf:"attn_v.bias" shape:"vh"`
	bias  ggml.Tensor // of QKV, [vh, 3]: the three; the zero Tensor where they are apart
	Out   Linear      `gguf:"attn_out" shape:"vh,vh"`
	Norm2 LayerNorm   `gguf:"ln2" shape:"vh"`
	Up    Linear      `gguf:"ffn_up" shape:"vh,vmlp"`
	Down  Linear      `gguf:"ffn_down" shape:"vmlp,vh"`
}

// Attention is what both Gemmas share: projections without biases.
type Attention struct {
	QKV QKV    `shape:"h,q,kv"`                        // q = heads·head_dim, kv = kv_heads·head_dim
	Out Matrix `gguf:"attn_output.weight" shape:"q,h"` //
}

// MLP is GELU(Gate·x)·(Up·x), then Down.
type MLP struct {
	Gate Matrix `gguf:"ffn_gate.weight" shape:"h,mlp"`
	Up   Matrix `gguf:"ffn_up.weight" shape:"h,mlp"`
	Down Matrix `gguf:"ffn_down.weight" shape:"mlp,h"`
}

// GemmaLayer is a block of Gemma 1. Norm weights are stored as 1 + w.
type GemmaLayer struct {
	AttnNorm ggml.Tensor `gguf:"attn_norm.weight" shape:"h"`
	Attention
	MLPNorm ggml.Tensor `gguf:"ffn_norm.weight" shape:"h"`
	MLP
}

// Gemma2Layer is a block of Gemma 2: a norm before and after each half.
type Gemma2Layer struct {
	AttnNorm ggml.Tensor `gguf:"attn_norm.weight" shape:"h"`
	Attention
	PostAttnNorm ggml.Tensor `gguf:"post_attention_norm.weight" shape:"h"`
	MLPNorm      ggml.Tensor `gguf:"ffn_norm.weight" shape:"h"`
	MLP
	PostMLPNorm ggml.Tensor `gguf:"post_ffw_norm.weight" shape:"h"`
}
