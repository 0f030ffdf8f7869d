//go:build !cgo || notokenizers

package tokenizer

import "errors"

// errNoLibrary is the error of a build without the library (without cgo, or with the
// tag notokenizers) where only that can encode.
var errNoLibrary = errors.New("tokenizer.json: only Hugging Face's tokenizers library can encode with this tokenizer, and this build lacks it: use another build (make, without TOKENIZERS=0)")

// library stands for Hugging Face's tokenizers, which this build lacks.
type library struct{}

func loadLibrary(text string, _ bool) (*library, error) {
	return nil, errNoLibrary
}

func (*library) encode(string) []uint32 { return nil }

func (*library) close() {}
