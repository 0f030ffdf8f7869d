package tokenizer

import "fmt"

// ImageCountError says that a prompt has places for another number of images
// than were given.
type ImageCountError struct{ Typed, Given int }

// Error names both numbers.
func (e *ImageCountError) Error() string {
	return fmt.Sprintf("the prompt has %d × <image>, but the number of images is %d", e.Typed, e.Given)
}

// Prompt lays out a prompt for a number of images, each of imageTokens tokens,
// as PaliGemmaProcessor does (transformers, processing_paligemma.py):
//
//	<image> × images·imageTokens, <bos>, the prompt and a newline
//
// The prompt is taken as it is; it and the newline are tokenized together.
//
// Where the tokenizer was opened to heed special tokens, the prompt may say
// itself where its images go: each <image> typed in it becomes imageTokens
// tokens, <bos> goes right after the last of them and none before the text. It
// must then have one <image> for each image, else that is an ImageCountError.
func (t *Tokenizer) Prompt(prompt string, images, imageTokens int) ([]int, error) {
	if images < 0 || imageTokens < 1 {
		return nil, fmt.Errorf("a prompt of %d images of %d tokens", images, imageTokens)
	}
	text, err := t.Encode(prompt + "\n")
	if err != nil {
		return nil, err
	}
	typed, last := 0, -1 // last: index of the last <image> in text
	for i, id := range text {
		if id == t.src.Image {
			typed, last = typed+1, i
		}
	}
	if typed > 0 && typed != images {
		return nil, &ImageCountError{typed, images}
	}
	ids := make([]int, 0, images*imageTokens+1+len(text))
	if typed == 0 {
		ids = t.appendImage(ids, images*imageTokens)
	}
	for _, id := range text[:last+1] {
		if id == t.src.Image {
			ids = t.appendImage(ids, imageTokens)
		} else {
			ids = append(ids, id)
		}
	}
	return append(append(ids, t.src.BOS), text[last+1:]...), nil
}

func (t *Tokenizer) appendImage(ids []int, n int) []int {
	for range n {
		ids = append(ids, t.src.Image)
	}
	return ids
}

// Suffix returns the ids of a text that the model is to write: its own and
// <eos>.
func (t *Tokenizer) Suffix(text string) ([]int, error) {
	ids, err := t.Encode(text)
	if err != nil {
		return nil, err
	}
	return append(ids, t.src.EOS), nil
}

// TokenTypes is the processor's token_type_ids: 0 on the prefix, 1 on the
// suffix.
func TokenTypes(prefix, suffix int) []int64 {
	types := make([]int64, prefix+suffix)
	for i := range types[prefix:] {
		types[prefix+i] = 1
	}
	return types
}
