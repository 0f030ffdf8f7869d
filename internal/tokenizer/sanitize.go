package tokenizer

import (
	"fmt"

	"paligemma/internal/quote"
	"paligemma/internal/strictjson"
)

// Limits on added tokens where the library reads them. It compares each with all
// others: 65,000 take it two minutes. One token of 100,000 times the same letter
// takes it more than a minute, and each byte of many some sixty bytes of memory.
const (
	maxLibraryAdded      = 1 << 14
	maxLibraryAddedLen   = 1 << 10
	maxLibraryAddedBytes = 1 << 20 // of all together
)

// libraryFile is a tokenizer.json as the library reads it.
type libraryFile struct {
	Version    string       `json:"version"`
	Truncation any          `json:"truncation"`
	Padding    any          `json:"padding"`
	Added      []AddedToken `json:"added_tokens"`
	Normalizer any          `json:"normalizer"`
	Splitter   any          `json:"pre_tokenizer"`
	Post       any          `json:"post_processor"`
	Decoder    any          `json:"decoder"`
	Model      libraryModel `json:"model"`
}

type libraryModel struct {
	Type         string         `json:"type"`
	Dropout      any            `json:"dropout"`
	Unk          string         `json:"unk_token"`
	Prefix       any            `json:"continuing_subword_prefix"`
	Suffix       any            `json:"end_of_word_suffix"`
	FuseUnk      bool           `json:"fuse_unk"`
	ByteFallback bool           `json:"byte_fallback"`
	IgnoreMerges bool           `json:"ignore_merges"`
	Vocab        strictjson.Raw `json:"vocab"`
	Merges       strictjson.Raw `json:"merges"`
}

// sanitize checks a tokenizer.json that comes from outside, before the library
// sees it: a panic in there would end the process. What is known to be
// harmless passes; what the library is not asked for (truncation, padding, the
// post-processor, the decoder) is left out.
func sanitize(text string) ([]byte, error) {
	f, err := ParseFile(text)
	if err != nil {
		return nil, err
	}
	if err := checkLibraryAdded(f.Added); err != nil {
		return nil, err
	}
	return encode(libraryFile{
		Version:    "1.0",
		Added:      append([]AddedToken{}, f.Added...), // null is an error to the library
		Normalizer: normalizers.encode(f.normalizers),
		Splitter:   splitters.encode(f.splitters),
		Model: libraryModel{
			Type: "BPE", Unk: f.Unk, FuseUnk: f.fuseUnk, ByteFallback: f.byteFallback, IgnoreMerges: f.ignoreMerges,
			Vocab: strictjson.Raw(f.vocab), Merges: strictjson.Raw(f.merges),
		},
	})
}

// checkLibraryAdded refuses added tokens that the library would read too slowly.
func checkLibraryAdded(added []AddedToken) error {
	const slow = "which the tokenizers library would read too slowly: the limit is %d"
	if len(added) > maxLibraryAdded {
		return fmt.Errorf("%d added tokens, "+slow, len(added), maxLibraryAdded)
	}
	total := 0
	for _, a := range added {
		if len(a.Content) > maxLibraryAddedLen {
			return fmt.Errorf("the added token %s has %d bytes, "+slow, quote.Short(a.Content), len(a.Content), maxLibraryAddedLen)
		}
		total += len(a.Content)
	}
	if total > maxLibraryAddedBytes {
		return fmt.Errorf("added tokens of %d bytes, "+slow, total, maxLibraryAddedBytes)
	}
	return nil
}
