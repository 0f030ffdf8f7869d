//go:build cgo && !notokenizers

package tokenizer

import (
	"fmt"

	"github.com/daulet/tokenizers"

	"paligemma/internal/quote"
	_ "paligemma/third_party/tokenizers" // link flags
)

// library is Hugging Face's tokenizers with a tokenizer.json.
type library struct{ t *tokenizers.Tokenizer }

// loadLibrary reads a tokenizer.json with the library.
func loadLibrary(text string, special bool) (*library, error) {
	data, err := sanitize(text)
	if err != nil {
		return nil, fmt.Errorf("tokenizer.json: %w", err)
	}
	var opts []tokenizers.TokenizerOption
	if !special {
		// The library's name for: encode them as the text they are.
		opts = append(opts, tokenizers.WithEncodeSpecialTokens())
	}
	t, err := tokenizers.FromBytes(data, opts...)
	if err != nil {
		return nil, fmt.Errorf("tokenizer.json: %w", quote.Error(err))
	}
	return &library{t}, nil
}

// encode returns the ids of a text without zero bytes.
func (l *library) encode(text string) []uint32 { return l.t.EncodeWithOptions(text, false).IDs }

func (l *library) close() { l.t.Close() }
