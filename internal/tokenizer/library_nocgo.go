//go:build !cgo

package tokenizer

import "errors"

// errNoLibrary is the error of a build without cgo where only the library can
// encode.
var errNoLibrary = errors.New("tokenizer.json: only Hugging Face's tokenizers library can encode this tokenizer, and a program built without cgo has none: build it with CGO_ENABLED=1")

// library stands for Hugging Face's tokenizers, which this build lacks.
type library struct{}

func loadLibrary(text string, _ bool) (*library, error) {
	return nil, errNoLibrary
}

func (*library) encode(string) []uint32 { return nil }

func (*library) close() {}
