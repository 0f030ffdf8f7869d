// Package gguf reads and writes GGUF files, versions 2 and 3, little-endian
// (https://github.com/ggml-org/ggml/blob/master/docs/gguf.md).
//
// The reader trusts nothing: every count, length, offset and product is
// compared with what is left of the file before anything is allocated or
// sliced, and a file that is accepted can be written again by Writer. It is
// stricter than the format where that costs no known file: offsets must be
// contiguous, nested arrays, unknown tensor types and trailing bytes are errors.
package gguf

// Limits on what a file may declare. Real files stay far below them.
const (
	maxKeys      = 4096
	maxTensors   = 4096
	maxKeyLen    = 1<<16 - 1
	maxName      = 63 // GGML_MAX_NAME less the final NUL
	maxString    = 64 << 20
	maxArray     = 1 << 24
	maxDims      = 4
	maxHeader    = 512 << 20
	minAlignment = 8
	maxAlignment = 1 << 20

	maxKept = 4 << 10 // bytes of a value that the header holds in memory

	defaultAlignment = 32
	alignmentKey     = "general.alignment"
)
