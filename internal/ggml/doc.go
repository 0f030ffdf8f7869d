// Package ggml binds the ggml tensor library.
package ggml
