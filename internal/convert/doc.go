// Package convert turns a PaliGemma checkpoint (safetensors and JSON, as
// save_pretrained leaves them) into one GGUF file.
package convert
