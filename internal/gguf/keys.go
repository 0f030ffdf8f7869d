package gguf

// Keys that several packages read or write, as GGUF's specification and gguf-py
// name them.
const (
	KeyArchitecture = "general.architecture"
	KeyName         = "general.name"
	KeyFileType     = "general.file_type"
	KeyContext      = "context_length" // after the architecture and a point

	KeyTokens     = "tokenizer.ggml.tokens"
	KeyTokenTypes = "tokenizer.ggml.token_type"
	KeyBOS        = "tokenizer.ggml.bos_token_id"
	KeyEOS        = "tokenizer.ggml.eos_token_id"
	KeyPAD        = "tokenizer.ggml.padding_token_id"
	KeyUNK        = "tokenizer.ggml.unknown_token_id"
	KeyImage      = "tokenizer.ggml.image_token_id" // not in the specification
)
